"""Write and read safetensors: the weights, with the settings that the network is built from as metadata."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save

from mnfpn_cli.export.program import LoadedFile, NamedOutputs, settings_metadata
from mnfpn_cli.network.network import Network, build_planned
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings

OTHER_SEED = 1
"""Seed of the network that the file is read back into: a weight that the file lacks shows as a difference."""


def write(network: Network, settings: NetworkSettings, _input: NetworkInput, _dynamic: bool) -> bytes:
    """Return the content of a file with the state dict; ``format: pt`` tells other libraries that torch wrote it."""
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return save(tensors, {"format": "pt", **settings_metadata(settings)})


def read(path: Path, plan: NetworkPlan) -> LoadedFile:
    """Load the weights of a file into another network."""
    network = build_planned(plan, OTHER_SEED)
    network.load_state_dict(load_file(path))
    with safe_open(path, framework="pt") as file:
        return LoadedFile(file.metadata() or {}, NamedOutputs(network))
