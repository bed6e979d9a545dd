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

SOURCE = Path(__file__).with_name("kernels.cpp")
COMPILERS = ("c++", "g++", "clang++")
OPTIONS = ("-std=c++17", "-O3", "-fopenmp", "-shared", "-fPIC")
VECTORS = {"AVX512": ("-mavx512f", "-mavx512vl", "-mavx2", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""A compiler's options by what torch says that the processor has; the others need none."""

LONGEST_COMPILATION_S = 120.0


class Map(ctypes.Structure):
    """The shape of a map of one image."""

    _fields_ = (("rows", ctypes.c_int), ("columns", ctypes.c_int), ("channels", ctypes.c_int))


class Convolution(ctypes.Structure):
    """A convolution, as in the C++ file; one without vectors is none."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        *((name, ctypes.c_int) for name in ("vectors", "kernel", "stride", "top", "left")),
    )


class Block(ctypes.Structure):
    """What the kernels compute in one call, as in the C++ file."""

    _fields_ = (
        *((name, Map) for name in ("input", "middle", "output")),
        *((name, Convolution) for name in ("dense", "depthwise", "project")),
        ("images", ctypes.c_int),
        ("residual", ctypes.c_int),
    )


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels; None where there is no C++ compiler, or it cannot compile or load them."""
    named = shlex.split(os.environ.get("CXX", ""))
    compiler = named or [path for name in COMPILERS if (path := shutil.which(name))][:1]
    if not compiler or os.name != "posix":
        return None
    options = (*OPTIONS, *VECTORS.get(torch.backends.cpu.get_cpu_capability(), ()))
    try:
        version = _output([*compiler, "--version"])
        about = (SOURCE.read_text(), version, platform.machine(), *compiler, *options)
        file = _folder() / f"kernels-{hashlib.sha256(repr(about).encode()).hexdigest()[:16]}.so"
        if not file.exists():
            _compile([*compiler, *options], file)
        return _typed(ctypes.CDLL(str(file)))
    except (OSError, subprocess.SubprocessError, AttributeError):
        return None


def _folder() -> Path:
    """Return the folder that compiled kernels are kept in, and make it."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnfpn"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _compile(command: list[str], file: Path) -> None:
    """Compile to a file that is whole or not there: other processes may do the same."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        made = Path(folder) / file.name
        _output([*command, str(SOURCE), "-o", str(made)])
        made.replace(file)


def _output(command: list[str]) -> str:
    timeout = LONGEST_COMPILATION_S
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=timeout).stdout


def _typed(loaded: ctypes.CDLL) -> ctypes.CDLL:
    loaded.mnfpn_scratch.restype = ctypes.c_long
    loaded.mnfpn_scratch.argtypes = [ctypes.c_void_p, ctypes.c_int]
    loaded.mnfpn_run.argtypes = [*[ctypes.c_void_p] * 4, ctypes.c_int]
    return loaded
