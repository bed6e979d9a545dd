"""The instruction sets of the CPU that decide which dtypes it computes in, and what a cap of oneDNN leaves of them.

torch reads the processor by the library cpuinfo at once, on Linux, macOS and Windows; py-cpuinfo would start a process
that takes a second.
"""

import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch

from mnfpn_cli.documents.runtimes import Support
from mnfpn_cli.settings.input import DType

X86 = (
    *("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
)
ARM = ("asimd", "asimddp", "i8mm", "bf16", "asimdhp", "sve")
KNOWN = (*X86, *ARM)
"""The instruction sets that matter here, as Linux names them."""

NATIVE: Mapping[DType, frozenset[str]] = MappingProxyType(
    {
        "bfloat16": frozenset(("avx512_bf16", "amx_bf16", "bf16")),
        "float16": frozenset(("avx512_fp16", "amx_fp16", "asimdhp")),
        "int8": frozenset(("avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm")),
    }
)
"""The instruction sets that multiply and add in a dtype: one is enough. F16C and AVX-NE-CONVERT only convert.

Without them int8 is composed of vpmaddubsw and two more instructions, bfloat16 and float16 of float32.
"""

OTHER_NAMES = MappingProxyType(
    {
        **{"avx512_f": "avx512f", "avx512vnni": "avx512_vnni"},
        **{"neon": "asimd", "dot": "asimddp", "fp16_arith": "asimdhp"},
    }
)
"""The names of cpuinfo, py-cpuinfo and older kernels."""

VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""The environment variables that cap what oneDNN uses, the one that it prefers first."""

_CORE = ("avx2", "avx512f")
_VNNI = (*_CORE, "avx512_vnni")
_BF16 = (*_VNNI, "avx512_bf16")
_FP16 = (*_BF16, "avx512_fp16", "avx_vnni")
_AMX = (*_FP16, "amx_tile", "amx_int8", "amx_bf16")

CAPS: Mapping[str, Collection[str]] = MappingProxyType(
    {
        "SSE41": (),
        "AVX": (),
        "AVX2": ("avx2",),
        "AVX2_VNNI": ("avx2", "avx_vnni"),
        "AVX2_VNNI_2": ("avx2", "avx_vnni"),
        "AVX512_CORE": _CORE,
        "AVX512_CORE_VNNI": _VNNI,
        "AVX512_CORE_BF16": _BF16,
        "AVX512_CORE_FP16": _FP16,
        "AVX10_1_512": _FP16,
        "AVX512_CORE_AMX": _AMX,
        "AVX10_1_512_AMX": _AMX,
    }
)
"""What oneDNN uses of `X86` under a cap (oneDNN's guide, CPU Dispatcher Control). It ignores a value that it does not
know, and the higher ones leave everything.
"""

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Instructions:
    """The instruction sets of a CPU that matter here.

    Attributes:
        found: those that it has, in the order of `KNOWN`; None where the system does not show them.
        usable: those that oneDNN may use.
        cap: the environment variable that forbids the others, with its value; None where it forbids none.
    """

    found: tuple[str, ...] | None
    usable: tuple[str, ...] | None
    cap: str | None = None

    def support(self, dtype: DType, capped: bool = True) -> Support | None:
        """Return whether the CPU computes in a dtype by instructions of its own; None where that is unknown.

        Args:
            dtype: the element type.
            capped: whether by oneDNN, which heeds the cap, as torch and OpenVINO do.
        """
        if dtype == "float32":
            return "native"
        sets = self.usable if capped else self.found
        if sets is None:
            return None
        return "emulated" if NATIVE[dtype].isdisjoint(sets) else "native"

    def why_emulated(self, dtype: DType, capped: bool = True) -> str | None:
        """Return why a dtype is emulated, as ``this processor has no int8 instructions``; None where it is not."""
        if self.support(dtype, capped) != "emulated":
            return None
        if self.support(dtype, capped=False) == "native":
            return f"{self.cap} forbids this processor's {dtype} instructions"
        return f"this processor has no {dtype} instructions"


def instructions_of(flags: Iterable[str] | None, environment: Mapping[str, str]) -> Instructions:
    """Return the instruction sets of a CPU, and which of them oneDNN may use.

    Args:
        flags: the names of all its features, by any of the usual names; None where they are unknown.
        environment: the environment variables.
    """
    cap, allowed = _cap(environment)
    if flags is None:
        return Instructions(None, None)
    names = {OTHER_NAMES.get(flag, flag) for flag in flags}
    found = tuple(name for name in KNOWN if name in names)
    usable = tuple(name for name in found if name in ARM or name in allowed)
    return Instructions(found, usable, cap if usable != found else None)


def _cap(environment: Mapping[str, str]) -> tuple[str | None, Collection[str]]:
    """Return the variable that caps oneDNN, with its value, and the instruction sets that it leaves."""
    variable = next((name for name in VARIABLES if environment.get(name)), None)
    value = environment[variable].upper() if variable else ""
    return (f"{variable}={value}", CAPS[value]) if value in CAPS else (None, X86)


def this_processor() -> Instructions:
    """Return the instruction sets of this machine's CPU, under the caps of this process's environment."""
    return instructions_of(_flags(), os.environ)


@cache
def _flags() -> frozenset[str] | None:
    return read_flags(_capabilities(), CPUINFO)


def _capabilities() -> Mapping[str, object]:
    capabilities: Mapping[str, object] = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return capabilities


def read_flags(capabilities: Mapping[str, object], cpuinfo: Path) -> frozenset[str] | None:
    """Return the features of the CPU that torch or the kernel reports; None where neither does.

    Args:
        capabilities: what `torch.cpu.get_capabilities` returns.
        cpuinfo: the file in which Linux lists features, as ``flags`` on x86 and as ``Features`` on ARM.
    """
    flags = {name for name, has in capabilities.items() if has is True}
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:  # another system
        lines = []
    for name, _, value in (line.partition(":") for line in lines):
        if name.strip().lower() in ("flags", "features"):
            flags.update(value.split())
    return frozenset(flags) or None


def processor_name() -> str:
    """Return the name of this machine's CPU, at once; ``reading_cpu_name`` is slower, and the same on every system."""
    name = _capabilities().get("cpu_name")
    return name if isinstance(name, str) and name else platform.processor() or platform.machine()
