"""mnfpn: a command-line workbench for MobileNetV2 backbones with feature pyramids.

The folders tell the story in this order: ``settings`` (what a person said), ``plan`` (every layer, worked out
without torch), ``network`` (the plan as torch modules), ``weights`` (checkpoints into it), ``measure`` (what a real
network was seen to do), ``export`` (files out of it), ``runtimes`` (what executes it), ``bench`` (networks timed),
``report`` (results as tables and JSON) and ``cli`` (the commands). Each imports only from those before it.
"""

__version__ = "0.1.0"

FORMAT_VERSION = 1
"""Of every JSON document: raised when a key is removed or changes its meaning; added keys leave it as it is."""
