"""The command line as one table: arguments, and the settings or the case that they mean. No network is built."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnfpn_cli.bench import bench
from mnfpn_cli.bench.workload import PlannedWorkload
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.settings.measuring import BenchCase, Sampling, runtime_names
from mnfpn_cli.settings.network import NetworkSettings
from tests.conftest import Mnfpn

DEFAULT = NetworkSettings().model_dump(mode="json")
STAGES = [{"expansion": 1, "channels": 16, "repeats": 1, "stride": 1}]
STAGES += [{"expansion": 6, "channels": 24, "repeats": 2, "stride": 2}]


def pyramid(**values: object) -> dict[str, Any]:
    """The pyramid's settings with some values changed."""
    return {**DEFAULT["pyramid"], **values}


NETWORKS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("nothing", [], {}),
    ("preset", ["--preset", "mobilenetv2-fpn"], {}),
    ("width", ["--width-mult", "0.75"], {"width_mult": 0.75}),
    ("whole width", ["--width-mult", "2"], {"width_mult": 2.0}),
    ("in_channels", ["--in-channels", "1"], {"in_channels": 1}),
    ("pyramid channels", ["--pyramid-channels", "64"], {"pyramid": pyramid(channels=64)}),
    ("stages", ["--stages", "1,16,1,1 6,24,2,2"], {"stages": STAGES}),
    ("set text", ["--set", "pyramid.smooth=separable"], {"pyramid": pyramid(smooth="separable")}),
    ("set number", ["--set", "stem_channels=16"], {"stem_channels": 16}),
    ("set range", ["--set", "pyramid.levels=p3-p5"], {"pyramid": pyramid(levels=["p3", "p4", "p5"])}),
    ("set list", ["--set", "pyramid.levels=p3,p4"], {"pyramid": pyramid(levels=["p3", "p4"])}),
    (
        "set refines set",
        ["--set", 'pyramid={"channels":64,"smooth":"none"}', "--set", "pyramid.smooth=separable"],
        {"pyramid": pyramid(channels=64, smooth="separable")},
    ),
    (
        "set refines stages",
        ["--stages", "1,16,1,1 6,24,2,1", "--set", "stages.1.stride=2"],
        {"stages": STAGES},
    ),
    ("file", ["--config", "FILE"], {"width_mult": 0.5, "pyramid": pyramid(channels=32)}),
    (
        "option beats file",
        ["--width-mult", "1.4", "--config", "FILE"],
        {"width_mult": 1.4, "pyramid": pyramid(channels=32)},
    ),
    (
        "file beats preset",
        ["--config", "FILE", "--preset", "mobilenetv2-fpn"],
        {"width_mult": 0.5, "pyramid": pyramid(channels=32)},
    ),
]


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A settings file."""
    path = tmp_path / "my.json"
    path.write_text(json.dumps({"width_mult": 0.5, "pyramid": {"channels": 32}}))
    return str(path)


@pytest.mark.parametrize(("arguments", "changed"), [row[1:] for row in NETWORKS], ids=[name for name, *_ in NETWORKS])
def test_arguments_mean_settings(mnfpn: Mnfpn, config: str, arguments: list[str], changed: dict[str, Any]) -> None:
    """Later beats earlier: preset, file, options; what is not named stays as it was."""
    shown = mnfpn("settings", "show", *[config if argument == "FILE" else argument for argument in arguments])
    assert (shown.code, shown.err) == (0, "")
    assert json.loads(shown.out) == DEFAULT | changed


CASE = BenchCase()
SIZES = ["600x900"]

CASES: list[tuple[list[str], BenchCase, list[str], int, list[str]]] = [
    ([], CASE, ["auto"], 0, SIZES),
    (["--size", "64", "--batch", "8"], replace(CASE, batches=(8,)), ["auto"], 0, ["64x64"]),
    (
        ["--size", "64,96x128", "--size", "64", "--batch", "1,8", "--batch", "8,32"],
        replace(CASE, batches=(1, 8, 32)),
        ["auto"],
        0,
        ["64x64", "96x128"],
    ),
    (["--device", "cpu", "--device", "cuda:1"], CASE, ["cpu", "cuda:1"], 0, SIZES),
    (
        ["--dtype", "bfloat16", "--channels-last"],
        replace(CASE, dtypes=("bfloat16",), runtimes=("channels-last",)),
        ["auto"],
        0,
        SIZES,
    ),
    (
        ["--runtime", "fused", "--runtime", "eager,fused"],
        replace(CASE, runtimes=("fused", "eager"), isolate=True),
        ["auto"],
        0,
        SIZES,
    ),
    (
        ["--runtime", "all"],
        replace(CASE, runtimes=runtime_names(), isolate=True),
        ["auto"],
        0,
        SIZES,
    ),
    (["--train", "--cold-cache"], replace(CASE, train=True, cold_cache=True), ["auto"], 0, SIZES),
    (["--threads", "1", "--seed", "7"], replace(CASE, threads=1), ["auto"], 7, SIZES),
    (
        ["--warmup", "0", "--passes", "5"],
        replace(CASE, sampling=Sampling(0, 5, 0.01, 0.0, math.inf)),
        ["auto"],
        0,
        SIZES,
    ),
    (
        ["--passes", "5", "--min-time", "0.5"],
        replace(CASE, sampling=Sampling(None, 5, 0.01, 0.5, math.inf)),
        ["auto"],
        0,
        SIZES,
    ),
    (["--min-time", "90"], replace(CASE, sampling=Sampling(None, None, 0.01, 90.0, 90.0)), ["auto"], 0, SIZES),
    (
        ["--precision", "0.5%", "--max-time", "1"],
        replace(CASE, sampling=Sampling(None, None, 0.005, 1.0, 1.0)),
        ["auto"],
        0,
        SIZES,
    ),
]


@pytest.mark.parametrize(
    ("arguments", "case", "devices", "seed", "sizes"), CASES, ids=[" ".join(row[0]) or "nothing" for row in CASES]
)
def test_arguments_mean_a_case(
    mnfpn: Mnfpn,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    case: BenchCase,
    devices: list[str],
    seed: int,
    sizes: list[str],
) -> None:
    """What `bench` asks to be measured."""
    asked: list[object] = []

    def benchmark(networks: list[PlannedWorkload], *rest: Any) -> None:
        asked.extend([[str(one.size) for one in networks], {one.seed for one in networks}, *rest[:2]])
        raise MnfpnError("nothing is measured here")

    monkeypatch.setattr(bench, "benchmark", benchmark)
    assert mnfpn("bench", *arguments).code == 1
    assert asked == [sizes, {seed}, case, devices]


def test_settings_are_read_from_standard_input(mnfpn_process: Mnfpn) -> None:
    """`--config -`, so that `settings show` pipes into any command."""
    shown = mnfpn_process("settings", "show", "--width-mult", "0.35")
    again = mnfpn_process("settings", "show", "--config", "-", input=shown.out)
    assert json.loads(again.out) == json.loads(shown.out) == DEFAULT | {"width_mult": 0.35}


@pytest.mark.parametrize("command", [("summary",), ("shapes",), ("bench",), ("settings", "show")])
def test_the_network_options_are_the_same_everywhere(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """One set, on every command that builds a network."""
    monkeypatch.setenv("COLUMNS", "120")  # else as many as the terminal has that the tests are run from
    help = mnfpn(*command, "--help").out
    for option in ("preset", "config", "stages", "width-mult", "pyramid-channels", "in-channels", "set"):
        assert f"--{option} " in help


def test_presets_are_listed_with_one_line_each(mnfpn: Mnfpn) -> None:
    """The default among them."""
    listed = mnfpn("settings", "presets").out.splitlines()
    assert any(line.startswith("mobilenetv2-fpn ") and " MobileNetV2 with " in line for line in listed)
    assert all(len(line.split(maxsplit=1)) == 2 for line in listed)


def test_the_schema_is_printed_as_json(mnfpn: Mnfpn) -> None:
    """For an editor's settings."""
    assert json.loads(mnfpn("schema", "settings").out)["title"] == "mnfpn settings"


@pytest.mark.parametrize("asked", ["--help", "-h", "--version"])
def test_help_and_version_are_no_errors(mnfpn: Mnfpn, asked: str) -> None:
    """Exit code 0, on standard output."""
    outcome = mnfpn(asked)
    assert (outcome.code, outcome.err) == (0, "")
    assert "mnfpn" in outcome.out


def test_a_command_with_grouped_options_keeps_its_name_and_its_own_options() -> None:
    """`grouped` puts a group's fields beside what the command itself declares."""
    import inspect

    from mnfpn_cli.cli.shapes import shapes

    signature = inspect.signature(shapes)
    assert shapes.__name__ == "shapes"
    assert {"preset", "json", "size", "verify"} <= signature.parameters.keys()
    assert isinstance(shapes, Callable)  # type: ignore[arg-type]
