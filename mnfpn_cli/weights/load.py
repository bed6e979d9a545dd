"""Load a checkpoint into a network: all tensors that fit, or nothing."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.network.network import Network, build_meta, build_planned
from mnfpn_cli.plan.network import NetworkPlan, plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import differences
from mnfpn_cli.settings.sources import Source
from mnfpn_cli.weights.checkpoint import Checkpoint, read_checkpoint
from mnfpn_cli.weights.match import Match, match

WEIGHTS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COUNTS = (torch.int64, torch.int32)
"""The dtypes of weights and of batch counts: every value of these can be copied."""


def build_with_weights(
    plan: NetworkPlan, settings: NetworkSettings, seed: int, weights: Path | None
) -> tuple[Network, WeightsRecord | None]:
    """Build a network from a seed, and load a checkpoint if there is one.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network.
        MnfpnError: where it cannot be read.
    """
    checkpoint = read_checkpoint(weights) if weights else None
    network = build_planned(plan, seed)
    return network, load_weights(network, settings, checkpoint) if checkpoint else None


def fit_weights(plan: NetworkPlan, settings: NetworkSettings, weights: Path) -> WeightsRecord:
    """Return how a checkpoint fits a network of these settings, which is built without memory.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network.
        MnfpnError: where it cannot be read.
    """
    return check_weights(build_meta(plan), settings, read_checkpoint(weights))


def check_weights(network: Network, settings: NetworkSettings, checkpoint: Checkpoint) -> WeightsRecord:
    """Return the result that `load_weights` would have. The network may be on the meta device.

    Raises:
        UsageError: where the checkpoint is of another network.
    """
    return _check(network.plan, network.state_dict(), settings, checkpoint)[1]


@torch.no_grad()
def load_weights(network: Network, settings: NetworkSettings, checkpoint: Checkpoint) -> WeightsRecord:
    """Copy a checkpoint into a network; tensors that the checkpoint lacks keep their values.

    Raises:
        UsageError: where the checkpoint is of another network; the network is then as before.
    """
    state = network.state_dict()
    found, loaded = _check(network.plan, state, settings, checkpoint)
    for key, sources in found.sources.items():
        state[key].copy_(checkpoint.tensors[sources[-1]])
    return loaded


def _check(
    plan: NetworkPlan, state: Mapping[str, Tensor], settings: NetworkSettings, checkpoint: Checkpoint
) -> tuple[Match, WeightsRecord]:
    tensors = checkpoint.tensors
    found = match(checkpoint.name, tensors, state, plan, plan_network(settings, whole=True))
    shapes, types = [], []
    for key, sources in found.sources.items():
        for source in sources:
            theirs, ours = tensors[source], state[key]
            if theirs.shape != ours.shape:
                shapes.append(f"{source} is {_shape(theirs)}, not {_shape(ours)}")
            elif theirs.dtype not in (WEIGHTS if ours.is_floating_point() else COUNTS):
                types.append(f"{source} is {_dtype(theirs)}, not {_dtype(ours)}")
    for what, wrong in (("this network's shapes", shapes), ("types that this network's can be copied from", types)):
        if wrong:
            more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            raise UsageError(
                Problem(
                    checkpoint.name,
                    f"must have {what} (read in {found.layout}'s layout), but {'; '.join(wrong[:3])}{more}",
                )
            )
    overridden = tuple(
        source
        for sources in found.sources.values()
        for source in sources[:-1]
        if not torch.equal(tensors[source], tensors[sources[-1]])
    )
    loaded = WeightsRecord(
        file=checkpoint.name,
        layout=found.layout,
        matched=len(found.sources),
        ignored=found.ignored,
        missing=found.missing,
        overridden=overridden,
        settings_differ=_settings_differ(settings, checkpoint.settings),
    )
    return found, loaded


def _settings_differ(settings: NetworkSettings, carried: Source | None) -> tuple[str, ...]:
    """Return the keys in which a network's settings differ from those of a checkpoint; none if it has no settings."""
    try:
        theirs = resolve([carried]) if carried else settings
    except UsageError:  # of another version, say: what cannot be read cannot be compared
        return ()
    if settings.made_for:
        theirs = theirs.at(settings.made_for)
    found = differences(settings.model_dump(mode="json"), theirs.model_dump(mode="json"))
    return tuple(difference.key for difference in found)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
