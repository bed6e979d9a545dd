"""The peak rates of a device, with a scripted clock: which products and copies are timed, and their rates."""

from collections.abc import Callable, Iterator

import pytest
import torch

from mnfpn_cli.devices.cpu import Cpu
from mnfpn_cli.devices.timers import Timer, Timing
from mnfpn_cli.measure import peaks
from mnfpn_cli.measure.peaks import measure_peaks
from mnfpn_cli.settings.input import DType

CPU = torch.device("cpu")
MIB = 2**20
COPY = [9.0, 0.5, 0.25, 0.5]
"""A first copy that warms up, and three that count."""


def scripted(seconds: Iterator[float]) -> Timer:
    """A timer that runs nothing and reads these times."""

    def timer(run: Callable[[], object]) -> Timing:
        return Timing(next(seconds))

    return timer


@pytest.fixture
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """8 MiB are free: an eighth of it for a matrix, a map, or a side of the copy."""
    monkeypatch.setattr(Cpu, "free_memory", lambda _: 8 * MIB)


SLOWER = [0.9, 4e-3, 4e-3, 4e-3]
"""A warm-up, and what counts of a convolution that is slower than the product before it, and does not end it."""


@pytest.mark.usefixtures("_memory")
def test_products_grow_until_one_takes_long_enough_and_the_best_rate_counts() -> None:
    """Warm-ups are not among them; a copy reads its bytes and writes them."""
    products = [0.9, 2e-3, 1e-3, 4e-3, *SLOWER, 0.9, 0.2, 0.1, 0.15, 0.9, 0.2, 0.2, 0.2]
    found = measure_peaks(CPU, "float32", scripted(iter([*products, *COPY])))
    assert found.macs_per_s == max(256**3 / 1e-3, 512**3 / 0.1)
    assert found.bytes_per_s == 2 * MIB / 0.25


@pytest.mark.usefixtures("_memory")
def test_a_convolution_may_be_faster_than_a_product() -> None:
    """Then its rate is the peak, of as many MACs; the slower of both ends it."""
    works = [0.9, 0.2, 0.1, 0.15, 0.9, 5e-2, 4e-2, 6e-2]
    assert measure_peaks(CPU, "float32", scripted(iter([*works, *COPY]))).macs_per_s == 256**3 / 4e-2


@pytest.mark.parametrize("side", peaks.SIDES)
def test_a_convolution_has_the_macs_of_the_product(side: int) -> None:
    """Exactly: both rates are of the same number."""
    output = peaks.CHANNELS * peaks.ROWS * peaks._columns(side)
    assert output * peaks.CHANNELS * peaks.KERNEL**2 == side**3


def test_a_gpu_multiplies_matrices_alone() -> None:
    """Its library may choose another algorithm for a convolution."""
    assert len(list(peaks._works(torch.device("meta"), torch.float32, 256))) == 1


@pytest.mark.usefixtures("_memory")
def test_a_dtype_without_arithmetic_is_timed_once() -> None:
    """The smallest product is enough, and enough once; the CPU can compute it in float32, here in no more time."""
    found = measure_peaks(CPU, "bfloat16", scripted(iter([1.5, 1.4, 1.3, 1.0, *COPY])))
    assert found.macs_per_s == 256**3 / 1.0


@pytest.mark.usefixtures("_memory")
def test_a_dtype_with_arithmetic_has_a_peak_of_its_own() -> None:
    """Above float32's."""
    found = measure_peaks(CPU, "bfloat16", scripted(iter([0.2, 0.1, 0.1, 0.1, 1.5, 1.0, 1.0, *COPY])))
    assert found.macs_per_s == 256**3 / 0.1


@pytest.mark.usefixtures("_memory")
def test_matrices_fit_the_memory() -> None:
    """However fast the device is: 1024² elements are more than 1 MiB."""
    found = measure_peaks(CPU, "float32", scripted(iter([1e-4] * 16 + COPY)))
    assert found.macs_per_s == 512**3 / 1e-4


def test_the_largest_product_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device for which none takes long."""
    monkeypatch.setattr(peaks, "SIDES", (256, 512))
    monkeypatch.setattr(peaks, "COPY_BYTES_ELSEWHERE", 64)
    found = measure_peaks(CPU, "float32", scripted(iter([1e-6] * 16 + COPY)))
    assert found.macs_per_s == 512**3 / 1e-6
    assert found.bytes_per_s == 2 * 64 / 0.25


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_timed_is_in_the_dtype_and_a_copy(monkeypatch: pytest.MonkeyPatch, dtype: DType) -> None:
    """In inference mode; the source of the copy is not zeros, whose pages would not be read."""
    monkeypatch.setattr(peaks, "SIDES", (256,))
    monkeypatch.setattr(peaks, "COPY_BYTES_ELSEWHERE", 64)
    results = []

    def timer(run: Callable[[], object]) -> Timing:
        results.append(run())
        return Timing(0.5)

    assert measure_peaks(CPU, dtype, timer).macs_per_s == 256**3 / 0.5
    product, convolution, copy = (
        results[0],
        results[1 + peaks.REPEATS],
        results[-1],
    )  # sorted by name, float32 comes last
    assert isinstance(product, torch.Tensor)
    assert isinstance(convolution, torch.Tensor)
    assert isinstance(copy, torch.Tensor)
    assert (product.dtype, product.shape, product.is_inference()) == (getattr(torch, dtype), (256, 256), True)
    assert (convolution.dtype, convolution.shape) == (product.dtype, (1, peaks.CHANNELS, peaks.ROWS, 4))
    assert (copy.nbytes, int(copy.min())) == (64, 1)


@pytest.mark.usefixtures("_memory")
def test_products_have_the_arithmetic_of_convolutions_and_the_switch_is_put_back() -> None:
    """TF32, where convolutions in float32 have it; also where a product fails."""
    seen = []

    def timer(run: Callable[[], object]) -> Timing:
        seen.append(torch.backends.cuda.matmul.allow_tf32)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        measure_peaks(CPU, "float32", timer)
    assert seen == [torch.backends.cudnn.allow_tf32]
    assert not torch.backends.cuda.matmul.allow_tf32
