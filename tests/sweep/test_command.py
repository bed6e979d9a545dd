"""A command that trains a network: its placeholders, its scores, its time limit, and every way to fail."""

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.store.trainings import LOG_BYTES
from mnfpn_cli.sweep.command import Scored, ScoreTask, check_command, run_command

WORDS = "{config} {output} {size} {dtype} {key}"


def run(code: str, folder: Path, timeout_s: float = 60.0) -> Scored:
    """Run a Python script as the command; its arguments are all placeholders."""
    script = folder / "train.py"
    script.write_text(code)
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(script))} {WORDS}"
    values = {"size": "64x96", "dtype": "int8", "key": "abc"}
    return run_command(ScoreTask(command, '{"width_mult": 0.5}', values, str(folder), timeout_s))


def test_it_gets_the_network_and_gives_scores(tmp_path: Path) -> None:
    """By its placeholders, in the folder that it was asked for in; what it prints is kept, of both streams."""
    code = (
        "import json, os, sys\n"
        "config, output, size, dtype, key = sys.argv[1:]\n"
        "print(size, dtype, key, os.getcwd()); print('oops', file=sys.stderr)\n"
        "json.dump({'map': json.load(open(config))['width_mult'], 'top-5': 3}, open(output, 'w'))\n"
    )
    done = run(code, tmp_path)
    assert (done.status, done.reason, done.scores) == ("done", None, {"map": 0.5, "top-5": 3.0})
    assert f"64x96 int8 abc {tmp_path}" in done.log
    assert "oops" in done.log


FAILURES = [
    ("raise SystemExit(3)", "the command ended with exit code 3"),
    ("import os; os.kill(os.getpid(), 9)", "the command was killed by SIGKILL"),
    ("pass", "the command wrote no {output}"),
    ("import sys; open(sys.argv[2], 'w').write('map: 1')", "the command wrote no JSON into {output}"),
    ("import sys; open(sys.argv[2], 'w').write('[1]')", "{output} must be a JSON object with a number for each metric"),
    ("import sys; open(sys.argv[2], 'w').write('{}')", "{output} must be a JSON object with a number for each metric"),
    ("import sys; open(sys.argv[2], 'w').write('{\"map\": NaN}')", "{output}: map: must be a finite number"),
    ("import sys; open(sys.argv[2], 'w').write('{\"map\": true}')", "{output}: map: must be a finite number"),
    ("import sys; open(sys.argv[2], 'w').write('{\"macs\": 1}')", "must be another metric than mnfpn has itself"),
]


@pytest.mark.parametrize(("code", "reason"), FAILURES, ids=[f"{index}" for index in range(len(FAILURES))])
def test_a_failure_has_a_reason(tmp_path: Path, code: str, reason: str) -> None:
    """In words."""
    done = run(code, tmp_path)
    assert done.status == "failed"
    assert done.reason is not None
    assert reason in done.reason
    assert done.scores == {}


def test_a_command_that_does_not_exist_fails(tmp_path: Path) -> None:
    """With the system's reason."""
    task = ScoreTask("no-such-program {config} {output}", "{}", {}, str(tmp_path), 60)
    assert "could not be started" in (run_command(task).reason or "")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are Unix's")
def test_a_time_limit_ends_all_that_it_started(tmp_path: Path) -> None:
    """The child that it left behind too."""
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    done = run(code, tmp_path, timeout_s=3.0)
    assert done.reason == "the command took more than 3 s (`score_timeout`)"
    child = int(done.log)
    for _ in range(100):
        if is_gone(child):
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        pytest.fail("the child outlived its command")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups are Unix's")
def test_it_ends_with_the_process_that_runs_it(tmp_path: Path) -> None:
    """Though that is killed by SIGKILL."""
    script = tmp_path / "train.py"
    script.write_text("import os, sys, time; open(sys.argv[1] + '.pid', 'w').write(str(os.getpid())); time.sleep(600)")
    words = map(shlex.quote, (sys.executable, str(script), str(tmp_path / "made")))
    command = f"{' '.join(words)} {{config}} {{output}}"
    code = (
        "import sys\n"
        "from mnfpn_cli.sweep.command import ScoreTask, run_command\n"
        f"command = {command!r}\n"
        f"run_command(ScoreTask(command, '{{}}', {{}}, {str(tmp_path)!r}, 600))\n"
    )
    litter = {**os.environ, "TMPDIR": str(tmp_path)}  # nothing removes what a killed process leaves
    with subprocess.Popen([sys.executable, "-c", code], env=litter) as runner:
        trained = wait_for(tmp_path / "made.pid")
        runner.kill()
    for _ in range(200):
        if is_gone(trained):
            return
        time.sleep(0.05)
    os.kill(trained, 9)
    pytest.fail("the training outlived the sweep")


def wait_for(path: Path) -> int:
    """The process id in a file, once it is there."""
    for _ in range(600):
        if path.exists() and (text := path.read_text()):
            return int(text)
        time.sleep(0.05)
    raise TimeoutError(path)


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return True


def test_a_folder_that_the_machine_lacks_is_a_failure(tmp_path: Path) -> None:
    """As on another machine of a cluster."""
    task = ScoreTask("true {config} {output}", "{}", {}, str(tmp_path / "none"), 60)
    assert "has no folder" in (run_command(task).reason or "")


def test_the_end_of_a_long_output_is_kept(tmp_path: Path) -> None:
    """NUL bytes and bad UTF-8 are replaced."""
    code = "import sys; sys.stdout.buffer.write(b'x' * 200_000 + b'\\0\\xff the end'); raise SystemExit(1)"
    log = run(code, tmp_path).log
    assert log.endswith("\ufffd\ufffd the end")
    assert len(log) <= LOG_BYTES


COMMANDS = [
    ("", "must be a command, as"),
    ("train {config}", "must have the placeholder {output}"),
    ("train {output}", "must have the placeholder {config}"),
    ("train {config} {output} {epoch}", "must have placeholders among {config}, {output}, {size}, {dtype}, {key}"),
    ("train {config} {output", "must be a command whose quotes and braces are closed"),
    ("train '{config} {output}", "must be a command whose quotes and braces are closed"),
    ("train {} {config} {output}", "must have placeholders among"),
    ("train {config:d} {output}", "must have placeholders without a format"),
    ("train {config} {output!r}", "must have placeholders without a format"),
]


@pytest.mark.parametrize(("command", "rule"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_malformed_command_is_refused(command: str, rule: str) -> None:
    """Before anything is measured."""
    with pytest.raises(UsageError) as caught:
        check_command("`score_command`", command, ["64x64"], ["float32"])
    assert rule in caught.value.message


def test_what_differs_must_be_told_to_the_command() -> None:
    """Several sizes, and other dtypes than float32; a brace of one's own is written twice."""
    command = "train {config} {output} --options '{{}}'"
    check_command("`score_command`", command, ["64x64"], ["float32"])
    with pytest.raises(UsageError, match="2 sizes"):
        check_command("`score_command`", command, ["64x64", "96x96"], ["float32"])
    with pytest.raises(UsageError, match="runs in int8"):
        check_command("`score_command`", command, ["64x64"], ["float32", "int8"])
    check_command("`score_command`", f"{command} {{size}} {{dtype}}", ["64x64", "96x96"], ["float32", "int8"])
