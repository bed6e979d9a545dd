"""mnfpn: a command-line workbench for MobileNetV2 backbones with feature pyramids.

docs/architecture.md says what each room is for, a folder or a file. Each imports only from those above it in that
table: `lint-imports` checks it.
"""

__version__ = "0.1.0"

FORMAT_VERSION = 2
"""The format version of JSON documents: raised if a key is removed or changes its meaning, not if one is added."""
