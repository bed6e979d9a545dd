"""A pass is recorded as a CUDA graph, with fakes for `torch.cuda`: no GPU is needed."""

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes import cuda_graph
from tests.runtimes.jobs import CPU, job


def made_up(monkeypatch: pytest.MonkeyPatch, failure: Exception | None = None) -> list[str]:
    """Replace what the runtime uses of `torch.cuda`; return the list that records the calls in order."""
    log: list[str] = []

    @contextmanager
    def entered(*_: object, stream: object = None) -> Iterator[None]:
        log.append("record" if stream else "enter")
        try:
            yield
        finally:  # as CUDA does: it is found out where the recording ends
            if stream and failure:
                raise failure

    def new(name: str, method: str) -> Callable[..., object]:
        return lambda *_: SimpleNamespace(**{method: lambda *_: log.append(name)})

    monkeypatch.setattr(torch.cuda, "current_stream", new("main waits", "wait_stream"))
    monkeypatch.setattr(torch.cuda, "Stream", new("side waits", "wait_stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", new("replay", "replay"))
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: log.append("clear"), raising=False)
    for name in ("device", "stream", "graph"):
        monkeypatch.setattr(torch.cuda, name, entered)
    return log


def test_a_pass_is_recorded_after_others_warmed_up_beside_the_main_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each stream waits for the other; replaying returns the outputs of the pass that was recorded."""
    log, on_gpu = made_up(monkeypatch), job()
    on_gpu.network.register_forward_hook(lambda *_: log.append("pass"))
    prepared = cuda_graph.prepare(on_gpu)
    assert log == [
        "enter",
        "side waits",
        "enter",
        *["pass"] * 3,
        "main waits",
        "clear",
        "enter",
        "record",
        "pass",
        "clear",
    ]
    outputs = prepared.run()
    assert prepared.run() is outputs
    assert log[-2:] == ["replay", "replay"]
    assert [one.shape for one in prepared.outputs(outputs)] == [(2, 8, 8, 12)]
    assert outputs[0].is_inference()


def test_what_cannot_be_recorded_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the first line of CUDA's."""
    made_up(monkeypatch, RuntimeError("operation not permitted when stream is capturing\nmore of it"))
    with pytest.raises(MnfpnError) as caught:
        cuda_graph.prepare(job())
    assert str(caught.value) == (
        "CUDA could not record the network as a graph: operation not permitted when stream is capturing"
    )


def test_the_error_that_broke_the_recording_is_reported_not_the_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CUDA's is the same whatever happened."""
    for error, raised in (
        (
            RuntimeError("no such kernel\nmore"),
            MnfpnError("CUDA could not record the network as a graph: no such kernel"),
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError("CUDA out of memory")),
        (KeyboardInterrupt(), KeyboardInterrupt()),
    ):
        log, broken = made_up(monkeypatch, RuntimeError("operation failed due to a previous error")), job()

        def fail(*_: object, log: list[str] = log, error: BaseException = error) -> None:
            if "record" in log:
                raise error

        broken.network.register_forward_hook(fail)
        with pytest.raises(type(raised)) as caught:
            cuda_graph.prepare(broken)
        assert str(caught.value) == str(raised)
        assert log[-1] == "clear"


def test_the_tensors_of_the_graph_stay_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph has only addresses, and would use whatever memory is there next."""
    made_up(monkeypatch)
    mine = job()
    network = weakref.ref(mine.network)
    run: Any = cuda_graph.prepare(mine).run
    (expected,) = (one.clone() for one in mine.inputs)
    del mine
    gc.collect()
    assert network() is run.network
    assert torch.equal(run.inputs[0], expected)


def test_running_out_of_memory_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine explains it."""
    made_up(monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))
    with pytest.raises(torch.OutOfMemoryError):
        cuda_graph.prepare(job())


def test_it_runs_on_cuda_alone() -> None:
    """In inference, in every dtype."""
    assert cuda_graph.unavailable_reason(CPU, "float32", False) == "runs on CUDA alone"
    assert cuda_graph.unavailable_reason(torch.device("cuda:0"), "bfloat16", False) is None
    assert cuda_graph.unavailable_reason(torch.device("cuda:0"), "float32", True) == "inference only"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_outputs_are_those_of_eager() -> None:
    """On a real GPU, in float32 without TF32."""
    device = torch.device("cuda:0")
    with torch.backends.cudnn.flags(allow_tf32=False):
        prepared, same = cuda_graph.prepare(job(device=device)), job()
        (found,), (reference,) = prepared.run(), same.network.to(device)(same.inputs[0].to(device))
    torch.testing.assert_close(found.contiguous(), reference, rtol=1e-4, atol=1e-4)
