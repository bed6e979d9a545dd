"""`mnfpn audit`."""

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import NetworkOptions, OutputOptions, SizeOption, WeightsOption
from mnfpn_cli.errors import CheckError
from mnfpn_cli.external.origin import all_passes
from mnfpn_cli.report.units import counted


@grouped
def audit(
    *,
    size: SizeOption = None,
    network: NetworkOptions,
    weights: WeightsOption = None,
    model: ModelOptions,
    output: OutputOptions,
) -> None:
    """Check layers and pyramid for mistakes; exit 3 if any is found.

    Every layer must be registered, called, trained and counted; every level must have its stride.

    Examples:
        mnfpn audit
        mnfpn audit --preset fpnssd
        mnfpn audit --model file.py:Net --input 1x3x224x224
    """
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.terminal.audit import audit_tables

    workload = all_passes(model.workloads(network, [size], weights=weights))
    with ending_at_once():
        from mnfpn_cli.audit.audit import audit_document, inspect_workload

    document = audit_document(workload, inspect_workload(workload))
    emit(audit_tables(document), document, output)
    if document.findings:
        raise CheckError(f"the audit of {workload.origin.name} has {counted(len(document.findings), 'finding')}")
