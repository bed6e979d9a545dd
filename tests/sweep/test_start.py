"""What a sweep starts with: the kind of machine, and the keys of runs on it."""

import os
from pathlib import Path

import pytest

from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.space.runs import Execution, Run, run_key
from mnfpn_cli.sweep.start import this_machine


def with_program(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put a fake `nvidia-smi` first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_machine_is_known_by_its_processor_and_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that differ in their GPUs alone are of two kinds."""
    with_program(tmp_path, monkeypatch, "exit 9")
    bare = this_machine()
    assert bare.endswith(" cores")
    with_program(tmp_path, monkeypatch, "echo NVIDIA H100; echo NVIDIA H100; echo NVIDIA T4")
    assert this_machine() == f"{bare}, 2 × NVIDIA H100, 1 × NVIDIA T4"


def test_a_key_is_the_hash_of_all_that_determines_a_measurement() -> None:
    """Any change gives another key; the same run has the same key again."""
    settings, size = NetworkSettings(), Size(64, 64)
    runs = [
        Run(settings, size),
        Run(settings.model_copy(update={"width_mult": 0.5}), size),
        Run(settings, Size(64, 96)),
        Run(settings, size, Execution(batch=2)),
        Run(settings, size, Execution(runtime="fused")),
        Run(settings, size, Execution(device="cpu")),
        Run(settings, size, Execution(dtype="bfloat16")),
        Run(settings, size, Execution(threads=1)),
        Run(settings, size, Execution(train=True)),
        Run(settings, size, Execution(allocator="keep")),
    ]
    keys = [run_key(run, machine) for run in runs for machine in ("here", "there")]
    assert len(set(keys)) == 20
    assert run_key(Run(NetworkSettings(), Size(64, 64)), "here") == keys[0]
    assert len(keys[0]) == 32
