"""Which dtypes a CPU computes in: planted processors of every kind, with and without a cap."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.devices import instructions
from mnfpn_cli.devices.instructions import (
    CAPS,
    KNOWN,
    NATIVE,
    X86,
    instructions_of,
    read_flags,
    this_processor,
)
from mnfpn_cli.settings.input import ITEM_BYTES, DType

HASWELL = ("sse4_1", "avx2", "f16c")
SKYLAKE_SERVER = (*HASWELL, "avx512f", "avx512bw", "avx512vl", "avx512dq")
ALDER_LAKE = (*HASWELL, "avx_vnni")
ZEN4 = (*SKYLAKE_SERVER, "avx512_vnni", "avx512_bf16")
SAPPHIRE_RAPIDS = (*ZEN4, "avx_vnni", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16")
CORTEX_A53 = ("fp", "asimd", "crc32")
GRAVITON3 = ("asimd", "fphp", "asimdhp", "asimddp", "sve", "i8mm", "bf16")
APPLE_M1 = ("neon", "fp16_arith", "dot")

DTYPES: tuple[DType, ...] = ("float32", "bfloat16", "float16", "int8")


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        (HASWELL, ()),
        (SKYLAKE_SERVER, ()),
        (ALDER_LAKE, ("int8",)),
        (ZEN4, ("bfloat16", "int8")),
        (SAPPHIRE_RAPIDS, ("bfloat16", "float16", "int8")),
        (CORTEX_A53, ()),
        (GRAVITON3, ("bfloat16", "float16", "int8")),
        (APPLE_M1, ("float16", "int8")),
    ],
    ids=["Haswell", "Skylake server", "Alder Lake", "Zen 4", "Sapphire Rapids", "Cortex-A53", "Graviton3", "M1"],
)
def test_a_processor_is_native_in_the_dtypes_that_it_has_instructions_for(
    flags: tuple[str, ...], native: tuple[str, ...]
) -> None:
    """float32 always is; the others say why they are not."""
    found = instructions_of(flags, {})
    for dtype in DTYPES:
        expected = dtype in ("float32", *native)
        assert found.support(dtype) == ("native" if expected else "emulated")
        assert found.why_emulated(dtype) == (None if expected else f"this processor has no {dtype} instructions")


@pytest.mark.parametrize(
    ("cap", "native"),
    [
        ("SSE41", ()),
        ("AVX2", ()),
        ("AVX2_VNNI", ("int8",)),
        ("AVX512_CORE", ()),
        ("AVX512_CORE_VNNI", ("int8",)),
        ("AVX512_CORE_BF16", ("bfloat16", "int8")),
        ("AVX512_CORE_FP16", ("bfloat16", "float16", "int8")),
        ("AVX512_CORE_AMX", ("bfloat16", "float16", "int8")),
        ("avx512_core_vnni", ("int8",)),
    ],
)
def test_a_cap_of_onednn_takes_instructions_away(cap: str, native: tuple[str, ...]) -> None:
    """The processor still has them: who does not use oneDNN computes by them, and the reason names the cap."""
    capped = instructions_of(SAPPHIRE_RAPIDS, {"ONEDNN_MAX_CPU_ISA": cap})
    for dtype in DTYPES[1:]:
        reason = f"ONEDNN_MAX_CPU_ISA={cap.upper()} forbids this processor's {dtype} instructions"
        assert capped.support(dtype) == ("native" if dtype in native else "emulated")
        assert capped.why_emulated(dtype) == (None if dtype in native else reason)
        assert capped.support(dtype, capped=False) == "native"
        assert capped.why_emulated(dtype, capped=False) is None


def test_a_cap_that_takes_nothing_away_is_none() -> None:
    """As on a processor that has no more than it allows, or no x86; the processor's own lack is the reason then."""
    for flags in (HASWELL, GRAVITON3):
        capped = instructions_of(flags, {"ONEDNN_MAX_CPU_ISA": "AVX2"})
        assert (capped.cap, capped.usable) == (None, capped.found)
    assert instructions_of(HASWELL, {"ONEDNN_MAX_CPU_ISA": "AVX2"}).why_emulated("int8") == (
        "this processor has no int8 instructions"
    )


@pytest.mark.parametrize(
    ("environment", "cap"),
    [
        ({"DNNL_MAX_CPU_ISA": "AVX2"}, "DNNL_MAX_CPU_ISA=AVX2"),
        ({"ONEDNN_MAX_CPU_ISA": "AVX", "DNNL_MAX_CPU_ISA": "AVX2"}, "ONEDNN_MAX_CPU_ISA=AVX"),
        ({"ONEDNN_MAX_CPU_ISA": "", "DNNL_MAX_CPU_ISA": "AVX2"}, "DNNL_MAX_CPU_ISA=AVX2"),
        ({"ONEDNN_MAX_CPU_ISA": "NONSENSE", "DNNL_MAX_CPU_ISA": "AVX2"}, None),
        ({"ONEDNN_MAX_CPU_ISA": "DEFAULT"}, None),
        ({"ONEDNN_MAX_CPU_ISA": "AVX10_2_512"}, None),
    ],
)
def test_variables_are_read_as_onednn_reads_them(environment: dict[str, str], cap: str | None) -> None:
    """The newer name comes first, and a value that oneDNN does not know caps nothing, as its own log shows."""
    assert instructions_of(ZEN4, environment).cap == cap


def test_what_is_unknown_is_not_guessed() -> None:
    """A system that does not show its processor's features, with or without a cap."""
    for environment in ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):
        unknown = instructions_of(None, environment)
        assert (unknown.found, unknown.usable, unknown.cap) == (None, None, None)
        assert [unknown.support(dtype) for dtype in DTYPES] == ["native", None, None, None]
        assert unknown.why_emulated("int8") is None


@given(st.sets(st.sampled_from((*KNOWN, "sse4_1", "f16c"))), st.sampled_from((*CAPS, "", "DEFAULT")))
def test_a_cap_only_takes_away(flags: set[str], cap: str) -> None:
    """What is usable was found, and no dtype becomes native by a cap."""
    found = instructions_of(flags, {"ONEDNN_MAX_CPU_ISA": cap})
    assert found.found is not None
    assert found.usable is not None
    assert set(found.usable) <= set(found.found) <= flags
    assert (found.cap is None) == (found.usable == found.found)
    for dtype in ITEM_BYTES:
        assert found.support(dtype) == "emulated" or found.support(dtype, capped=False) == "native"
        assert (found.why_emulated(dtype) is None) == (found.support(dtype) == "native")


def test_every_name_is_one_that_is_looked_for() -> None:
    """A name that is misspelt in a table would be found in no processor."""
    assert {name for sets in NATIVE.values() for name in sets} <= set(KNOWN)
    assert {name for sets in CAPS.values() for name in sets} <= set(X86)


def test_features_are_read_from_torch_and_from_the_kernel(tmp_path: Path) -> None:
    """By their own names each: x86 has `flags`, ARM has `Features`; values that are no features are left out."""
    x86 = tmp_path / "x86"
    x86.write_text("processor\t: 0\nmodel name\t: a bf16 chip\nflags\t\t: fpu avx2 avx512_vnni\nbugs\t\t: spectre\n")
    arm = tmp_path / "arm"
    arm.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    missing = tmp_path / "missing"
    torch_reports = {"avx512_f": True, "amx_int8": False, "architecture": "x86_64", "l2_cache_size": 1}
    assert read_flags({}, x86) == frozenset(("fpu", "avx2", "avx512_vnni"))
    assert read_flags({}, arm) == frozenset(("fp", "asimd", "asimddp"))
    assert read_flags(torch_reports, missing) == frozenset(("avx512_f",))
    assert read_flags({}, missing) is None
    assert instructions_of(read_flags(torch_reports, x86), {}).found == ("avx2", "avx512f", "avx512_vnni")


def test_this_processor_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the environment of now; its name needs no process."""
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    free = this_processor()
    assert (free.usable, free.cap) == (free.found, None)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    capped = this_processor()
    assert capped.found == free.found
    assert not set(capped.usable or ()) & set(X86)
    assert instructions.processor_name()


def test_a_torch_without_capabilities_leaves_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older torch."""
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert instructions._capabilities() == {}
