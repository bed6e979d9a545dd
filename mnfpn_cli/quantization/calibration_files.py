"""Files to calibrate with: the images of a folder, and the arrays of an ``.npz``, checked without torch."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NoReturn

import numpy as np

from mnfpn_cli.errors import MnfpnError, Problem, UsageError, within
from mnfpn_cli.external.origin import Inputs, describe_inputs, specs_of
from mnfpn_cli.external.target import InputSpec
from mnfpn_cli.files import is_device
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.quantization import QuantizationCase, image_scaling
from mnfpn_cli.text import few, first_line

WHERE = "`calibration`"

SUFFIXES = frozenset(
    {
        *(".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pbm", ".pgm", ".png", ".pnm", ".ppm", ".qoi", ".tga", ".tif", ".tiff", ".webp"),
    }
)
"""The suffixes of images that Pillow reads; files with others, as a text or the labels of a data set, are skipped."""

IMAGE_CHANNELS = (1, 3)
"""The channels of a network that takes image files."""

BROKEN = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, NotImplementedError, RuntimeError)
"""What numpy and zipfile raise where an ``.npz`` is none, is damaged, has a password, or holds pickles."""


def check_calibration(case: QuantizationCase, scaling: PreprocessSettings | None, inputs: Inputs) -> None:
    """Check, before a network is built, what can be checked without reading whole files.

    Args:
        case: names the folder or the ``.npz``, and the mean and deviation of images.
        scaling: the mean and deviation that the settings of the network have; None where they have none.
        inputs: of a pass.

    Raises:
        UsageError: where the path is neither a folder with images nor an ``.npz``, or does not fit the inputs.
        MnfpnError: where it cannot be read.
    """
    images = as_images(inputs)
    if images is not None:
        image_scaling(case, scaling, images.channels)
    else:
        _refuse_scaling(case, inputs)
    if case.calibration is None:
        return
    if case.calibration.is_dir():
        check_takes_images(case.calibration, inputs)
        find_images(case.calibration)
    else:
        check_arrays(case.calibration, specs_of(inputs))


def as_images(inputs: Inputs) -> NetworkInput | None:
    """Return inputs as images: they are, or are one tensor of floating-point numbers with four sides; else None."""
    if isinstance(inputs, NetworkInput):
        return inputs
    shapes = [spec.shape for spec in inputs.specs]
    if len(shapes) > 1 or len(shapes[0]) != 4 or not _is_floating(inputs.specs[0]):
        return None
    batch, channels, height, width = shapes[0]
    return NetworkInput(batch, channels, Size(height, width))


def _is_floating(spec: InputSpec) -> bool:
    return spec.dtype is None or "float" in spec.dtype


def _refuse_scaling(case: QuantizationCase, inputs: Inputs) -> None:
    for name in ("mean", "std"):
        if getattr(case, name) is not None:
            raise UsageError(Problem(f"`{name}`", f"is for images, but the network takes {describe_inputs(inputs)}"))


def check_takes_images(folder: Path, inputs: Inputs) -> NetworkInput:
    """Return inputs as images, where image files can be made one.

    Raises:
        UsageError: where the network takes other tensors, or images of other channels.
    """
    images = as_images(inputs)
    if images is None:
        rule = f"must be an .npz for a network that takes {describe_inputs(inputs)}"
        raise UsageError(Problem(WHERE, rule, f"the folder '{folder}'"))
    if images.channels not in IMAGE_CHANNELS:
        rule = f"must be an .npz for a network of {images.channels} channels, as images have 1 or 3"
        raise UsageError(Problem(WHERE, rule, f"the folder '{folder}'"))
    return images


def find_images(folder: Path) -> list[Path]:
    """Return the images of a folder and of those below it, sorted; without hidden files and those of other suffixes.

    Raises:
        UsageError: where there are none.
        MnfpnError: where a folder cannot be read.
    """

    def fail(error: OSError) -> NoReturn:
        raise MnfpnError(Problem(WHERE, f"'{error.filename or folder}' could not be read: {error.strerror}"))

    found = list[Path]()
    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = [Path(root, name) for name in files if not name.startswith(".")]
        found += [file for file in here if file.suffix.lower() in SUFFIXES and not is_device(file)]
    if not found:
        raise UsageError(Problem(WHERE, "must be a folder with images, as PNG or JPEG", f"none in '{folder}'"))
    return sorted(found)


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What an array in an ``.npz`` says of itself.

    Attributes:
        name: its key.
        shape: its shape.
        dtype: its element type.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@contextmanager
def broken_explained(path: Path) -> Iterator[None]:
    """Turn errors of numpy and zipfile into ours.

    Raises:
        UsageError: where the file is no ``.npz``, or a damaged one.
        MnfpnError: where it cannot be read.
    """
    try:
        yield
    except MnfpnError:
        raise
    except FileNotFoundError:
        raise UsageError(Problem(WHERE, "no such file or folder", f"'{path}'")) from None
    except OSError as error:
        raise MnfpnError(Problem(WHERE, f"'{path}' could not be read: {error.strerror or first_line(error)}")) from None
    except BROKEN as error:
        rule = f"must be a folder of images, or an .npz as numpy.savez writes it: {first_line(error)}"
        raise UsageError(Problem(WHERE, rule, f"'{path}'")) from None


def read_headers(path: Path) -> list[ArrayHeader]:
    """Return the headers of the arrays in an ``.npz``, in their order; the arrays themselves are not read.

    Raises:
        UsageError: where the file is no ``.npz``, or a damaged one.
        MnfpnError: where it cannot be read.
    """
    headers = list[ArrayHeader]()
    with broken_explained(path), zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as stream:
                version = np.lib.format.read_magic(stream)
                one, two = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
                shape, _, dtype = (one if version == (1, 0) else two)(stream)
            if not dtype.hasobject and prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{member.filename} is cut off")
            headers.append(ArrayHeader(member.filename.removesuffix(".npy"), shape, dtype))
    return headers


def check_arrays(path: Path, specs: Sequence[InputSpec]) -> list[ArrayHeader]:
    """Check that an ``.npz`` has an array for each input: any number of them in a row, one after the other.

    Raises:
        UsageError: where the file is no ``.npz``, or an array is of another shape or element type.
        MnfpnError: where it cannot be read.
    """
    headers = read_headers(path)
    with within(WHERE):
        if len({spec.shape[0] for spec in specs}) > 1:
            rule = "is for a network whose inputs all have the batch first"
            raise UsageError(Problem(str(path), rule, ", ".join(map(str, specs))))
        if len(headers) != len(specs):
            rule = f"must have an array for each input of the network, {len(specs)}"
            got = f"{len(headers)}: {few([header.name for header in headers])}" if headers else "none"
            raise UsageError(Problem(str(path), rule, got))
        for header, spec in zip(headers, specs, strict=True):
            _check_array(f"{path}: {header.name}", header, spec)
        lengths = {header.shape[0] for header in headers}
        if len(lengths) > 1:
            got = ", ".join(f"{header.name} of {header.shape[0]}" for header in headers)
            raise UsageError(Problem(str(path), "must have arrays of equal length", got))
    return headers


def _check_array(where: str, header: ArrayHeader, spec: InputSpec) -> None:
    dtype = np.dtype(np.float32) if _is_floating(spec) else np.dtype(spec.dtype)
    if header.dtype != dtype:
        pickled = " (pickled objects)" if header.dtype.hasobject else ""
        raise UsageError(Problem(where, f"must be of {dtype}", f"{header.dtype}{pickled}"))
    shape, expected = header.shape, spec.shape[1:]
    if len(shape) != len(expected) + 1 or shape[1:] != expected or shape[0] < 1:
        rule = f"must be of shape {'×'.join(map(str, ('n', *expected)))}, with n 1 or more"
        raise UsageError(Problem(where, rule, "×".join(map(str, shape)) or "a number"))


def read_arrays(path: Path, specs: Sequence[InputSpec]) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Return the arrays of an ``.npz`` that are the inputs of a network.

    Raises:
        UsageError: as `check_arrays`; or where a value is not finite.
        MnfpnError: where it cannot be read.
    """
    headers = check_arrays(path, specs)
    with broken_explained(path), np.load(path, allow_pickle=False) as archive:
        arrays = [archive[header.name] for header in headers]
    for header, array in zip(headers, arrays, strict=True):
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            first = int(np.flatnonzero(~finite)[0])
            problem = Problem(f"{path}: {header.name}", "must be finite", f"a value that is not, in [{first}]")
            raise UsageError(problem).within(WHERE)
    return arrays
