"""Errors are data: a place, a rule and a value, in which parameters have Python's names."""

import pickle

import pytest

from mnfpn_cli.cli.words import as_options
from mnfpn_cli.errors import CheckError, MnfpnError, Problem, UsageError, within
from mnfpn_cli.text import as_option, first_line

LONG = Problem("`max_time`", "must not be less than `min_time`, 2 seconds", "1", "; leave out `min_time`")


def test_a_problem_is_its_place_the_rule_the_value_and_a_hint() -> None:
    """A part that is empty leaves no punctuation."""
    assert LONG.text() == "max_time: must not be less than min_time, 2 seconds, got 1; leave out min_time"
    assert Problem("stages[3].stride", "must be 1 or 2", "3").text() == "stages[3].stride: must be 1 or 2, got 3"
    assert Problem(rule="out of memory").text() == "out of memory"


def test_the_command_line_spells_parameters_as_options() -> None:
    """Whether they are the place or in the rule; the value stays as it was typed."""
    assert LONG.text(as_option).startswith("--max-time: must not be less than --min-time,")
    assert Problem("`format` onnx", "must fit", "'`size`'").text(as_option) == "--format onnx: must fit, got '`size`'"
    assert as_options("see `max_time`, `mnfpn bench` and `None`") == "see --max-time, `mnfpn bench` and `None`"


def test_an_error_has_one_line_a_problem() -> None:
    """Each line of a string is a problem that has only a rule."""
    error = UsageError(LONG, "no such thing\nnor such")
    assert [problem.rule for problem in error.problems[1:]] == ["no such thing", "nor such"]
    assert str(error).splitlines()[1:] == ["no such thing", "nor such"]


def test_a_document_keeps_the_backquotes_of_an_error() -> None:
    """So that whoever prints it can spell the parameters."""
    error = MnfpnError(LONG)
    assert error.message.startswith("`max_time`: must not be less than `min_time`")
    assert MnfpnError(error.message).text(as_option) == error.text(as_option)


def test_a_caller_adds_a_place_or_gives_another() -> None:
    """The error stays the same one, with its details and its class."""
    error = CheckError(LONG, "it differs")
    error.details = "Traceback"
    assert error.within("`a`") is error
    assert str(error).splitlines()[0].startswith("a: max_time: must not")
    assert str(error).splitlines()[1] == "a: it differs"
    assert str(UsageError(Problem("size", "must be null")).within("file.json: head", ".")) == (
        "file.json: head.size: must be null"
    )
    assert str(UsageError(Problem("`size`", "must be 1", "2")).at("input.json")) == "input.json: must be 1, got 2"


def test_a_librarys_message_names_no_parameter() -> None:
    """Its backquotes become quotes: the `input` of torch is not a parameter of ours."""
    line = first_line(RuntimeError("expected `input` to be 4D\nand more"))
    assert MnfpnError(f"torch failed: {line}").text(as_option) == "torch failed: expected 'input' to be 4D"


def test_an_error_names_the_places_around_it() -> None:
    """Each of its problems, however deep the blocks are."""
    with pytest.raises(CheckError) as caught, within("`a`"), within("input.json"):
        raise CheckError("it differs", LONG)
    assert caught.value.text(as_option).splitlines()[0] == "--a: input.json: it differs"
    assert caught.value.problems[1].where == "`a`: input.json: `max_time`"


def test_an_error_can_be_sent_to_another_process() -> None:
    """With the places that callers added."""
    error: MnfpnError = pickle.loads(pickle.dumps(UsageError(LONG).within("`a`")))
    assert error.text(as_option).startswith("--a: --max-time: must")
