"""Our own kernels, in C++: compiled once by the machine's compiler, kept in the user's cache, called by ctypes."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from mnfpn_cli.devices.instructions import this_processor

FOLDER = Path(__file__).with_name("cpp")
COMPILERS = ("c++", "g++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-fopenmp", "-shared", "-fPIC")
VECTORS = {"AVX512": ("-mavx512f", "-mavx512vl", "-mavx2", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""A compiler's options by what torch says that the processor has; the others need none."""

DTYPES = {torch.float32: (), torch.bfloat16: ("-DBFLOAT16", "-mavx512bf16")}
"""The dtypes of maps that there are kernels for, and what a compiler needs besides."""

AMX = ("-DAMX", "-mamx-tile", "-mamx-bf16")
"""What a compiler needs for dense convolutions by the tiles of AMX, in bfloat16."""

LONGEST_COMPILATION_S = 120.0


class KernelMap(ctypes.Structure):
    """The shape of a map of one image."""

    _fields_ = (("rows", ctypes.c_int), ("columns", ctypes.c_int), ("channels", ctypes.c_int))


class KernelConvolution(ctypes.Structure):
    """A convolution, as in `convolution.h`; one without vectors is none."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("vectors", "kernel", "stride", "top", "left")),
    )


class KernelRequest(ctypes.Structure):
    """What the kernels compute in one call, as in `blocks.cpp`."""

    _fields_ = (
        *((name, KernelMap) for name in ("input", "middle", "output")),
        *((name, KernelConvolution) for name in ("dense", "depthwise", "project")),
        ("images", ctypes.c_int),
    )


class Kernels:
    """Compiled kernels, for maps of one dtype.

    Attributes:
        dtype: of the maps, and of dense weights.
        width: the channels of a vector, as weights are stored.
        pair: the inputs that are multiplied at once, which lie side by side in dense weights.
    """

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype):
        """Declare what the functions of the library take.

        Raises:
            AttributeError: it has not all of them.
        """
        library.mnfpn_scratch.restype = ctypes.c_long
        library.mnfpn_scratch.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.mnfpn_run.argtypes = [*[ctypes.c_void_p] * 5, ctypes.c_int]
        library.mnfpn_sum.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_long, *[ctypes.c_int] * 3]
        self._library, self.dtype = library, dtype
        self.width: int = library.mnfpn_width()
        self.pair: int = library.mnfpn_pair()

    def run(self, request: int, x: int, added: int | None, y: int, scratch: int, threads: int) -> None:
        """Compute a request on threads: all but their number are addresses. What is added may be overwritten."""
        self._library.mnfpn_run(request, x, added, y, scratch, threads)

    def scratch_floats(self, request: int, threads: int) -> int:
        """Return the floats of scratch space that a request needs."""
        floats: int = self._library.mnfpn_scratch(request, threads)
        return floats

    def add_rows(self, indices: Tensor, weights: Tensor, rows: Tensor, sums: Tensor) -> None:
        """Write sums (pixels, channels) of rows (r, channels), by indices and weights (pixels, terms), whole pairs."""
        addresses = (one.data_ptr() for one in (indices, weights, rows, sums))
        self._library.mnfpn_sum(*addresses, *indices.shape, rows.shape[1], torch.get_num_threads())


def runs_on_processor(dtype: torch.dtype, amx: bool = False) -> bool:
    """Return whether this processor has the instructions of the kernels: those for bfloat16 need AVX512-BF16."""
    if dtype != torch.bfloat16:
        return dtype in DTYPES and not amx
    has_vectors = torch.backends.cpu.get_cpu_capability() == "AVX512"  # as torch may be told to use less
    needed = {"avx512_bf16", *(("amx_tile", "amx_bf16") if amx else ())}
    return has_vectors and needed <= set(this_processor().usable or ())


def suits_processor(dtype: torch.dtype) -> bool:
    """Return whether the kernels are used on this processor: not in bfloat16 where it has AMX.

    There oneDNN's kernels multiply by tiles, and ours can. Which is faster for a network has not been measured
    (`benchmarks/fused_steps.py` does where there is AMX), and ours have run by emulated tiles only.
    """
    has_tiles = dtype == torch.bfloat16 and "amx_bf16" in (this_processor().usable or ())
    return runs_on_processor(dtype) and not has_tiles


def kernels_for(dtype: torch.dtype) -> Kernels | None:
    """Return the kernels for a dtype; None where they do not suit the processor, or cannot be made."""
    return made_kernels(dtype) if suits_processor(dtype) else None


@cache
def made_kernels(dtype: torch.dtype, amx: bool = False) -> Kernels | None:
    """Return the kernels for a dtype; None where the processor cannot run them, or no C++ compiler can make them.

    Args:
        dtype: of the maps.
        amx: whether dense convolutions multiply by the tiles of AMX; else by vectors.
    """
    compiler = _compiler()
    if not compiler or os.name != "posix" or not runs_on_processor(dtype, amx) or (amx and not allows_amx()):
        return None
    vectors = VECTORS.get(torch.backends.cpu.get_cpu_capability(), ())
    command = [*compiler, *OPTIONS, *vectors, *DTYPES[dtype], *(AMX if amx else ())]
    try:
        made_by = Path(compiler[0]).stat()
        sources = [file.read_text() for file in sorted(FOLDER.glob("*.[ch]*"))]
        about = (*sources, platform.machine(), made_by.st_size, made_by.st_mtime_ns, *command)
        file = _folder() / f"kernels-{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}.so"
        if not file.exists():
            _compile(command, file)
        return Kernels(ctypes.CDLL(str(file)), dtype)
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
