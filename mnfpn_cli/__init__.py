"""mnfpn: a command-line workbench for MobileNetV2 backbones with feature pyramids.

Each room, a folder or a file, imports only from those below it: docs/architecture.md says what each is for, from the
bottom up, and `lint-imports` checks the order.
"""

__version__ = "0.1.0"

FORMAT_VERSION = 2
"""The format version of JSON documents: raised if a key is removed or changes its meaning, not if one is added."""
