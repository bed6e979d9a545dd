"""A problem of a document is described in our words, not in those of pydantic."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mnfpn_cli.documents.bench import BenchDocument
from mnfpn_cli.documents.sweep import PlanRecord
from mnfpn_cli.documents.worker import RunRequest
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe
from tests.bench.documents import result

SETTINGS = NetworkSettings.model_validate({"head": {"kind": "level_classifiers", "size": 64}}).model_dump(mode="json")
RESNET = NetworkSettings.model_validate({"backbone": {"kind": "resnet"}}).model_dump(mode="json")
WORK = {
    "settings": RESNET,
    "input": {"batch": 1, "channels": 3, "height": 64, "width": 96, "shapes": None},
    "runtime": "eager",
    "device": "cpu",
    "dtype": "float32",
    "threads": None,
    "sampling": {"passes": 5},
    "by_layer": False,
    "train": False,
}
PLAN = {
    "command": "mnfpn sweep",
    "measuring": {"sampling": {}, "by_layer": False},
    "measure": "all",
    "space": {"runs": 1, "repeated": 0, "all_runtimes": False},
    "invalid": [{"runs": 1, "reason": "x"}],
    "over_budget": {"max_macs": 1},
}
WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    NetworkSettings: SETTINGS,
    BenchDocument: result(),
    PlanRecord: PLAN,
    RunRequest: WORK,
}
WRONG: tuple[Any, ...] = (None, True, -1, 10**40, 1.5, 1e400, "", "[x]", [], [None], {}, {"kind": 3}, object())
"""What may stand where something else should."""

RULE = re.compile(
    r"must (not )?(be|have|match|mix)\b|is required|unknown key|each side must be 1 to|is a key of|"
    r"must be HxW|must be there where"
)
THEIRS = re.compile(r"input should|field required|not permitted|string should|value error|valid \w+|\bNone\b")


def places(value: Any, where: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a document, itself included."""
    yield where
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*where, key))


def changed(whole: dict[str, Any], where: tuple[str | int, ...], value: Any) -> Any:
    """A copy with another value at a place, or with a key more where the value is an ellipsis."""
    if not where:
        return value
    copy = deepcopy(whole)
    part: Any = copy
    for key in where[:-1]:
        part = part[key]
    part[where[-1]] = value
    return copy


@pytest.mark.parametrize("model", WHOLE, ids=lambda model: model.__name__)
def test_each_problem_is_a_place_and_a_rule_in_our_words(model: type[BaseModel]) -> None:
    """For every place of a document, and every kind of value that does not belong there."""
    problems = 0
    for where in places(WHOLE[model]):
        for wrong in WRONG:
            try:
                model.model_validate(changed(WHOLE[model], where, wrong))
            except ValidationError as error:
                for problem in describe(error):
                    text = str(problem)
                    assert RULE.search(text), text
                    assert not THEIRS.search(text), text
                    problems += 1
            except SettingsError:  # which says itself what is wrong
                continue
    assert problems > 100


def test_the_place_of_a_key_of_settings_has_no_kind_in_it_wherever_the_settings_are() -> None:
    """As people write it: the library puts the kind of backbone or head into it."""
    for above, model, whole in (((), NetworkSettings, RESNET), (("settings",), RunRequest, WORK)):
        wrong = changed(whole, (*above, "backbone", "blocks", 0), 0)
        with pytest.raises(ValidationError) as caught:
            model.model_validate(wrong)
        place = ".".join((*above, "backbone.blocks[0]"))
        assert [str(one) for one in describe(caught.value)] == [f"{place}: must be at least 1, got 0"]
        assert str(describe(caught.value, ("row", 3))[0]).startswith(f"row[3].{place}: ")
