"""What a measurement was made on: hardware, libraries, time."""

import platform
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import psutil
import torch
from cpuinfo import get_cpu_info

from mnfpn_cli import __version__


@dataclass(frozen=True, slots=True)
class Environment:
    """The machine and the software of a measurement. What could not be read, or is not there, is None."""

    cpu: str
    cores: int | None
    memory_bytes: int
    gpu: str | None
    driver: str | None
    cuda: str | None
    torch: str
    python: str
    platform: str
    mnfpn: str
    date: str


@contextmanager
def reading_cpu_name() -> Iterator[Future[str]]:
    """Read the CPU's model name beside other work: py-cpuinfo asks a process of its own, which takes a second."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_cpu_name)


def read_environment(cpu: str) -> Environment:
    """Read everything but the CPU's name, which takes long and is read beside other work."""
    cuda = torch.cuda.is_available()
    return Environment(
        cpu=cpu,
        cores=psutil.cpu_count(logical=False),
        memory_bytes=psutil.virtual_memory().total,
        gpu=torch.cuda.get_device_name() if cuda else None,
        driver=_nvidia_driver() if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        torch=torch.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        mnfpn=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _cpu_name() -> str:
    name = get_cpu_info().get("brand_raw") or platform.processor() or platform.machine()
    return str(name)


def _nvidia_driver() -> str | None:
    """The version of the NVIDIA driver, which torch does not know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0] or None
