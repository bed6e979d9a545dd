"""Jobs that these tests give to runtimes, and processes that Ctrl-C ends."""

import subprocess
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from mnfpn_cli.network.network import build_network
from mnfpn_cli.runtimes.runtime import Job, as_tensors
from mnfpn_cli.settings.input import DType
from mnfpn_cli.settings.network import NetworkSettings

CPU = torch.device("cpu")
TINY = NetworkSettings.model_validate({"stages": [(1, 8, 1, 2)], "pyramid": {"channels": 8, "levels": ["p2"]}})


def job(
    settings: NetworkSettings = TINY,
    shape: tuple[int, int, int, int] = (2, 3, 32, 48),
    dtype: DType = "float32",
    train: bool = False,
    device: torch.device = CPU,
) -> Job:
    """A job on the same network and the same inputs every time, both made anew."""
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return Job(build_network(settings), True, (images,), device, dtype, train)


def expected(settings: NetworkSettings = TINY, shape: tuple[int, int, int, int] = (2, 3, 32, 48)) -> Sequence[Tensor]:
    """The outputs of such a job in eager float32."""
    same = job(settings, shape)
    with torch.inference_mode():
        return as_tensors(same.network(*same.inputs))


INTERRUPTED = """
gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def check_interrupted(program: str) -> None:
    """Check that Ctrl-C after a program is an exception of Python, not a crash."""
    whole = f"import faulthandler, gc, signal\nfaulthandler.enable()\n{program}{INTERRUPTED}"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr
