"""What every test can ask for."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import settings

from mnfpn_cli.cli.main import run

settings.register_profile("mnfpn", deadline=None, max_examples=int(os.environ.get("MNFPN_EXAMPLES", "60")))
settings.load_profile("mnfpn")

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
    "int sampling_ratio, bool aligned) -> Tensor",
)
"""The operators that torchvision's import asks for."""

KEPT: list[torch.library.Library] = []
"""What a library declares goes when it does."""


def import_torchvision() -> None:
    """Let torchvision be imported beside a torch without CUDA.

    torchvision's wheel is built against torch's with CUDA. Elsewhere its library does not load, and its import fails
    on operators that nothing has declared. Their schemas are enough for all that runs none of them: models, pyramids,
    and detectors in training that propose no regions.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:  # what needs it says so itself
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for schema in SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        KEPT.append(library)


def pytest_configure(config: pytest.Config) -> None:
    """Make torchvision importable for all tests."""
    import_torchvision()


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


Mnfpn = Callable[..., Outcome]


@pytest.fixture
def mnfpn(capsys: pytest.CaptureFixture[str]) -> Mnfpn:
    """Run the command line in this process."""

    def call(*arguments: str) -> Outcome:
        code = run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def mnfpn_process() -> Mnfpn:
    """Run the command line in a process of its own, through pipes."""

    def call(*arguments: str, input: str | None = None) -> Outcome:
        command = [sys.executable, "-m", "mnfpn_cli", *arguments]
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=120, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """Small maps on one thread: where cores are shared, torch's threads wait for each other, a minute at worst."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
