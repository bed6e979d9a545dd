"""Load a checkpoint into a network: all tensors that fit, or nothing."""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

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
from mnfpn_cli.weights.file import WeightsFile
from mnfpn_cli.weights.layouts import LAYOUTS
from mnfpn_cli.weights.match import WITHOUT_HEAD, Match, is_within, match
from mnfpn_cli.weights.suggest import suggested_blocks, suggestion

WEIGHTS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
COUNTS = (torch.int64, torch.int32, *WEIGHTS)
"""The dtypes of weights and of batch counts, which may be rounded in half precision: a pass reads none."""


def build_with_weights(
    plan: NetworkPlan, settings: NetworkSettings, seed: int, weights: WeightsFile | None
) -> tuple[Network, WeightsRecord | None]:
    """Build a network from a seed, and load a checkpoint if there is one.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network.
        MnfpnError: where it cannot be read.
    """
    checkpoint = read_checkpoint(weights.path, weights.key) if weights else None
    network = build_planned(plan, seed)
    if weights is None or checkpoint is None:
        return network, None
    return network, load_weights(network, settings, checkpoint, weights.partial)


def fit_weights(plan: NetworkPlan, settings: NetworkSettings, weights: WeightsFile) -> WeightsRecord:
    """Return how a checkpoint fits a network of these settings, which is built without memory.

    Raises:
        UsageError: where the file is no checkpoint, or one of another network.
        MnfpnError: where it cannot be read.
    """
    return check_weights(build_meta(plan), settings, read_checkpoint(weights.path, weights.key), weights.partial)


def check_weights(
    network: Network, settings: NetworkSettings, checkpoint: Checkpoint, partial: str | None = None
) -> WeightsRecord:
    """Return the result that `load_weights` would have. The network may be on the meta device.

    Raises:
        UsageError: where the checkpoint is of another network.
    """
    return _check(network.plan, network.state_dict(), settings, checkpoint, partial)[1]


@torch.no_grad()
def load_weights(
    network: Network, settings: NetworkSettings, checkpoint: Checkpoint, partial: str | None = None
) -> WeightsRecord:
    """Copy a checkpoint into a network; tensors that the checkpoint lacks keep their values.

    Args:
        network: built from the settings.
        settings: of the network.
        checkpoint: what was read of a file.
        partial: the part of the network whose layers keep their values where the checkpoint has them in other shapes.

    Raises:
        UsageError: where the checkpoint is of another network; the network is then as before.
    """
    state = network.state_dict()
    found, loaded = _check(network.plan, state, settings, checkpoint, partial)
    for key, sources in found.sources.items():
        tensor = checkpoint.tensors[sources[-1]]
        if not state[key].is_floating_point():  # a count, which is infinite where it was too large for float16
            tensor = tensor.nan_to_num(0, 0, 0)
        state[key].copy_(tensor)
    return loaded


def _check(
    plan: NetworkPlan,
    state: Mapping[str, Tensor],
    settings: NetworkSettings,
    checkpoint: Checkpoint,
    partial: str | None,
) -> tuple[Match, WeightsRecord]:
    """Return which tensors go where, and the record of it.

    Raises:
        UsageError: where the checkpoint is of another network, or the part is none of this one.
    """
    tensors = checkpoint.tensors
    try:
        found = _match(plan, state, settings, checkpoint, partial)
    except UsageError as error:
        modules = {key.rpartition(".")[0] for key in tensors}
        hint = suggested_blocks(settings, modules, functools.partial(_fits, checkpoint))
        raise UsageError(*(replace(problem, hint=f"{problem.hint}{hint}") for problem in error.problems)) from None
    reshaped = _reshaped(found, state, tensors)
    found = found.without_layers([key for key in reshaped if is_within(key, partial)])
    wrong = {key: source for key, source in reshaped.items() if key in found.sources}
    if wrong:
        what = [f"{source} is {_shape(tensors[source])}, not {_shape(state[key])}" for key, source in wrong.items()]
        hint = _hint(plan, settings, checkpoint, found, wrong)
        raise UsageError(_problem(checkpoint, found, "this network's shapes", what, hint))
    types = [
        f"{source} is {_dtype(tensors[source])}, not {_dtype(state[key])}"
        for key, sources in found.sources.items()
        for source in sources
        if tensors[source].dtype not in (WEIGHTS if state[key].is_floating_point() else COUNTS)
    ]
    if types:
        raise UsageError(_problem(checkpoint, found, "types that this network's can be copied from", types))
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
        skipped=found.skipped,
        overridden=overridden,
        settings_differ=(*_implied_differ(settings, found.layout), *_settings_differ(settings, checkpoint.settings)),
    )
    return found, loaded


def _match(
    plan: NetworkPlan,
    state: Mapping[str, Tensor],
    settings: NetworkSettings,
    checkpoint: Checkpoint,
    partial: str | None = None,
) -> Match:
    whole = plan_network(settings, whole=True)
    return match(checkpoint.name, checkpoint.tensors, state, plan, whole, partial)


def _reshaped(found: Match, state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the keys of ours that a checkpoint has in another shape, each with its key of the checkpoint."""
    pairs = ((key, source) for key, sources in found.sources.items() for source in sources)
    return {key: source for key, source in pairs if tensors[source].shape != state[key].shape}


def _fits(checkpoint: Checkpoint, settings: NetworkSettings) -> bool:
    """Return whether a checkpoint has the names and shapes of the network of some settings."""
    network = build_meta(plan_network(settings))
    state = network.state_dict()
    try:
        found = _match(network.plan, state, settings, checkpoint)
    except UsageError:
        return False
    return not _reshaped(found, state, checkpoint.tensors)


def _problem(checkpoint: Checkpoint, found: Match, rule: str, wrong: Sequence[str], hint: str = "") -> Problem:
    more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    listed = f"{'; '.join(wrong[:3])}{more}"
    return Problem(checkpoint.name, f"must have {rule} (read in {found.layout}'s layout), but {listed}", hint=hint)


def _hint(
    plan: NetworkPlan, settings: NetworkSettings, checkpoint: Checkpoint, found: Match, wrong: Collection[str]
) -> str:
    """Return the end of a message: with which settings the checkpoint fits, and whether it does but for the head."""
    theirs = {key: tuple(checkpoint.tensors[sources[-1]].shape) for key, sources in found.sources.items()}
    hint = suggestion(settings, plan, theirs, functools.partial(_fits, checkpoint))
    if all(is_within(key, "head") for key in wrong):
        return f"{hint}{WITHOUT_HEAD.replace('; try', ', or') if hint else WITHOUT_HEAD}"
    return hint


def _implied_differ(settings: NetworkSettings, layout: str) -> tuple[str, ...]:
    """Return the keys in which a network's settings differ from those that all networks of a layout have."""
    implied = next((one.settings for one in LAYOUTS if one.name == layout), ())
    return tuple(key for key, value in implied if getattr(settings, key) != value)


def _settings_differ(settings: NetworkSettings, carried: Source | None) -> tuple[str, ...]:
    """Return the keys in which a network's settings differ from those of a checkpoint; none if it has no settings.

    Thresholds of boxes are left out: they are chosen anew for the same weights.
    """
    try:
        theirs = resolve([carried]) if carried else settings
    except UsageError:  # of another version, say: what cannot be read cannot be compared
        return ()
    if settings.made_for:
        theirs = theirs.at(settings.made_for)
    ours_and_theirs = (one.model_dump(mode="json", exclude={"postprocess"}) for one in (settings, theirs))
    found = differences(*ours_and_theirs)
    return tuple(difference.key for difference in found)


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a single number"


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
