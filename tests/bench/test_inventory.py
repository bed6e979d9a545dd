"""What a machine runs networks by: planted runtimes, and those that there are."""

from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace

import pytest
import torch

from mnfpn_cli.bench import inventory
from mnfpn_cli.bench.inventory import runtimes_document
from mnfpn_cli.devices.instructions import instructions_of
from mnfpn_cli.documents.runtimes import RuntimeRecord
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes.runtime import load_runtime
from mnfpn_cli.settings.input import ITEM_BYTES, DType
from mnfpn_cli.settings.measuring import LITERT, runtime_names

CPU, META = torch.device("cpu"), torch.device("meta")


def planted(
    monkeypatch: pytest.MonkeyPatch, name: str, reason: str | Exception | None, flags: tuple[str, ...] = (), **env: str
) -> RuntimeRecord:
    """The record of a machine's only runtime, which gives a reason for all dtypes but float32, or fails."""

    def unavailable_reason(_device: torch.device, dtype: DType, train: bool) -> str | None:
        if train:
            return "inference only"
        if isinstance(reason, Exception):
            raise reason
        return None if dtype == "float32" else reason

    module = SimpleNamespace(ANY_NETWORK=True, unavailable_reason=unavailable_reason)
    monkeypatch.setattr(inventory, "runtime_names", lambda: (name,))
    monkeypatch.setattr(inventory, "load_runtime", lambda _: module)
    monkeypatch.setattr(inventory, "this_processor", lambda: instructions_of(flags, env))
    record, _litert = runtimes_document([CPU, META]).runtimes
    return record


def test_every_runtime_is_asked_for_each_device_and_dtype() -> None:
    """A runtime that is added later is there by itself; each reason is the runtime's own."""
    document = runtimes_document([CPU])
    assert tuple(one.name for one in document.runtimes) == (*runtime_names(), LITERT)
    for one in document.runtimes:
        assert [(it.device, it.dtype) for it in one.abilities] == [("cpu", dtype) for dtype in ITEM_BYTES]
        for ability in one.abilities:
            ask = load_runtime(one.name).unavailable_reason
            assert ability.no_inference == ask(CPU, ability.dtype, False)
            assert ability.no_training == ask(CPU, ability.dtype, True)


@pytest.mark.parametrize(
    ("reason", "installs"),
    [
        ("not installed: pip install 'mnfpn[onnx]'", ("pip install 'mnfpn[onnx]'",)),
        ("not installed: pip install triton", ("pip install triton",)),
        ("needs nncf: pip install 'mnfpn[openvino-int8]', which is large", ("pip install 'mnfpn[openvino-int8]'",)),
        ("pip install a-b.", ("pip install a-b",)),
        ("float32 only", ()),
        (None, ()),
    ],
)
def test_what_is_missing_is_a_command(
    monkeypatch: pytest.MonkeyPatch, reason: str | None, installs: tuple[str, ...]
) -> None:
    """That of the reason, once for all dtypes and devices."""
    assert planted(monkeypatch, "planted", reason).installs == installs


@pytest.mark.parametrize(
    "error", [MnfpnError("needs a driver\nmore"), ImportError("libGL.so.1: no such file"), OSError("not executable")]
)
def test_a_package_that_does_not_work_is_a_reason(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """In the first line of its error: the other runtimes are listed nevertheless."""
    record = planted(monkeypatch, "planted", error)
    assert {one.no_inference for one in record.abilities} == {str(error).partition("\n")[0]}
    assert {one.no_training for one in record.abilities} == {"inference only"}


def test_a_package_has_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's runtimes that of torch, others of their package, also by another name; none where it is missing."""
    versions = {"torch": "2.13.0", "onnxruntime-gpu": "1.31.0", "ai-edge-litert": "2.3.0"}

    def version(package: str) -> str:
        if package not in versions:
            raise PackageNotFoundError(package)
        return versions[package]

    monkeypatch.setattr(inventory, "version", version)
    found = [planted(monkeypatch, name, None) for name in ("fused", "onnxruntime", "litert", "executorch")]
    assert [(one.package, one.version) for one in found] == [
        ("torch", "2.13.0"),
        ("onnxruntime-gpu", "1.31.0"),
        ("ai-edge-litert", "2.3.0"),
        ("executorch", None),
    ]


def test_a_cap_of_onednn_is_that_of_its_runtimes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime has kernels of its own; of a device that is no CPU nothing is known."""
    for name, support in (("fused", "emulated"), ("openvino", "emulated"), ("onnxruntime", "native")):
        record = planted(monkeypatch, name, None, ("avx2", "avx512_vnni"), ONEDNN_MAX_CPU_ISA="AVX2")
        found = {(one.device, one.dtype): one.support for one in record.abilities}
        assert found["cpu", "int8"] == support
        assert {found["meta", dtype] for dtype in ITEM_BYTES} == {None}


def test_the_processor_says_which_dtypes_it_computes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has, what oneDNN may use of it, and why."""
    capped = instructions_of(("avx2", "avx512_vnni"), {"ONEDNN_MAX_CPU_ISA": "AVX2"})
    monkeypatch.setattr(inventory, "this_processor", lambda: capped)
    monkeypatch.setattr(inventory, "runtime_names", lambda: ())
    processor = runtimes_document([CPU]).processor
    assert (processor.instructions, processor.usable) == (("avx2", "avx512_vnni"), ("avx2",))
    assert processor.cap == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert {one.dtype: one.support for one in processor.dtypes} == {
        "float32": "native",
        "bfloat16": "emulated",
        "float16": "emulated",
        "int8": "emulated",
    }
    assert processor.dtypes[-1].why_emulated == "ONEDNN_MAX_CPU_ISA=AVX2 forbids this processor's int8 instructions"
