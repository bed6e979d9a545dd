"""The environment of a measurement: hardware, versions of libraries, date."""

import platform
from datetime import UTC, datetime

import psutil
import torch

from mnfpn_cli import __version__
from mnfpn_cli.devices.allocator import allocator_in_use
from mnfpn_cli.devices.cuda import Cuda, convolutions_use_tf32, driver_version
from mnfpn_cli.documents.records import EnvironmentRecord
from mnfpn_cli.settings.measuring import Allocator


def read_environment(cpu: str, allocator: Allocator | None = None) -> EnvironmentRecord:
    """Read the environment.

    Args:
        cpu: the name of the CPU, which takes a second, so `reading_cpu_name` reads it in the background.
        allocator: that of the runs; None for that of this process.
    """
    gpus = Cuda.find()
    cuda = bool(gpus)
    return EnvironmentRecord(
        cpu=cpu,
        cores=psutil.cpu_count(logical=False),
        memory_bytes=psutil.virtual_memory().total,
        gpu_name=Cuda(torch.device(gpus[0])).model() if cuda else None,
        driver=driver_version() if cuda else None,
        cuda=torch.version.cuda if cuda else None,
        tf32=convolutions_use_tf32() if cuda else None,
        torch=torch.__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        mnfpn=__version__,
        allocator=allocator or allocator_in_use(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
