"""mnfpn: a command-line workbench for MobileNetV2 backbones with feature pyramids.

The folders tell the story: ``settings`` (what a user asks for), ``documents`` (every result, typed), ``plan`` (every
layer, worked out without torch), ``network`` and ``weights`` (the plan as torch modules), ``external``, ``trace`` and
``audit`` (any module, watched in a pass), ``devices`` and ``measure`` (samples of time), ``export``, ``runtimes`` and
``bench`` (networks timed), ``space``, ``store`` and ``sweep`` (many of them), ``report`` (documents as text and pages)
and ``cli``. Each imports only from those before it: `lint-imports` checks the order that pyproject.toml has.
"""

__version__ = "0.1.0"

FORMAT_VERSION = 2
"""The format version of JSON documents: raised if a key is removed or changes its meaning, not if one is added."""
