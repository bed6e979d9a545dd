"""The Python API: what the commands do, as functions that return the documents that the commands print as JSON.

A network is given as settings (what `settings` returns), as an ``nn.Module``, or as a target, the text
``torchvision.models:resnet18``. Nothing is printed, and nothing exits: errors are `MnfpnError`, whose ``problems`` give
the argument, the rule and the value. Importing this does not import torch, and neither does what a plan can answer.
"""

from mnfpn_cli.api.comparing import Side, compare
from mnfpn_cli.api.detecting import detect, detector
from mnfpn_cli.api.exporting import export
from mnfpn_cli.api.inspecting import audit, shapes, summary
from mnfpn_cli.api.machine import runtimes
from mnfpn_cli.api.measuring import bench
from mnfpn_cli.api.networks import build_network, detector_backbone, load_weights, settings
from mnfpn_cli.api.plans import Plan, plan
from mnfpn_cli.api.predicting import predict
from mnfpn_cli.api.recommending import recommend
from mnfpn_cli.api.scoring import score
from mnfpn_cli.api.sweeping import sweep
from mnfpn_cli.errors import CheckError, MnfpnError, Problem, UsageError
from mnfpn_cli.settings.network import NetworkSettings

__all__ = [
    "CheckError",
    "MnfpnError",
    "NetworkSettings",
    "Plan",
    "Problem",
    "Side",
    "UsageError",
    "audit",
    "bench",
    "build_network",
    "compare",
    "detect",
    "detector",
    "detector_backbone",
    "export",
    "load_weights",
    "plan",
    "predict",
    "recommend",
    "runtimes",
    "score",
    "settings",
    "shapes",
    "summary",
    "sweep",
]
