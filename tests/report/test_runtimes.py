"""`mnfpn runtimes` as tables, of planted machines."""

import pytest

from mnfpn_cli.documents.runtimes import (
    AbilityRecord,
    ProcessorRecord,
    RuntimeRecord,
    RuntimesDocument,
    SupportRecord,
)
from mnfpn_cli.report.rows import rows_of
from mnfpn_cli.report.terminal.plain import as_text
from mnfpn_cli.report.terminal.runtimes import runtimes_tables
from mnfpn_cli.settings.input import ITEM_BYTES, DType

FLOATS = ("float32", "bfloat16", "float16")


def ability(dtype: DType, reason: str | None, train: bool, device: str = "cpu") -> AbilityRecord:
    """A runtime's ability on a processor that has all instructions but those of float16."""
    return AbilityRecord(
        device=device,
        dtype=dtype,
        support=None if device != "cpu" else "emulated" if dtype == "float16" else "native",
        no_inference=reason,
        no_training=None if train and reason is None else "inference only",
    )


def runtime(
    name: str,
    runs: tuple[str, ...],
    reason: str,
    *,
    train: bool = False,
    version: str | None = "2.13.0+cpu",
    devices: tuple[str, ...] = ("cpu",),
) -> RuntimeRecord:
    """A runtime that runs in some dtypes, and has one reason for all others."""
    abilities = tuple(
        ability(dtype, None if dtype in runs else reason, train, device) for device in devices for dtype in ITEM_BYTES
    )
    installs = ("pip install 'mnfpn[onnx]'",) if "pip" in reason else ()
    return RuntimeRecord(
        name=name, package=name, version=version, any_network=True, installs=installs, abilities=abilities
    )


def machine(devices: tuple[str, ...] = ("cpu",), cap: str | None = None) -> RuntimesDocument:
    """A machine with a processor as AMD's Zen 4, and a package that is missing."""
    found = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16")
    usable = ("avx2",) if cap else found
    supports = [
        SupportRecord(dtype=dtype, support="emulated", why_emulated="…")
        if dtype == "float16" or (cap and dtype != "float32")
        else SupportRecord(dtype=dtype, support="native", why_emulated=None)
        for dtype in ITEM_BYTES
    ]
    floating = "computes in floating point, and quantises nothing"
    return RuntimesDocument(
        settings=None,
        model=None,
        processor=ProcessorRecord(
            name="AMD EPYC 9354 32-Core Processor", instructions=found, usable=usable, cap=cap, dtypes=tuple(supports)
        ),
        devices=devices,
        runtimes=(
            runtime("eager", FLOATS, floating, train=True, devices=devices),
            runtime("channels-last", FLOATS, floating, train=True, devices=devices),
            runtime("fused", FLOATS, floating, devices=devices),
            runtime("onnxruntime", (), "not installed: pip install 'mnfpn[onnx]'", version=None, devices=devices),
            runtime("openvino", ("float32", "int8"), "this CPU has none", version="2026.4.1", devices=devices),
        ),
    )


def text(document: RuntimesDocument) -> str:
    """The report as in a file."""
    return as_text(runtimes_tables(document))


def test_each_runtime_has_a_row_with_its_dtypes() -> None:
    """What runs is native or emulated, what does not is a dash; training is in words."""
    table = text(machine()).partition("Runtimes on cpu\n")[2].partition("\n\n")[0]
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()}
    assert rows["eager"] == ["2.13.0+cpu", "native", "native", "emulated", "–", "all", "of", "these"]
    assert rows["fused"] == ["2.13.0+cpu", "native", "native", "emulated", "–", "–"]
    assert rows["onnxruntime"] == ["–", "–", "–", "–", "–", "–"]
    assert rows["openvino"] == ["2026.4.1", "native", "–", "–", "native", "–"]


@pytest.mark.parametrize(
    ("infers", "trains", "words"),
    [
        (FLOATS, FLOATS, "all of these"),
        ((*FLOATS, "int8"), FLOATS, "all but int8"),
        (FLOATS, ("float32",), "float32"),
        (FLOATS, (), "–"),
        (("float32",), ("float32", "int8"), "float32, int8"),
        ((), (), "–"),
    ],
)
def test_training_is_said_in_few_words(infers: tuple[str, ...], trains: tuple[str, ...], words: str) -> None:
    """Beside the dtypes of inference."""
    document = machine()
    abilities = tuple(
        AbilityRecord(
            device="cpu",
            dtype=dtype,
            support="native",
            no_inference=None if dtype in infers else "no",
            no_training=None if dtype in trains else "no",
        )
        for dtype in ITEM_BYTES
    )
    only = document.runtimes[0].model_copy(update={"abilities": abilities})
    shown = text(document.model_copy(update={"runtimes": (only,)}))
    (row,) = (line for line in shown.splitlines() if line.startswith("eager") and "2.13.0" in line)
    assert row.endswith(f"  {words}")


def test_runtimes_that_lack_the_same_for_the_same_reason_share_a_row() -> None:
    """A reason is read once, and a runtime that runs nothing has one for all dtypes."""
    (shared,) = (line for line in text(machine()).splitlines() if "floating point" in line)
    assert shared.startswith("eager, channels-last, fused  int8 ")
    (missing,) = (line for line in text(machine()).splitlines() if "not installed" in line)
    assert missing.split()[:2] == ["onnxruntime", "all"]


def test_what_is_missing_is_a_line_to_copy() -> None:
    """Each command once, and none where nothing is missing."""
    lines = text(machine(("cpu", "cuda:0"))).splitlines()
    assert lines.count("  pip install 'mnfpn[onnx]'") == 1
    whole = machine()
    whole = whole.model_copy(update={"runtimes": whole.runtimes[:3]})
    assert "install" not in text(whole)


def test_a_cap_is_shown_with_what_it_leaves() -> None:
    """Beside what the processor has."""
    shown = text(machine(cap="ONEDNN_MAX_CPU_ISA=AVX2"))
    assert "avx2, avx512f, avx512_vnni, avx512_bf16" in shown
    assert "oneDNN uses   avx2 (ONEDNN_MAX_CPU_ISA=AVX2)" in shown
    assert "oneDNN" not in text(machine())


def test_what_is_unknown_is_named_unknown() -> None:
    """A processor that shows nothing is neither native nor emulated in a dtype, and a GPU only runs it."""
    document = machine(("cuda:0",))
    unknown = tuple(SupportRecord(dtype=dtype, support=None, why_emulated=None) for dtype in ITEM_BYTES)
    update = {"instructions": None, "usable": None, "dtypes": unknown}
    shown = text(document.model_copy(update={"processor": document.processor.model_copy(update=update)}))
    assert "instructions  unknown" in shown
    assert "native" not in shown
    assert "emulated" not in shown.lower()
    assert "Runtimes on cuda:0" in shown
    (eager,) = (line for line in shown.splitlines() if line.startswith("eager  "))
    assert eager.split()[2:6] == ["yes", "yes", "yes", "–"]


def test_a_data_frame_has_a_row_for_each_runtime_device_and_dtype() -> None:
    """With the reasons."""
    columns, rows = rows_of(machine(("cpu", "cuda:0")))
    assert len(rows) == 5 * 2 * len(ITEM_BYTES)
    assert columns == [
        *("name", "package", "version", "any_network"),
        *("device", "dtype", "support", "no_inference", "no_training"),
    ]
