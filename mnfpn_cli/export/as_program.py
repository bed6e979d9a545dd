"""torch.export: the graph with its weights, for `torch.export.load`, ExecuTorch and AOTInductor."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch

from mnfpn_cli.export.metadata import VERSION_KEY, metadata
from mnfpn_cli.export.opened import Opened
from mnfpn_cli.export.trace import trace
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.weights.header import SETTINGS_KEY

FILES = {SETTINGS_KEY: "mnfpn_settings.json", VERSION_KEY: "mnfpn_version.txt"}
"""The files in the archive that hold the metadata; `torch.export.load` gives them as ``extra_files``."""


def write(network: Network, settings: NetworkSettings, input: NetworkInput, dynamic: bool) -> bytes:
    """The program, which takes ``images`` and returns a dictionary of outputs by name."""
    extra_files = {FILES[key]: text for key, text in metadata(settings).items()}
    buffer = BytesIO()
    torch.export.save(trace(network, settings, input, dynamic), buffer, extra_files=extra_files)
    return buffer.getvalue()


def read(path: Path, _settings: NetworkSettings) -> Opened:
    """The program of the file."""
    extra_files = dict.fromkeys(FILES.values(), "")
    with _quiet(logging.getLogger("torch.export")):
        program = torch.export.load(path, extra_files=extra_files)
    return Opened({key: extra_files[name] for key, name in FILES.items()}, program.module())


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep torch from writing the traceback of what it then raises anyway, and from warning of its buffers (2.12)."""
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable", UserWarning)
            yield
    finally:
        logger.disabled = before
