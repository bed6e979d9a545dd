"""Eight mistakes as people make them are found where they are, and healthy networks are accused of nothing."""

from functools import cache

import pytest

from mnfpn_cli.audit.audit import Inspection, inspect_network
from mnfpn_cli.audit.registration import parameter_counts
from mnfpn_cli.audit.tree import layer_tree
from tests.audit.networks import DEFECTIVE, HEALTHY, Case

every_defective = pytest.mark.parametrize("case", DEFECTIVE, ids=lambda case: case.name)
every_healthy = pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)


@cache
def inspected(case: Case) -> Inspection:
    """What is said of a fresh copy, as training has it; each is looked at once for all tests."""
    return inspect_network(case.make().train(), [case.inputs])


@every_defective
def test_a_mistake_is_found_at_its_place(case: Case) -> None:
    """Its findings name every place where it is, none besides, and accuse the network of nothing else."""
    audit = inspected(case).audit
    assert audit is not None
    paths = [path for finding in audit.findings if finding.kind == case.kind for path in finding.paths]
    others = {finding.kind for finding in audit.findings} - {case.kind}
    assert (tuple(paths), others) == (case.paths, set(case.also))


@every_healthy
def test_a_healthy_network_is_accused_of_nothing(case: Case) -> None:
    """Not for dropout, attention, recurrence, or layers that others wrote in their own way."""
    audit = inspected(case).audit
    assert audit is not None
    assert audit.findings == ()


@pytest.mark.parametrize("case", DEFECTIVE + HEALTHY, ids=lambda case: case.name)
def test_what_a_network_has_is_counted_whatever_is_registered(case: Case) -> None:
    """Parameters and MACs to the last digit, with layers that only a list knows, and each parameter once."""
    trace = inspected(case).trace
    assert (parameter_counts(trace)[0], layer_tree(trace).rows[0].macs) == (case.parameters, case.macs)
