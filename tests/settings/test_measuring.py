"""The options of a measurement: sampling, runtimes and devices."""

from importlib import import_module
from math import inf, nan
from pkgutil import iter_modules

import pytest

import mnfpn_cli.runtimes
from mnfpn_cli.errors import UsageError
from mnfpn_cli.settings.measuring import (
    DEFAULT_MAX_TIME_S,
    DEFAULT_MIN_TIME_S,
    DEFAULT_PRECISION,
    LITERT,
    Sampling,
    check_device_name,
    choose_runtimes,
    runtime_names,
    sampling,
)

MEANINGS: list[tuple[str, dict[str, float], Sampling]] = [
    ("nothing", {}, Sampling(None, None, DEFAULT_PRECISION, DEFAULT_MIN_TIME_S, DEFAULT_MAX_TIME_S)),
    ("precision", {"precision": 0.002}, Sampling(precision=0.002)),
    ("warm-up", {"warmup": 7}, Sampling(warmup=7)),
    ("no warm-up", {"warmup": 0}, Sampling(warmup=0)),
    (
        "passes alone are exact, no time ends them",
        {"passes": 5},
        Sampling(passes=5, min_time_s=0.0, max_time_s=inf),
    ),
    ("passes and the least time", {"passes": 5, "min_time_s": 3.0}, Sampling(None, 5, 0.01, 3.0, inf)),
    ("passes and the most time", {"passes": 5, "max_time_s": 3.0}, Sampling(None, 5, 0.01, 0.0, 3.0)),
    (
        "a least time above the most's default moves it",
        {"min_time_s": 90.0},
        Sampling(min_time_s=90.0, max_time_s=90.0),
    ),
    ("a least time below it does not", {"min_time_s": 9.0}, Sampling(min_time_s=9.0)),
    ("no least time", {"min_time_s": 0.0}, Sampling(min_time_s=0.0)),
    ("a most time below the least's default moves it", {"max_time_s": 0.5}, Sampling(min_time_s=0.5, max_time_s=0.5)),
    ("a most time above it does not", {"max_time_s": 9.0}, Sampling(max_time_s=9.0)),
    ("no time", {"max_time_s": 0.0}, Sampling(min_time_s=0.0, max_time_s=0.0)),
    ("both", {"min_time_s": 4.0, "max_time_s": 4.0}, Sampling(min_time_s=4.0, max_time_s=4.0)),
]


@pytest.mark.parametrize(("options", "meaning"), [row[1:] for row in MEANINGS], ids=[row[0] for row in MEANINGS])
def test_options_set_the_sampling_and_the_others_have_defaults(options: dict[str, float], meaning: Sampling) -> None:
    """A default that contradicts a given option moves to it."""
    assert sampling(**options) == meaning  # type: ignore[arg-type]


REFUSED: list[tuple[str, dict[str, float], str]] = [
    ("precision with passes", {"passes": 5, "precision": 0.01}, "precision: cannot be used with passes"),
    ("negative least", {"min_time_s": -1.0}, "min_time: must be a finite number of seconds, 0 or more, got -1"),
    ("endless least", {"min_time_s": inf}, "min_time: must be a finite number of seconds, 0 or more, got inf"),
    ("negative most", {"max_time_s": -0.5}, "max_time: must be a finite number of seconds, 0 or more, got -0.5"),
    ("endless most", {"max_time_s": inf}, "max_time: must be a finite number of seconds, 0 or more, got inf"),
    ("no number", {"max_time_s": nan}, "max_time: must be a finite number of seconds, 0 or more, got nan"),
    (
        "no number with passes",
        {"passes": 2, "min_time_s": nan},
        "min_time: must be a finite number of seconds, 0 or more, got nan",
    ),
    (
        "most below least",
        {"min_time_s": 5.0, "max_time_s": 4.5},
        "max_time: must not be less than min_time, 5 seconds, got 4.5",
    ),
    (
        "most below least, with passes",
        {"passes": 3, "min_time_s": 5.0, "max_time_s": 1.0},
        "max_time: must not be less than min_time, 5 seconds, got 1",
    ),
]


@pytest.mark.parametrize(("options", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_options_that_contradict_each_other_or_are_no_time_are_refused(options: dict[str, float], message: str) -> None:
    """With the option, the rule and the value."""
    with pytest.raises(UsageError) as caught:
        sampling(**options)  # type: ignore[arg-type]
    assert str(caught.value).startswith(message)


def test_every_module_with_prepare_is_a_runtime_of_its_name() -> None:
    """`eager`, which the others are compared with, comes first; the rest are sorted. LiteRT alone runs no network."""
    modules = [module.name for module in iter_modules(mnfpn_cli.runtimes.__path__)]
    runtimes = {name for name in modules if hasattr(import_module(f"mnfpn_cli.runtimes.{name}"), "prepare")}
    names = runtime_names()
    assert {*names, LITERT} == {name.replace("_", "-") for name in runtimes}
    assert names[0] == "eager"
    assert list(names[1:]) == sorted(names[1:])
    assert "channels-last" in names


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (["eager"], ("eager",)),
        (["channels-last", "eager"], ("channels-last", "eager")),
        (["channels-last,eager"], ("channels-last", "eager")),
        (["eager", "channels-last", "eager"], ("eager", "channels-last")),
        (["all"], runtime_names()),
        (["eager", "all"], runtime_names()),
        (["channels-last,all"], ("channels-last", *(name for name in runtime_names() if name != "channels-last"))),
        ([], ()),
    ],
)
def test_runtimes_are_chosen_once_each_in_the_order_given(options: list[str], chosen: tuple[str, ...]) -> None:
    """By one option or by several: the others are compared with the first."""
    assert choose_runtimes(options) == chosen


@pytest.mark.parametrize("name", ["", "fast", "Eager", "channels_last", "eager,", "eager channels-last", "--init--"])
def test_an_unknown_runtime_is_refused_with_the_known_ones(name: str) -> None:
    """Also next to a known one; the nearest is suggested."""
    unknown = name.split(",")[-1]
    with pytest.raises(UsageError) as caught:
        choose_runtimes(["eager", name])
    near = {"Eager": "eager", "channels_last": "channels-last", "eager channels-last": "channels-last"}
    hint = f"; did you mean '{near[name]}'?" if name in near else ""
    rule = f"must be one of {', '.join(runtime_names())} or all"
    assert str(caught.value) == f"runtime: {rule}, got '{unknown}'{hint}"


@pytest.mark.parametrize("name", ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"])
def test_a_device_name_is_valid_whether_or_not_this_machine_has_it(name: str) -> None:
    """The device is looked up when it is used."""
    assert check_device_name(name) == name


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:1234", "cpu:0", "CPU", "cuda:0\n"])
def test_a_malformed_device_name_is_refused(name: str) -> None:
    """With the names that are valid."""
    with pytest.raises(UsageError, match=r"^device: must be auto, cpu, cuda, cuda:N or mps, got "):
        check_device_name(name)
