"""The compiler: what it needs, how it is called, and the errors of its failures."""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.runtimes import compiled
from tests.runtimes.jobs import CPU, TINY, expected, job

CUDA = torch.device("cuda:0")
here = compiled.unavailable_reason(CPU, "float32", False)


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch trace networks, which takes a second, and compile nothing."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))


@pytest.mark.slow
@pytest.mark.skipif(here is not None, reason=str(here))
@torch.inference_mode()
def test_outputs_are_those_of_eager(capfd: pytest.CaptureFixture[str]) -> None:
    """From torch's real compiler, which has folded batch norms and says nothing."""
    counters.clear()
    prepared = compiled.prepare(job())
    assert counters["inductor"]["binary_folding"] > 0
    assert largest_difference(prepared.outputs(prepared.run()), expected()) < 1e-4
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
@torch.inference_mode()
def test_each_network_is_compiled_once_and_stays_compiled() -> None:
    """More than the eight that torch keeps of one function; sizes are fixed, and no pass compiles anew."""
    counters.clear()
    shapes = [(2, 3, 32, 32 + 8 * index) for index in range(9)]
    ready = [compiled.prepare(job(shape=shape)) for shape in shapes]
    assert counters["stats"]["unique_graphs"] == len(shapes)
    for shape, prepared in zip(shapes, ready, strict=True):
        assert largest_difference(prepared.outputs(prepared.run()), expected(TINY, shape)) < 1e-4
    assert counters["stats"]["unique_graphs"] == len(shapes)


@pytest.mark.usefixtures("uncompiled")
def test_a_training_step_is_compiled_once() -> None:
    """In training mode, with gradients; its loss is eager's."""
    counters.clear()
    run = compiled.prepare(job(train=True)).run
    losses = [run().item() for _ in range(2)]
    assert counters["stats"]["unique_graphs"] == 1
    assert losses == pytest.approx([losses[0]] * 2, rel=1e-3)


def test_gpus_replay_graphs_and_each_pass_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pass may overwrite the outputs of the one before."""
    asked, marks = [dict[str, Any]()], list[None]()

    def compile(forward: Callable[[Tensor], Any], **options: Any) -> Callable[[Tensor], Any]:
        asked.append(options)
        return forward

    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(None))
    on_gpu = job(device=CUDA)
    monkeypatch.setattr(compiled, "move", lambda job, _format: (job.network, job.inputs))  # there is no GPU
    prepared = compiled.prepare(on_gpu)
    prepared.run()
    assert asked[-1] == {"fullgraph": True, "dynamic": False, "options": {"triton.cudagraphs": True}}
    assert len(marks) == 2


FAILURES = [
    (RuntimeError("C++ compile error\n\nCommand:\ng++ x.cpp\n\nx.cpp:1:10: fatal error: Python.h: No such file"), None),
    (ValueError("no such thing\nmore of it"), "no such thing"),
    (ValueError(), "ValueError"),
]


@pytest.mark.parametrize(("cause", "words"), FAILURES)
def test_a_failure_names_its_cause(cause: Exception, words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the exception around it, whose first line says that the backend raised; of a compiler's output its error."""
    error = TorchDynamoException("backend='inductor' raised:")
    error.inner_exception = cause  # type: ignore[attr-defined]

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(torch, "compile", lambda *_args, **_options: fail)
    with pytest.raises(MnfpnError) as caught:
        compiled.prepare(job())
    words = words or "x.cpp:1:10: fatal error: Python.h: No such file"
    assert str(caught.value) == f"torch could not compile the network: {words}"


def test_the_reason_names_the_compiler_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """C++ for CPUs; for GPUs C, which Triton starts its kernels with."""
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(compiled, "find_spec", lambda _name: "found")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    for variable in ("CXX", "CC"):
        monkeypatch.delenv(variable, raising=False)
    assert compiled.unavailable_reason(CPU, "float32", False) == (
        "needs a C++ compiler: g++, or one that the environment variable CXX names"
    )
    assert compiled.unavailable_reason(CUDA, "float32", False) == (
        "needs a C compiler: gcc or clang, or one that the environment variable CC names"
    )
    monkeypatch.setenv("CXX", "c++-99")
    assert (
        compiled.unavailable_reason(CPU, "float32", False)
        == "needs a C++ compiler, and there is no c++-99, which CXX names"
    )


def test_a_gpu_needs_triton_and_a_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton comes with torch for CUDA on Linux, and has nothing for GPUs before Volta."""
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (6, 1))
    monkeypatch.setattr(compiled, "find_spec", lambda _name: None)
    assert compiled.unavailable_reason(CUDA, "float32", False) == "not installed: pip install triton"
    monkeypatch.setattr(compiled, "find_spec", lambda _name: "found")
    assert compiled.unavailable_reason(CUDA, "float32", False) == (
        "needs a GPU of compute capability 7.0 or more, and this one has 6.1"
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 0))
    assert compiled.unavailable_reason(CUDA, "float32", False) is None


def test_a_python_that_torch_cannot_compile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In torch's words."""
    monkeypatch.setattr(sys, "version_info", (3, 99, 0, "final", 0))
    assert "Python 3." in (compiled.unavailable_reason(CPU, "float32", False) or "")
