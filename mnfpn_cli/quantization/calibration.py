"""Inputs to calibrate with and to judge by: images of a folder, arrays of an ``.npz``, or random ones.

A pass holds as many images as a batch of the run; where images run out, the first ones fill the last pass up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import torch
from torch import Tensor

from mnfpn_cli.detection.images import as_input, as_tensor, import_pillow, read_image
from mnfpn_cli.errors import within
from mnfpn_cli.external.origin import Inputs, TensorInputs, specs_of
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.quantization.calibration_files import WHERE, as_images, check_takes_images, find_images, read_arrays
from mnfpn_cli.quantization.quantization import Passes
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import NetworkInput
from mnfpn_cli.settings.quantization import QuantizationCase, image_scaling
from mnfpn_cli.text import ReportProgress, counted

MOST_CALIBRATING, MOST_JUDGING = 128, 32
"""The most images that calibrate, and that quality is judged by, where a folder has more."""

HELD_OUT = 4
"""Of so many images, in sorted order, the last judges and does not calibrate."""

RANDOM_CALIBRATING, RANDOM_JUDGING = 8, 4
"""The random images that calibrate, and that judge."""

MOST_BYTES = 2**29
"""The most bytes of the images that calibrate, and of those that judge: they are decoded once, for all runtimes."""


@dataclass(frozen=True)
class CalibrationInputs:
    """Inputs of passes on the CPU, in the shapes of the run: floating-point ones in float32.

    Attributes:
        calibrate: the passes that calibrate.
        judge: the passes whose outputs are compared with those of eager float32.
        calibrated_on: the distinct images of the former.
        judged_on: the distinct images of the latter.
        source: where the images are from, and how many of them do what.
        real: whether they are of a folder or a file; random ones do not tell what a network loses.
        scaling: the mean and deviation by which images became inputs; None where the inputs were given as they are.
    """

    calibrate: Passes
    judge: Passes
    calibrated_on: int
    judged_on: int
    source: str
    real: bool
    scaling: PreprocessSettings | None = None

    def judged(self) -> Iterator[tuple[tuple[Tensor, ...], int]]:
        """Yield the inputs of each pass that judges, and how many of its images, the first ones, no other pass has."""
        left = self.judged_on
        for inputs in self.judge:
            images = min(left, len(inputs[0]))
            left -= images
            yield inputs, images


def calibration_inputs(
    case: QuantizationCase,
    scaling: PreprocessSettings | None,
    inputs: Inputs,
    progress: ReportProgress,
    most_calibrating: int = MOST_CALIBRATING,
    most_judging: int = MOST_JUDGING,
) -> CalibrationInputs:
    """Read the inputs that a case names, or make random ones, which are the same in every call.

    Args:
        case: names a folder or an ``.npz``, and may give the mean and deviation of images.
        scaling: the mean and deviation that the settings of the network have; None where they have none.
        inputs: of a pass.
        progress: is called with what is being done and the share of it that is done.
        most_calibrating: images that calibrate at most; 0 where nothing is quantised.
        most_judging: images to judge by at most; fewer where the outputs of so many do not fit the memory.

    Raises:
        UsageError: where a file is not what it should be, or does not fit the network.
        MnfpnError: where a file cannot be read, or Pillow is not installed.
    """
    most = (most_calibrating, most_judging)
    if case.calibration is None:
        return _random(case, scaling, inputs, most)
    if not case.calibration.is_dir():
        return _of_arrays(case.calibration, specs_of(inputs), progress, most)
    images = check_takes_images(case.calibration, inputs)
    return _of_folder(case.calibration, images, image_scaling(case, scaling, images.channels), progress, most)


def _of_folder(
    folder: Path, images: NetworkInput, scaling: PreprocessSettings, progress: ReportProgress, most: tuple[int, int]
) -> CalibrationInputs:
    import_pillow()
    files = find_images(folder)

    def read(index: int) -> tuple[Tensor, ...]:
        with within(WHERE):
            image = read_image(files[index], images.channels, max(images.size))
        return (as_input(as_tensor(image), scaling, images.size, stretch=True),)  # (1, channels, h, w)

    specs = (InputSpec(images.shape),)
    return _read(str(folder), len(files), specs, read, progress, most, scaling)


def _of_arrays(
    path: Path, specs: Sequence[InputSpec], progress: ReportProgress, most: tuple[int, int]
) -> CalibrationInputs:
    progress(f"reading {path.name}", 0.0)
    arrays = [torch.from_numpy(array) for array in read_arrays(path, specs)]
    return _read(
        str(path), len(arrays[0]), specs, lambda index: tuple(array[index, None] for array in arrays), progress, most
    )


def _read(
    name: str,
    count: int,
    specs: Sequence[InputSpec],
    read: Callable[[int], tuple[Tensor, ...]],
    progress: ReportProgress,
    most: tuple[int, int],
    scaling: PreprocessSettings | None = None,
) -> CalibrationInputs:
    """Read the images that calibrate and those that judge, out of so many; ``read`` returns the inputs of one."""
    batch = specs[0].shape[0]
    fitting = max(batch, MOST_BYTES * batch // (4 * sum(prod(spec.shape) for spec in specs)))
    split = split_images(count, *(min(one, fitting) for one in most))
    chosen = dict.fromkeys((*split.calibrate, *split.judge))
    rows = dict[int, tuple[Tensor, ...]]()
    for index in chosen:
        progress(f"reading {name}", len(rows) / len(chosen))
        rows[index] = read(index)
    source = f"{name}: {split.words(count, 'image' if scaling else 'input')}"
    return CalibrationInputs(
        _passes([rows[index] for index in split.calibrate], batch),
        _passes([rows[index] for index in split.judge], batch),
        len(split.calibrate),
        len(split.judge),
        source.replace("`", "'"),  # backquotes mark parameters
        real=True,
        scaling=scaling,
    )


@dataclass(frozen=True, slots=True)
class ImageSplit:
    """Which images calibrate, and which judge, by their indices.

    Attributes:
        calibrate: those that calibrate.
        judge: those that judge.
        held_out: whether no image does both.
    """

    calibrate: tuple[int, ...]
    judge: tuple[int, ...]
    held_out: bool

    def words(self, count: int, noun: str) -> str:
        """Return how many of so many images, or inputs, do what, in words."""
        all_ = counted(count, noun)
        if not self.calibrate:
            return f"{all_}, {len(self.judge)} to judge by"
        if self.held_out:
            return f"{all_}, {len(self.calibrate)} to calibrate and {counted(len(self.judge), 'other')} to judge by"
        return f"{all_}, the same to calibrate and to judge by, as they are fewer than {HELD_OUT}"


def split_images(count: int, most_calibrating: int, most_judging: int) -> ImageSplit:
    """Split images: every fourth judges, the others calibrate; of fewer than four, all do both.

    At most so many calibrate and judge; these are spread evenly.
    """
    every = range(count)
    held_out = count >= HELD_OUT
    judge = [index for index in every if not held_out or index % HELD_OUT == HELD_OUT - 1]
    calibrate = [index for index in every if not held_out or index % HELD_OUT != HELD_OUT - 1]
    return ImageSplit(_spread(calibrate, most_calibrating), _spread(judge, most_judging), held_out)


def _spread(indices: Sequence[int], most: int) -> tuple[int, ...]:
    """Return at most so many of the indices, evenly spread."""
    number = min(most, len(indices))
    return tuple(indices[rank * len(indices) // number] for rank in range(number))


def _passes(rows: Sequence[tuple[Tensor, ...]], batch: int) -> Passes:
    """Return passes of ``batch`` rows each, of which every tensor is (1, …); the first rows fill the last pass up."""
    starts = range(0, len(rows), batch)
    groups = [[rows[index % len(rows)] for index in range(start, start + batch)] for start in starts]
    return [tuple(map(torch.cat, zip(*group, strict=True))) for group in groups]


def _random(
    case: QuantizationCase, scaling: PreprocessSettings | None, inputs: Inputs, most: tuple[int, int]
) -> CalibrationInputs:
    """Return passes on random images, all of them different; or on the tensors that were given, which are all equal."""
    generator, images = torch.Generator().manual_seed(0), as_images(inputs)
    given = isinstance(inputs, TensorInputs) and any(spec.value is not None for spec in inputs.specs)
    used = image_scaling(case, scaling, images.channels) if images is not None and not given else None

    def random_pass() -> tuple[Tensor, ...]:
        if images is None or used is None:
            return tuple(_tensor(spec, generator) for spec in specs_of(inputs))
        pixels = torch.rand(images.shape, generator=generator)
        return (torch.cat([as_input(image, used, images.size, stretch=True) for image in pixels]),)

    def passes(usual: int, most: int) -> Passes:
        number = min(1, most) if given else ceil(min(usual, most) / inputs.batch)
        return [random_pass() for _ in range(number)]

    calibrate, judge = passes(RANDOM_CALIBRATING, most[0]), passes(RANDOM_JUDGING, most[1])
    source = "the given tensors" if given else "random images" if images is not None else "random tensors"
    return CalibrationInputs(
        calibrate, judge, len(calibrate) * inputs.batch, len(judge) * inputs.batch, source, real=False, scaling=used
    )


def _tensor(spec: InputSpec, generator: torch.Generator) -> Tensor:
    """Return the tensor that was given, or random numbers; of integers zeros, which are valid indices of anything."""
    if spec.value is not None:
        value = spec.value.detach().to("cpu", copy=True)
        return value.float() if value.is_floating_point() else value
    dtype: torch.dtype = getattr(torch, spec.dtype) if spec.dtype else torch.float32
    if dtype.is_floating_point:
        return torch.rand(spec.shape, generator=generator)
    return torch.zeros(spec.shape, dtype=dtype)
