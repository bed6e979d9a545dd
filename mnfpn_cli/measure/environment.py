"""What a measurement was made on: hardware, libraries, time."""

import platform
import subprocess
from datetime import UTC, datetime

import psutil
import torch

from mnfpn_cli import __version__
from mnfpn_cli.documents.measurement import EnvironmentRecord
from mnfpn_cli.measure.tf32 import convolutions_use_tf32


def read_environment(cpu: str) -> EnvironmentRecord:
    """Read everything but the CPU's name, which `reading_cpu_name` reads beside other work."""
    cuda = torch.cuda.is_available()
    return EnvironmentRecord(
        cpu=cpu,
        cores=psutil.cpu_count(logical=False),
        memory_bytes=psutil.virtual_memory().total,
        gpu=torch.cuda.get_device_name() if cuda else None,
        driver=_nvidia_driver() if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        tf32=convolutions_use_tf32() if cuda else None,
        torch=torch.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        mnfpn=__version__,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _nvidia_driver() -> str | None:
    """The version of the NVIDIA driver, which torch does not know."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip().partition("\n")[0] or None
