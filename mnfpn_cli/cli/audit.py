"""`mnfpn audit`."""

from typing import Annotated

from typer import Option

from mnfpn_cli.cli.groups import grouped
from mnfpn_cli.cli.interrupts import ending_at_once
from mnfpn_cli.cli.models import ModelOptions
from mnfpn_cli.cli.options import CheckOutputOptions, NetworkOptions, SizeOption, WeightsOptions
from mnfpn_cli.errors import CheckError
from mnfpn_cli.external.origin import all_passes
from mnfpn_cli.text import counted


@grouped
def audit(
    *,
    size: SizeOption = None,
    allow: Annotated[
        list[str] | None,
        Option(
            help="Allow a kind of finding at paths, as 'shared:head.*'. Can be repeated.",
            metavar="KIND:PATH",
        ),
    ] = None,
    network: NetworkOptions,
    weights: WeightsOptions,
    model: ModelOptions,
    output: CheckOutputOptions,
) -> None:
    """Check layers and pyramid for mistakes; exit 3 if any is found.

    Every layer must be registered, called, trained and counted; every level must have its stride.

    Examples:
        mnfpn audit
        mnfpn audit --model file.py:Net --input 1x3x224x224
        mnfpn audit --model file.py:Net --allow 'shared:head.*' --format github
    """
    from mnfpn_cli.audit.allow import allow_findings, parse_allowances
    from mnfpn_cli.audit.project import project_allowances
    from mnfpn_cli.cli.output import emit
    from mnfpn_cli.report.checks import github_commands, junit_xml, sarif_json
    from mnfpn_cli.report.terminal.audit import audit_tables

    allowances = (*parse_allowances(allow or ()), *project_allowances())
    workload = all_passes(model.workloads(network, [size], weights=weights.file()))
    with ending_at_once():
        from mnfpn_cli.audit.audit import audit_document, inspect_workload

    document = allow_findings(audit_document(workload, inspect_workload(workload)), allowances)
    texts = {
        "github": lambda: github_commands(document),
        "sarif": lambda: sarif_json(document),
        "junit": lambda: junit_xml(document),
    }
    emit(audit_tables(document), document, output, texts)
    if document.findings:
        raise CheckError(f"the audit of {workload.origin.name} has {counted(len(document.findings), 'finding')}")
