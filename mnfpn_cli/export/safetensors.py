"""safetensors: the weights alone, with the settings that the network is built from."""

from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save

from mnfpn_cli.export.program import LoadedFile, NamedOutputs, metadata
from mnfpn_cli.network.network import Network, build_planned
from mnfpn_cli.plan.network import NetworkPlan
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.network import NetworkSettings

OTHER_SEED = 1
"""Of the network that the file is read back into; whatever the file lacks shows."""


def write(network: Network, settings: NetworkSettings, _input: NetworkInput, _dynamic: bool) -> bytes:
    """The state dict of a network, and beside our metadata ``format``, by which other libraries know torch's files."""
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    return save(tensors, {"format": "pt", **metadata(settings)})


def read(path: Path, plan: NetworkPlan) -> LoadedFile:
    """Another network, with the weights of the file."""
    network = build_planned(plan, OTHER_SEED)
    network.load_state_dict(load_file(path))
    with safe_open(path, framework="pt") as file:
        return LoadedFile(file.metadata() or {}, NamedOutputs(network))
