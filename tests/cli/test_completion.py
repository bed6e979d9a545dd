"""What shells complete: asked by the protocol of typer in this process, and by the shells themselves."""

import os
import pty
import select
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnfpn_cli.settings.measuring import runtime_names
from tests.conftest import Mnfpn

ANCHORS = ("sizes", "scales", "ratios", "min_scale", "max_scale", "steps", "clip")

ASKED: list[tuple[str, list[str]]] = [
    ("summ", ["summary"]),
    ("runs pr", ["prune"]),
    ("shapes --siz", ["--size"]),
    ("bench --max-t", ["--max-time"]),
    ("shapes --preset mobilenetv2-fpn", ["mobilenetv2-fpn", "mobilenetv2-fpnlite"]),
    ("bench --runtime f", ["fused"]),
    ("bench --runtime eager,f", ["eager,fused"]),
    ("bench --runtime ", [*runtime_names(), "all"]),
    ("bench --device ", ["auto", "cpu", "cuda", "mps"]),
    ("compare --device c", ["cpu", "cuda"]),
    ("bench --dtype ", ["float32", "bfloat16", "float16", "int8"]),
    ("export --format ", ["onnx", "torch-export", "safetensors", "openvino", "executorch", "coreml"]),
    ("summary --format m", ["markdown"]),
    ("summary --sort m", ["macs"]),
    ("report --format p", ["png"]),
    ("runs export --format p", ["parquet"]),
    ("runs list --status f", ["failed"]),
    ("sweep --measure n", ["none"]),
    ("sweep --dtype float16,b", ["float16,bfloat16"]),
    ("shapes --set pyramid.sm", ["pyramid.smooth=", "pyramid.smooth_levels=", "pyramid.smooth_shared="]),
    ("shapes --set pyramid.smooth=", ["pyramid.smooth=conv", "pyramid.smooth=separable", "pyramid.smooth=none"]),
    ("shapes --set backbone.kind=r", ["backbone.kind=resnet"]),
    ("shapes --set pyramid.smooth_shared=", ["pyramid.smooth_shared=true", "pyramid.smooth_shared=false"]),
    ("sweep --set pyramid.smooth=conv,s", ["pyramid.smooth=conv,separable"]),
    ("shapes --set head.norm_", ["head.norm_shared=", "head.norm_groups="]),
    ("shapes --set head.norm=g", ["head.norm=group"]),
    ("shapes --set head.kind=ssd", ["head.kind=ssd", "head.kind=ssdlite"]),
    ("shapes --set head.anchors", [f"head.anchors.{key}=" for key in ANCHORS]),
    ("shapes --set head.anchors.clip=", ["head.anchors.clip=true", "head.anchors.clip=false"]),
    ("sweep --set head.separable=true,f", ["head.separable=true,false"]),
    ("bench --set preprocess", ["preprocess.mean=", "preprocess.std="]),
    ("bench --set postprocess.n", ["postprocess.nms_threshold="]),
    ("shapes --set padding=", ["padding=torch", "padding=same"]),
    ("shapes --set pyramid.channels=", []),
    ("shapes --set head.an", [f"head.anchors.{name}=" for name in ANCHORS]),
    ("shapes --set head.kind=ss", ["head.kind=ssd", "head.kind=ssdlite"]),
    ("shapes --set head.norm=", ["head.norm=none", "head.norm=batch", "head.norm=group"]),
    ("shapes --set preprocess", ["preprocess.mean=", "preprocess.std="]),
    ("sweep --set postprocess.t", ["postprocess.topk="]),
    ("shapes --config ", []),
    ("--show-completion ", ["bash", "zsh", "fish", "powershell", "pwsh"]),
    ("--version summ", ["summary"]),
]


@pytest.mark.parametrize(("line", "words"), ASKED, ids=[line for line, _ in ASKED])
def test_words_are_completed(mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, line: str, words: list[str]) -> None:
    """Commands, options, and whatever is one of a few words; nothing else, so that the shell offers files."""
    monkeypatch.setenv("_MNFPN_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", f"mnfpn {line}")
    outcome = mnfpn()
    assert outcome.err == ""
    assert [one.partition("\t")[0] for one in outcome.out.splitlines() if one] == words


def test_completing_imports_no_torch() -> None:
    """It answers while one types."""
    program = (
        "import sys; from mnfpn_cli.cli.main import run; code = run([])\n"
        "print(code, sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'numpy', 'sqlalchemy'}))"
    )
    asked = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_TYPER_COMPLETE_ARGS": "mnfpn bench --set pyramid.sm"}
    environment = os.environ | asked | {"_MNFPN_COMPLETE": "complete_fish"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[0] == "pyramid.smooth="
    assert done.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize(
    ("shell", "begin"),
    [("bash", "# Completion of mnfpn, for bash."), ("zsh", "#compdef mnfpn"), ("fish", "complete --command mnfpn")],
)
def test_the_script_of_the_shell_that_is_named_is_printed(mnfpn: Mnfpn, shell: str, begin: str) -> None:
    """Not of the one in use."""
    outcome = mnfpn("--show-completion", shell)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(begin)


@pytest.mark.parametrize("option", ["--show-completion", "--install-completion"])
def test_an_unknown_shell_is_refused_with_the_nearest(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str
) -> None:
    """Exit code 2; and nothing is written, least of all at home, should this fail."""
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = mnfpn(option, "bsh")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {option}: must be one of bash, zsh, fish, powershell, pwsh, got 'bsh'; did ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bash_completions/mnfpn.sh"), ("zsh", ".zfunc/_mnfpn")])
def test_the_script_is_installed_for_the_shell_that_is_named(
    mnfpn: Mnfpn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shell: str, file: str
) -> None:
    """The same script, where that shell reads it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    outcome = mnfpn("--install-completion", shell)
    assert (outcome.code, outcome.err) == (0, "")
    assert str(tmp_path / file) in outcome.out
    assert (tmp_path / file).read_text() == mnfpn("--show-completion", shell).out


STARTS = {
    "bash": (["--norc", "--noprofile", "-i"], ". ./script"),
    "zsh": (["-f", "-i"], "autoload -Uz compinit && compinit -u -D && . ./script"),
}
TYPED = [
    ("mnfpn summ", "summary"),
    ("mnfpn shapes --preset mobilenetv2-fpnl", "mobilenetv2-fpnlite"),
    ("mnfpn bench --runtime eager,fu", "eager,fused"),
    ("mnfpn bench --device cud", "cuda"),
    ("mnfpn bench --dtype bf", "bfloat16"),
    ("mnfpn export --format tor", "torch-export"),
    ("mnfpn shapes --set pyramid.smooth_s", "pyramid.smooth_shared="),
    ("mnfpn shapes --set pyramid.smooth=sep", "pyramid.smooth=separable"),
    ("mnfpn shapes --pyramid-ch", "--pyramid-channels"),
    ("mnfpn shapes --config sc", "script"),
]


def typed(shell: str, lines: list[str], folder: Path) -> str:
    """What a shell has on its screen after lines were typed, each with Tab behind it, and printed instead of run."""
    arguments, start = STARTS[shell]
    path = f"{folder}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "$ ", "COLUMNS": "200"}
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [shell, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    os.close(terminal)
    # Ctrl-A goes to the beginning of the line, where a word makes the shell print it.
    keys = [f"{start}\r", *(f"{line}\t\x01printf '<%s>' \r" for line in lines), "echo the' 'end\r"]
    screen, stop = b"", time.monotonic() + 60
    try:
        for key in keys:
            os.write(main, key.encode())
        while b"the end" not in screen and time.monotonic() < stop:
            if select.select([main], [], [], 1.0)[0]:
                screen += os.read(main, 65536)
    finally:
        process.kill()
        process.wait()
        os.close(main)
    return screen.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("shell", STARTS)
def test_a_real_shell_completes(mnfpn: Mnfpn, tmp_path: Path, shell: str) -> None:
    """With the script that is printed for it: words, parts of words, and what stands behind a sign."""
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    (tmp_path / "script").write_text(mnfpn("--show-completion", shell).out)
    program = tmp_path / "mnfpn"
    root = Path(__file__).parents[2]
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m mnfpn_cli "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    screen = typed(shell, [line for line, _ in TYPED], tmp_path)
    for line, word in TYPED:
        before = line.rpartition(" ")[0]
        shown = "".join(f"<{one}>" for one in (*before.split(), word))
        assert shown in screen, f"{line}: {screen}"
