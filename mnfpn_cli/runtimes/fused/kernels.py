"""Our own kernels, in C++: compiled once by the machine's compiler, kept in the user's cache, called by ctypes."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

import torch

from mnfpn_cli.devices.instructions import this_processor
from mnfpn_cli.settings.input import DType

FOLDER = Path(__file__).with_name("cpp")
COMPILERS = ("c++", "g++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-fopenmp", "-shared", "-fPIC")
VECTORS = {"AVX512": ("-mavx512f", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""A compiler's options by what torch says that the processor has; the others need none."""


@dataclass(frozen=True)
class Build:
    """How kernels are made.

    Attributes:
        maps: the dtype of maps; the kernels round what convolutions in int8 read.
        options: what a compiler needs.
        instructions: what a processor needs besides AVX512; none where any processor will do.
    """

    maps: torch.dtype
    options: tuple[str, ...] = ()
    instructions: frozenset[str] = frozenset()

    def by_amx(self, option: str, instructions: str) -> "Build":
        """Return a build whose dense convolutions multiply by the tiles of AMX."""
        options = (*self.options, "-DAMX", "-mamx-tile", option)
        return replace(self, options=options, instructions=self.instructions | {"amx_tile", instructions})


_BFLOAT16 = Build(torch.bfloat16, ("-DBFLOAT16", "-mavx512bf16"), frozenset(("avx512_bf16",)))
_INT8 = Build(torch.float32, ("-DINT8", "-mavx512vnni"), frozenset(("avx512_vnni",)))
BUILDS: Mapping[tuple[DType, bool], Build] = MappingProxyType(
    {
        ("float32", False): Build(torch.float32),
        ("bfloat16", False): _BFLOAT16,
        ("bfloat16", True): _BFLOAT16.by_amx("-mamx-bf16", "amx_bf16"),
        ("int8", False): _INT8,
        ("int8", True): _INT8.by_amx("-mamx-int8", "amx_int8"),
    }
)
"""By what dense convolutions compute in, and whether they do by AMX."""

LONGEST_COMPILATION_S = 120.0


class KernelMap(ctypes.Structure):
    """The shape of a map of one image."""

    _fields_ = (("rows", ctypes.c_int), ("columns", ctypes.c_int), ("channels", ctypes.c_int))


class KernelConvolution(ctypes.Structure):
    """A convolution, as in `convolution.h`; one without vectors is none."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "scale")),
        *((name, ctypes.c_float) for name in ("low", "high", "inverse", "zero")),
        *((name, ctypes.c_int) for name in ("vectors", "kernel", "stride", "top", "left")),
    )


class KernelRequest(ctypes.Structure):
    """What the kernels compute in one call, as in `blocks.cpp`."""

    _fields_ = (
        *((name, KernelMap) for name in ("input", "middle", "output")),
        *((name, KernelConvolution) for name in ("dense", "depthwise", "project")),
        ("images", ctypes.c_int),
    )


class KernelSide(ctypes.Structure):
    """What each position along a side of a level sums, as in `levels.cpp`."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ("indices", "weights")), ("terms", ctypes.c_int))


class KernelLevelRequest(ctypes.Structure):
    """A level that the kernels compute in one call, as in `levels.cpp`."""

    _fields_ = (
        *((name, KernelMap) for name in ("input", "coarse", "output")),
        *((name, KernelConvolution) for name in ("conv", "mix")),
        *((name, KernelSide) for name in ("down", "across")),
        ("images", ctypes.c_int),
    )


class Kernels:
    """Compiled kernels.

    Attributes:
        products: what dense convolutions compute in.
        amx: whether they multiply by the tiles of AMX.
        maps: the dtype of maps.
        width: the channels of a vector, as weights are stored.
        pair: the inputs that are multiplied at once, which lie side by side in dense weights.
        depth: the channels of a pixel that lie side by side behind a depthwise convolution.
    """

    def __init__(self, library: ctypes.CDLL, products: DType, maps: torch.dtype, amx: bool):
        """Declare what the functions of the library take.

        Raises:
            AttributeError: it has not all of them.
        """
        for scratch in (library.mnfpn_scratch, library.mnfpn_level_scratch):
            scratch.restype, scratch.argtypes = ctypes.c_long, [ctypes.c_void_p, ctypes.c_int]
        for run in (library.mnfpn_run, library.mnfpn_level):
            run.argtypes = [*[ctypes.c_void_p] * 5, ctypes.c_int]
        self._library, self.products, self.maps, self.amx = library, products, maps, amx
        self.width: int = library.mnfpn_width()
        self.pair: int = library.mnfpn_pair()
        self.depth: int = library.mnfpn_depth()

    def run(self, request: int, x: int, added: int | None, y: int, scratch: int, threads: int) -> None:
        """Compute a request on threads: all but their number are addresses. What is added may be overwritten."""
        self._library.mnfpn_run(request, x, added, y, scratch, threads)

    def scratch_floats(self, request: int, threads: int) -> int:
        """Return the floats of scratch space that a request needs."""
        floats: int = self._library.mnfpn_scratch(request, threads)
        return floats

    def run_level(self, request: int, x: int, coarse: int, y: int, scratch: int, threads: int) -> None:
        """Compute a level on threads: all but their number are addresses."""
        self._library.mnfpn_level(request, x, coarse, y, scratch, threads)

    def level_scratch_floats(self, request: int, threads: int) -> int:
        """Return the floats of scratch space that a request of a level needs."""
        floats: int = self._library.mnfpn_level_scratch(request, threads)
        return floats


def runs_on_processor(dtype: DType, amx: bool = False) -> bool:
    """Return whether there are kernels for a dtype, and this processor has their instructions."""
    build = BUILDS.get((dtype, amx))
    if build is None or not build.instructions:
        return build is not None
    has_vectors = torch.backends.cpu.get_cpu_capability() == "AVX512"  # as torch may be told to use less
    return has_vectors and build.instructions <= set(this_processor().usable or ())


def missing_for(dtype: DType) -> str | None:
    """Return why there are no kernels for a dtype here, without compiling any; None where nothing is missing."""
    if not runs_on_processor(dtype):
        needed = " and ".join(sorted(BUILDS[dtype, False].instructions))
        return f"needs the instructions {needed}, which this processor lacks or torch may not use"
    if not _compiler() or os.name != "posix":
        return "needs a C++ compiler: g++, clang++, or the one that the environment variable CXX names"
    return None


def kernels_for(dtype: DType) -> Kernels | None:
    """Return the kernels for a dtype, by the tiles of AMX where they can be; None where none can be made.

    In bfloat16 they are none where tiles could be used but not compiled: oneDNN's kernels multiply by tiles too, and
    are faster than ours by vectors.
    """
    if runs_on_processor(dtype, amx=True) and allows_amx():
        made = made_kernels(dtype, amx=True)
        if made or dtype == "bfloat16":
            return made
    return made_kernels(dtype)


@cache
def made_kernels(dtype: DType, amx: bool = False) -> Kernels | None:
    """Return the kernels for a dtype; None where the processor cannot run them, or no C++ compiler can make them.

    Args:
        dtype: what dense convolutions compute in.
        amx: whether they multiply by the tiles of AMX; else by vectors.
    """
    compiler = _compiler()
    if not compiler or os.name != "posix" or not runs_on_processor(dtype, amx) or (amx and not allows_amx()):
        return None
    build = BUILDS[dtype, amx]
    command = [*compiler, *OPTIONS, *VECTORS.get(torch.backends.cpu.get_cpu_capability(), ()), *build.options]
    try:
        made_by = Path(compiler[0]).stat()
        sources = [file.read_text() for file in sorted(FOLDER.glob("*.[ch]*"))]
        about = (*sources, platform.machine(), made_by.st_size, made_by.st_mtime_ns, *command)
        file = _folder() / f"kernels-{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}.so"
        if not file.exists():
            _compile(command, file)
        return Kernels(ctypes.CDLL(str(file)), dtype, build.maps, amx)
    except (OSError, RuntimeError, subprocess.SubprocessError, AttributeError):  # also no home, or one symbol too few
        return None


def allows_amx() -> bool:
    """Ask the system to let this process use the tiles of AMX, and return whether it does."""
    allowed: bool = torch.cpu._init_amx()
    return allowed


def _compiler() -> list[str]:
    """Return the command of a C++ compiler, as the environment names it; empty where there is none."""
    name, *options = shlex.split(os.environ.get("CXX", "")) or [""]
    found = (path for known in ([name] if name else COMPILERS) if (path := shutil.which(known)))
    path = next(found, None)
    return [path, *options] if path else []


def _folder() -> Path:
    """Return the folder that compiled kernels are kept in, and make it."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnfpn"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _compile(command: list[str], file: Path) -> None:
    """Compile to a file that is whole or not there: other processes may do the same."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / file.name
        command = [*command, *map(str, sorted(FOLDER.glob("*.cpp"))), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, timeout=LONGEST_COMPILATION_S)
        made.replace(file)
