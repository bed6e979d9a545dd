"""The maps that a network returns: from its plan, checked against the real network where asked; or from passes."""

from collections.abc import Sequence

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.documents.shapes import ShapesDocument
from mnfpn_cli.external.origin import FromSettings, Workload, all_passes, planned_cases
from mnfpn_cli.plan.shapes import NetworkShapes, network_shapes, shapes_document
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.file import WeightsFile


def planned_shapes(
    settings: NetworkSettings,
    sizes: Sequence[str | None],
    batch: int,
    dtype: DType,
    verify: bool,
    weights: WeightsFile | None,
) -> ShapesDocument:
    """Return the maps of a network from settings; torch is imported only for weights, or to verify.

    Args:
        settings: of the network.
        sizes: of the images; None for the default.
        batch: images in a batch.
        dtype: the element type that bytes are counted in.
        verify: whether to run the real network too.
        weights: a checkpoint, whose fit is checked.

    Raises:
        CheckError: where the real network differs.
        UsageError: where the network cannot take a size, or the checkpoint is that of another network.
        MnfpnError: where the checkpoint cannot be read.
    """
    cases = planned_cases(settings, sizes, batch, weights)
    results = [network_shapes(origin.plan, input) for origin, input in cases]
    fitted = _checked([origin for origin, _ in cases], results, verify)
    return shapes_document(settings, results, dtype, verify, fitted)


def _checked(origins: Sequence[FromSettings], results: Sequence[NetworkShapes], verify: bool) -> WeightsRecord | None:
    """Run the real networks, or only check how the weights fit; return how they fit the first network."""
    if not verify:
        fitted, *_ = [origin.fit() for origin in origins]
        return fitted
    from mnfpn_cli.measure.verify import verify_shapes

    first, *_ = [verify_shapes(*both) for both in zip(origins, results, strict=True)]
    return first


def observed_shapes(workloads: Sequence[Workload]) -> ShapesDocument:
    """Return the maps of an external network, from a pass for each workload.

    Raises:
        UsageError: where the target does not name a network, or takes other inputs.
        MnfpnError: where the network fails, or returns no tensors.
    """
    from mnfpn_cli.audit.audit import build_workload, pass_inputs
    from mnfpn_cli.audit.pyramid import maps_document, observe_maps

    built = build_workload(all_passes(workloads))
    results = [observe_maps(built, workload.specs, pass_inputs(workload.specs)) for workload in workloads]
    return maps_document(workloads[0].origin, results)
