"""Where a network comes from: settings or a target, with one interface, so that nothing has to ask which."""

import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from mnfpn_cli.errors import UsageError
from mnfpn_cli.external.origin import External, FromSettings, Origin, external_module, planned_cases, recorded_origin
from mnfpn_cli.external.target import parse_target
from mnfpn_cli.network.network import build_network
from mnfpn_cli.settings.network import NetworkSettings
from tests.runtimes.jobs import TINY

PACKAGE = Path(__file__).parents[2] / "mnfpn_cli"
OTHERS = External(parse_target("tests.bench.others:Levels"))
GIVEN = External(parse_target("some.module:make.it", ["width=2", "kind=wide"]))


def test_only_documents_and_their_reading_have_settings_or_a_model() -> None:
    """Everywhere else the two are one value: an optional beside another would have to be asked each time."""
    optional = re.compile(r"\b(NetworkSettings|Target|Model|FromSettings|External) \| None")
    found = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if optional.search(path.read_text("utf-8"))}
    assert {one for one in found if one.parts[0] != "documents"} == {Path("external/origin.py")}


def test_both_have_the_same_interface() -> None:
    """But for what only a network from settings has: its plan, and a checkpoint."""

    def public(of: Origin) -> set[str]:
        return {name for name, _ in inspect.getmembers_static(of) if not name.startswith("_")}

    ours, others = public(FromSettings(TINY)), public(OTHERS)
    assert others - ours == {"target", "module"}
    assert ours - others == {"plan", "weights"}


def test_a_module_that_is_there_is_copied_to_be_built_and_traced_as_it_is() -> None:
    """Its class names it; a benchmark changes the copy alone, and a trace restores what it changes."""
    module = nn.Conv2d(3, 4, 1)
    origin = external_module(module)
    built, _ = origin.build(0)
    assert isinstance(built, nn.Conv2d)
    assert built is not module
    assert torch.equal(built.weight, module.weight)
    assert origin.build_to_trace() is module
    assert origin.name == "torch.nn.modules.conv:Conv2d"


def test_the_plan_is_made_once() -> None:
    """What is built of it carries the same one, and no other."""
    origin = FromSettings(TINY)
    assert origin.build(0)[0].plan is origin.build_to_trace().plan is origin.plan
    assert origin.outputs == origin.plan.outputs == ("p2",)


def test_a_network_is_built_from_its_seed() -> None:
    """The weights are those that the settings and the seed have always given."""
    built, loaded = FromSettings(TINY).build(3)
    state = build_network(TINY, 3).state_dict()
    assert loaded is None
    assert all(torch.equal(one, state[name]) for name, one in built.state_dict().items())
    assert {one.device.type for one in FromSettings(TINY).build_to_trace().parameters()} == {"meta"}


def test_a_network_of_others_has_no_settings_and_a_place() -> None:
    """Its outputs have no names that are known before a pass, and its weights are its code's own."""
    assert (OTHERS.name, OTHERS.settings, OTHERS.outputs, OTHERS.fit()) == ("tests.bench.others:Levels", None, (), None)
    first, again = OTHERS.build_to_trace(), OTHERS.build_to_trace()
    state = again.state_dict()
    assert all(torch.equal(one, state[name]) for name, one in first.state_dict().items())


@pytest.mark.parametrize("origin", [FromSettings(TINY), OTHERS, GIVEN], ids=["settings", "target", "arguments"])
def test_what_a_document_says_is_read_back_as_it_was(origin: Origin) -> None:
    """Results that were kept are compared as those that are measured now."""
    assert recorded_origin(origin.settings, origin.model) == origin


def test_a_document_without_a_network_is_refused() -> None:
    """It has to say one of the two."""
    with pytest.raises(UsageError, match=r"^settings: must be there where there is no model, got null$"):
        recorded_origin(None, None)


def test_a_network_is_planned_once_for_all_sizes() -> None:
    """Options name one network, which is carried to each size; a head that is made for a size makes it another one."""
    (first, _), (second, _) = planned_cases(TINY, ["64", "96"], 1, None)
    assert first is second
    tied = NetworkSettings.model_validate({"head": {"kind": "level_classifiers"}})
    (first, _), (second, _) = planned_cases(tied, ["64", "96"], 1, None)
    assert first.plan != second.plan
