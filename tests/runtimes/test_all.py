"""Every runtime computes the same as eager, for every preset, silently; or gives a reason why it cannot."""

import gc
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.files import preset_names
from mnfpn_cli.settings.input import DType, Size
from mnfpn_cli.settings.measuring import runtime_names
from tests.export.networks import SMALL, shortened
from tests.needs import needs_onnx
from tests.runtimes.jobs import CPU, expected, job

SIZE = Size(64, 96)
ROUNDING = 1e-4
"""Of an output's largest value, in float32."""

HERE = [name for name in runtime_names() if load_runtime(name).unavailable_reason(CPU, "float32", False) is None]
QUICK = [name for name in HERE if name != "compiled"]
"""The compiler takes its time: tests/runtimes/test_compiled.py has it compile a tiny network."""

SESSIONS = ("executorch", "onnxruntime", "openvino")
PAIRS = [
    pytest.param(name, preset, marks=[pytest.mark.slow] * (name in SESSIONS and preset != "mobilenetv2-fpn"))
    for name in QUICK
    for preset in preset_names()
]
"""Each session of another library takes seconds to convert its network: in the quick tier of one preset."""

INFERENCE_ONLY = ("cuda-graph", "executorch", "litert", "onnxruntime", "openvino")


@torch.inference_mode()
@pytest.mark.parametrize(("name", "preset"), PAIRS)
def test_outputs_are_those_of_eager(name: str, preset: str, capfd: pytest.CaptureFixture[str]) -> None:
    """For two images, in every pass, with nothing written to the terminal by others, and no memory given back early."""
    settings, shape = shortened(preset).at(SIZE), (2, 3, *SIZE)
    reference = expected(settings, shape)
    prepared = load_runtime(name).prepare(job(settings, shape))
    gc.collect()
    for _ in range(2):
        outputs = prepared.outputs(prepared.run())
        assert [one.shape for one in outputs] == [one.shape for one in reference]
        assert largest_difference(outputs, reference) <= ROUNDING
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [name for name in HERE if name in ("onnxruntime", "openvino")])
def test_images_and_outputs_of_a_session_stay_where_they_are(name: str) -> None:
    """A pass reads the images as they are then, and writes the same outputs; nothing keeps them but the pass."""
    mine = job()
    images = mine.inputs[0].to(memory_format=torch.channels_last)  # it wants another order, so it must make a copy
    run: Any = load_runtime(name).prepare(replace(mine, inputs=(images,))).run
    del images, mine
    gc.collect()
    assert largest_difference(run(), expected()) < ROUNDING
    before = run()[0].clone()
    run.inputs[0].zero_()
    assert not torch.equal(run()[0], before)


@torch.inference_mode()
@pytest.mark.parametrize("name", QUICK)
def test_all_images_are_used_at_every_size(name: str) -> None:
    """One that is prepared for another size and batch leaves the first as it was; maps of one cell are no exception."""
    runs = {shape: load_runtime(name).prepare(job(SMALL, shape)) for shape in ((3, 3, 33, 47), (1, 3, 8, 8))}
    for shape, prepared in runs.items():
        assert largest_difference(prepared.outputs(prepared.run()), expected(SMALL, shape)) <= ROUNDING


@pytest.mark.parametrize(
    "name", [name for name in QUICK if not load_runtime(name).unavailable_reason(CPU, "float32", True)]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_training_step_gives_its_loss(name: str, dtype: DType) -> None:
    """The sum of the outputs' mean squares, a little less with every step."""
    run = load_runtime(name).prepare(job(SMALL, dtype=dtype, train=True)).run
    losses = [run() for _ in range(3)]
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses)
    assert 1 < losses[0].item() < 10


@pytest.mark.parametrize("name", INFERENCE_ONLY)
def test_a_runtime_that_cannot_train_gives_that_reason_first(name: str) -> None:
    """Whether it is installed or not: that would not help."""
    assert load_runtime(name).unavailable_reason(CPU, "float32", True) == "inference only"


@pytest.mark.parametrize("name", [pytest.param("onnxruntime", marks=needs_onnx), "openvino"])
def test_a_failure_is_an_error_in_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the library raises; its first line is in it."""

    def fail(*_: object, **__: object) -> None:
        raise KeyError("no such kernel\nmore of it")

    module = load_runtime(name)
    monkeypatch.setattr(module, "_session" if name == "onnxruntime" else "_compiled", fail)
    with pytest.raises(MnfpnError, match=r"^(ONNX Runtime|OpenVINO) cannot run the network: '?no such kernel"):
        module.prepare(job())


def test_asking_whether_a_runtime_is_available_imports_nothing_slow() -> None:
    """Else the list of runtimes would take seconds."""
    program = """
import sys, torch
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.measuring import LITERT, runtime_names
for name in (*runtime_names(), LITERT):
    for dtype in ("float32", "int8"):
        load_runtime(name).unavailable_reason(torch.device("cpu"), dtype, False)
slow = {"onnx", "onnxruntime", "onnxscript", "openvino", "nncf", "executorch", "torchao", "ai_edge_litert"}
print(sorted((slow | {"torch._dynamo", "torch._inductor"}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
