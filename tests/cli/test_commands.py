"""The commands run for real: through pipes, through a terminal, interrupted, with a reader that goes away."""

import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Mnfpn
from tests.processes import MNFPN, signals_by_default


def in_terminal(
    *arguments: str, until: str = "", wait: float = 0.0, columns: int = 100, number: signal.Signals = signal.SIGINT
) -> tuple[int, str]:
    """Run a command in a pseudo-terminal; interrupt it as Ctrl-C does, a while after ``until`` is on the screen."""
    main, terminal = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    with signals_by_default():
        process = subprocess.Popen(
            [*MNFPN, *arguments], stdout=terminal, stderr=terminal, env=environment, process_group=0
        )
    os.close(terminal)
    screen, interrupted, end = b"", False, time.monotonic() + 120
    while time.monotonic() < end:
        ready = select.select([main], [], [], 1.0)[0]
        try:
            screen += os.read(main, 65536) if ready else b""
        except OSError:  # how Linux says that the other end is closed
            break
        if until and until.encode() in screen and not interrupted:
            time.sleep(wait)
            os.killpg(process.pid, number)  # as a terminal does: the whole group
            interrupted = True
    os.close(main)
    try:
        return process.wait(timeout=30), screen.decode()
    finally:
        process.kill()


def test_summary_through_a_pipe(mnfpn_process: Mnfpn) -> None:
    """JSON under the keys that scripts rely on."""
    done = mnfpn_process("summary", "--json")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    levels = [[1, 256, *size] for size in ((150, 225), (75, 113), (38, 57), (19, 29))]
    assert document["totals"] == {
        "parameters": 4_293_888,
        "macs": 29_949_721_552,
        "type": "Network",
        "output_shape": levels,
        "leaves": 160,
        "depth": 5,
    }
    assert document["registration"]["called"] == document["registration"]["registered"]
    layers = {layer["path"]: layer for layer in document["layers"]}
    assert layers["stages.3.0.expand.conv"] == {
        "path": "stages.3.0.expand.conv",
        "type": "Conv2d",
        "depth": 5,
        "leaf": True,
        "output_shape": [1, 192, 75, 113],
        "parameters": 32 * 192,
        "macs": 32 * 192 * 75 * 113,
        "status": "called",
        "registered": True,
        "calls": 1,
        "activations": 192 * 75 * 113,
    }
    assert layers["pyramid"]["output_shape"][3] == [1, 256, 19, 29]
    assert layers["pyramid.smooth"]["output_shape"] is None
    assert layers["pyramid.smooth"]["macs"] == 26_507_870_208


def test_summary_says_that_what_is_called_is_registered(mnfpn: Mnfpn) -> None:
    """The closing line, and how to see more."""
    lines = mnfpn("summary", "--size", "64").out.splitlines()
    everywhere = "4,293,888 parameters in the tree, in parameters() and in the state dict"
    assert lines[-2:] == [
        f"221 modules called, 221 registered, none shared, none unused: {everywhere}.",
        "4 levels, one of each stride, finest first: p2 4, p3 8, p4 16, p5 32.",
    ]
    assert not any("registered" in line for line in mnfpn("summary", "--size", "64", "--no-audit").out.splitlines())
    assert "Depth 2 of 5: --depth 5 shows every layer." in lines
    assert any(line.startswith("    pyramid.smooth.p2 ") for line in mnfpn("summary", "--depth", "3").out.splitlines())


def test_shapes_answers_for_several_sizes(mnfpn: Mnfpn) -> None:
    """JSON under the keys that scripts rely on; bytes for the whole batch."""
    done = mnfpn("shapes", "--size", "512", "--size", "600x900", "--batch", "2", "--dtype", "float16", "--json")
    square, reference = json.loads(done.out)["results"]
    assert square["input"] == {"batch": 2, "channels": 3, "height": 512, "width": 512}
    p3 = reference["levels"][1]
    assert {key: p3[key] for key in ("name", "stride", "channels", "height", "width")} == {
        "name": "p3",
        "stride": 8,
        "channels": 256,
        "height": 75,
        "width": 113,
    }
    assert p3["bytes"] == 2 * 256 * 75 * 113 * 2
    assert (p3["exact"], p3["resized_from"]) == (False, {"height": 38, "width": 57})
    assert p3["tap"] == {"path": "stages.2", "channels": 32, "height": 75, "width": 113}


def test_shapes_are_verified_on_the_real_network(mnfpn: Mnfpn) -> None:
    """Said in both forms."""
    assert "Verified: " in mnfpn("shapes", "--size", "45x71", "--stages", "2,8,1,2", "--verify").out
    assert json.loads(mnfpn("shapes", "--size", "64", "--verify", "--json").out)["verified"] is True


def test_bench_through_a_pipe(mnfpn_process: Mnfpn) -> None:
    """Raw numbers in base units, no progress on standard error."""
    arguments = ["--stages", "1,16,1,1 6,24,2,2 6,32,3,2 6,64,4,2", "--size", "64x64", "--passes", "3", "--json"]
    done = mnfpn_process("bench", "--device", "cpu", *arguments)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    (run,) = document["runs"]
    assert (run["device"], run["dtype"], run["batch"], len(run["latency_s"]["samples"])) == ("cpu", "float32", 1, 3)
    assert run["latency_s"]["min"] <= run["latency_s"]["median"]
    assert run["throughput_per_s"] == pytest.approx(1 / run["latency_s"]["median"])
    assert run["peak_memory_bytes"] > 50 * 2**20
    cost = document["cost"]
    assert cost["flops"] == 2 * cost["macs"]
    assert cost["fvcore_by_operator"]["conv"] == cost["macs"]
    assert cost["backbone"]["macs"] + cost["pyramid"]["macs"] == cost["macs"]
    assert document["environment"]["torch"]


def test_bench_prints_cost_latency_and_environment(mnfpn: Mnfpn) -> None:
    """What a number is, and its unit, stand beside it."""
    lines = mnfpn("bench", "--device", "cpu", "--size", "64", "--passes", "2", "--warmup", "0").out.splitlines()
    words = [line.split() for line in lines]
    assert ["total", "4,293,888", "100", "226.2", "M", "100", "452.3", "M"] in words
    assert any(line.startswith("The pyramid takes 89.9 % of the MACs") for line in lines)
    assert any(line.startswith("fvcore total  227,592,448 (fvcore's own count: ") for line in lines)
    for name in ("CPU", "software", "date"):
        assert any(row[:1] == [name] for row in words)


def test_a_terminal_gets_a_table_and_a_progress_bar() -> None:
    """Drawn with lines; the progress bar is gone in the end."""
    code, screen = in_terminal("bench", "--size", "64", "--passes", "3", "--device", "cpu")
    assert code == 0
    assert "loading torch" in screen
    assert "────" in screen
    assert screen.rstrip().splitlines()[-1].startswith("date")


def test_ctrl_c_prints_and_writes_what_was_measured(tmp_path: Path) -> None:
    """Marked incomplete; exit code 130, and no traceback."""
    file = tmp_path / "out.json"
    options = ["--size", "64", "--min-time", "600", "--device", "cpu", "--output", str(file)]
    code, screen = in_terminal("bench", *options, until="timing on cpu", wait=2.0)
    assert code == 130
    assert "Traceback" not in screen
    assert "error" not in screen
    assert "Interrupted: the measurement is incomplete." in screen.rstrip().splitlines()[-1]
    written = json.loads(file.read_text())
    assert written["complete"] is False
    assert written["runs"][0]["ended_by"] == "interrupted"
    assert written["runs"][0]["latency_s"]["samples"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_keep_what_was_measured_too(number: signal.Signals, tmp_path: Path) -> None:
    """As `timeout` sends them in a pipeline, or a terminal that is closed."""
    file = tmp_path / "out.json"
    options = ["--size", "64", "--min-time", "600", "--device", "cpu", "--output", str(file)]
    code, _ = in_terminal("bench", *options, until="timing on cpu", wait=2.0, number=number)
    assert code == 128 + number
    assert json.loads(file.read_text())["complete"] is False


def test_ctrl_c_before_anything_is_measured_says_so() -> None:
    """There is nothing to print or write."""
    code, screen = in_terminal("bench", "--warmup", "100000", "--device", "cpu", until="preparing eager", wait=1.0)
    assert code == 130
    assert screen.rstrip().splitlines()[-1].endswith("error: interrupted before anything was measured")


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.0, 0.6, 1.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_quietly_while_torch_is_loading(wait: float, number: signal.Signals) -> None:
    """Libraries catch what is raised in their imports; the command must not go on."""
    options = ["--min-time", "600", "--device", "cpu"]
    code, screen = in_terminal("bench", *options, until="loading torch", wait=wait, number=number)
    assert code == 128 + number
    assert "Traceback" not in screen
    assert "Error" not in screen


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [["shapes"], ["shapes", "--json"], ["schema", "settings"]], ids=" ".join)
def test_a_reader_that_goes_away_causes_no_traceback(arguments: list[str], unbuffered: str) -> None:
    """As `| head` does."""
    process = subprocess.Popen(
        [*MNFPN, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), errors) == (1, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_closed_stream_is_no_reason_to_fail(closed: str) -> None:
    """There is then nobody to tell."""
    command = f"exec {shlex.join([*MNFPN, 'shapes'])} {closed}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_settings_from_a_closed_standard_input_are_refused() -> None:
    """There is nothing to read."""
    command = f"exec {shlex.join([*MNFPN, 'shapes', '--config', '-'])} <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "error: --config -: standard input is closed\n")


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["shapes"], ["shapes", "--json"], ["--help"]], ids=" ".join)
@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_full_disk_is_reported(arguments: list[str], unbuffered: str) -> None:
    """Exit code 1: a result that was not written was not delivered."""
    with Path("/dev/full").open("w") as full:
        environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(
            [*MNFPN, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False
        )
    message = "error: standard output could not be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, message)


def test_ctrl_c_is_quiet_from_the_first_import_on(tmp_path: Path) -> None:
    """While the command line itself is being imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*MNFPN, "shapes"], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_deep_paths_are_whole_where_they_fit_and_else_a_name_under_its_parent() -> None:
    """Eighty columns do not hold the deepest paths beside the numbers; a hundred do."""
    arguments = ["summary", "--depth", "5", "--size", "600x900", "--stages", "1,16,1,1 6,24,2,2"]
    _, wide = in_terminal(*arguments, columns=100)
    _, narrow = in_terminal(*arguments, columns=80)
    assert "stages.1.0.depthwise.conv" in re.sub(r"\x1b\[[0-9;]*m", "", wide)
    assert re.search(r"^ +conv +Conv2d +96×150×225 ", narrow, flags=re.MULTILINE)
    assert "dept\r\n" not in narrow


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_loses_no_digit(columns: int) -> None:
    """Names are broken into lines; numbers stay whole."""
    _, screen = in_terminal("shapes", "--size", "600x900", columns=columns)
    for number in ("24×150×225", "75×113 → 150×225", "256×150×225", "32.96 MiB", "320×19×29"):
        assert number in screen


def test_what_is_reported_does_not_steer_the_terminal(mnfpn: Mnfpn) -> None:
    """Control characters of an argument are shown, not sent."""
    assert mnfpn("shapes", "--size", "\x1b[31m").err == (
        "error: --size: must be HxW in pixels, as 600x900 or 512, got '\\x1b[31m'\n"
    )


def test_a_terminal_without_unicode_is_no_reason_to_fail() -> None:
    """What it lacks is replaced."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*MNFPN, "shapes"], capture_output=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"256?150?225" in done.stdout
