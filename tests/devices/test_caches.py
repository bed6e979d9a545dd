"""Caches: their sizes are read, and clearing one writes more than it holds."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.device import CLEARING_FACTOR, UNKNOWN_CACHE

CPU = torch.device("cpu")


def folder_of(path: Path, *sizes: str) -> Path:
    """What Linux writes about the caches of a CPU."""
    for index, size in enumerate(sizes):
        (path / f"index{index}").mkdir()
        (path / f"index{index}" / "size").write_text(f"{size}\n")
    return path


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        (("32K", "32K", "1024K", "36608K"), 36608 * 2**10),
        (("48K", "2M"), 2 * 2**20),
        (("1G", "512K"), 2**30),
        (("4096",), 4096),
    ],
    ids=["three levels", "mebibytes", "gibibytes", "bytes"],
)
def test_the_last_cache_of_a_cpu_is_the_largest_that_the_system_names(
    tmp_path: Path, sizes: tuple[str, ...], largest: int
) -> None:
    """Whatever its level and its unit."""
    assert Cpu(CPU).cache_bytes(folder_of(tmp_path, *sizes)) == largest


def test_where_the_system_names_no_cache_a_large_one_is_assumed(tmp_path: Path) -> None:
    """As on macOS, and on devices that do not report it."""
    assert Cpu(CPU).cache_bytes(tmp_path / "none") == UNKNOWN_CACHE
    assert device_of(torch.device("mps")).cache_bytes() == UNKNOWN_CACHE


def test_a_gpus_last_cache_is_what_its_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the device that was asked for; some drivers say 0, which means that they do not know."""
    sizes = {"cuda:0": 0, "cuda:1": 50 * 2**20}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=sizes[str(device)])
    )
    assert device_of(torch.device("cuda:1")).cache_bytes() == 50 * 2**20
    assert device_of(torch.device("cuda:0")).cache_bytes() == UNKNOWN_CACHE


def test_clearing_writes_more_than_the_cache_holds_and_the_same_memory_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Newly allocated memory would cost page faults, and might never be written."""
    monkeypatch.setattr(Cpu, "cache_bytes", lambda _: 4096)
    clear = Cpu(CPU).cache_clearer()
    first, second = clear(), clear()
    assert isinstance(first, torch.Tensor)
    assert isinstance(second, torch.Tensor)
    assert first.data_ptr() == second.data_ptr()
    assert first.nbytes == CLEARING_FACTOR * 4096 > 4096
    first.fill_(7)
    clear()
    assert first.count_nonzero() == 0
