"""Images in, as files and as inputs of a network; and pictures out, with boxes drawn on them. Needs Pillow."""

import colorsys
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as torch's documentation names it
from torch import Tensor

from mnfpn_cli.documents.detect import DetectedBox
from mnfpn_cli.errors import MnfpnError, Problem, UsageError
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import Size
from mnfpn_cli.text import first_line

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB"}
"""The modes of Pillow that have as many channels as a network takes."""

GOLDEN = 0.618033988749895
"""The step from one label's hue to the next: no two of few labels are alike (Knuth, volume 3, section 6.4)."""


def import_pillow() -> None:
    """Import Pillow.

    Raises:
        MnfpnError: where it is not installed.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        needs = "images need Pillow, which is not installed: pip install 'mnfpn[detect]'"
        raise MnfpnError(Problem(rule=needs)) from None


def check_images(files: Sequence[Path], channels: int) -> None:
    """Check that files are images that a network of so many channels takes: each is decoded whole.

    Raises:
        UsageError: where one is none, or the network takes no images of files; it names all that are not.
        MnfpnError: where one cannot be read.
    """
    if channels not in MODES:
        raise UsageError(Problem("in_channels", "must be 1 or 3 to take image files", str(channels)))
    problems = list[Problem]()
    for file in files:
        try:
            read_image(file, channels)
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(*problems)


def read_image(file: Path, channels: int, least_side: int | None = None) -> "Image.Image":
    """Return an image upright, as its camera says, in grey or in colour.

    Args:
        file: the image.
        channels: 1 for grey, 3 for colour.
        least_side: where given, an image is shrunk by a whole number, as far as no side becomes shorter than this: it
            takes less time to scale, and a JPEG to decode.

    Raises:
        UsageError: where the file is no image of 8 bits a channel.
        MnfpnError: where it cannot be read.
    """
    from PIL import Image, ImageOps

    with _failure_explained(file), file.open("rb") as stream, Image.open(stream) as opened:
        if opened.mode.startswith(("I", "F")):
            raise UsageError(Problem(str(file), "must be an image of 8 bits a channel", f"Pillow's mode {opened.mode}"))
        if least_side is not None:
            opened.draft(None, (least_side, least_side))  # decodes a JPEG at a half, a quarter or an eighth
        image = ImageOps.exif_transpose(opened).convert(MODES[channels])
        return image if least_side is None else image.reduce(max(1, min(image.size) // least_side))


@contextmanager
def _failure_explained(file: Path) -> Iterator[None]:
    """Turn errors of Pillow, which depend on the format and what is wrong with the file, into ours.

    Raises:
        UsageError: where the file is no image, or a damaged one.
        MnfpnError: where it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except MnfpnError:
        raise
    except UnidentifiedImageError:
        raise UsageError(
            Problem(str(file), "must be an image, as PNG or JPEG, but Pillow knows no such format")
        ) from None
    except Image.DecompressionBombError as error:
        raise UsageError(Problem(str(file), f"must be an image of fewer pixels: {first_line(error)}")) from None
    except IsADirectoryError:
        raise UsageError(Problem(str(file), "must be a file, but it is a folder")) from None
    except FileNotFoundError:
        raise UsageError(Problem(str(file), "no such file")) from None
    except OSError as error:
        if error.errno is not None:
            raise MnfpnError(Problem(str(file), f"could not be read: {error.strerror}")) from None
        raise UsageError(Problem(str(file), f"must be an image, but it is damaged: {first_line(error)}")) from None
    except (SyntaxError, ValueError, EOFError) as error:  # as Pillow says that a PNG is broken
        raise UsageError(Problem(str(file), f"must be an image, but it is damaged: {first_line(error)}")) from None


def as_tensor(image: "Image.Image") -> Tensor:
    """Return the pixels (channels, h, w) of an image, 0 to 1."""
    pixels = torch.from_numpy(np.array(image))  # (h, w, channels) or (h, w)
    return pixels.view(image.height, image.width, -1).permute(2, 0, 1) / 255


def as_input(image: Tensor, preprocess: PreprocessSettings, size: Size, stretch: bool) -> Tensor:
    """Return the input (1, channels, height, width) of a network for an image (channels, h, w), as torchvision does.

    Args:
        image: its pixels, 0 to 1.
        preprocess: the mean and deviation of pixels.
        size: what to resize the image to.
        stretch: whether the image takes exactly this size; else it keeps its shape and is as large as fits into the
            size, upright or on its side.
    """
    mean, std = (image.new_tensor(values).view(-1, 1, 1) for values in (preprocess.mean, preprocess.std))
    target = size if stretch else fitting_size(Size(*image.shape[-2:]), size)
    x = ((image - mean) / std)[None]  # (1, channels, h, w)
    return F.interpolate(x, size=tuple(target), mode="bilinear", align_corners=False)


def fitting_size(image: Size, size: Size) -> Size:
    """Return the largest size of an image's shape whose shorter and longer side are no longer than those of a size."""
    scale = min(min(size) / min(image), max(size) / max(image))
    return Size(max(1, int(image.height * scale)), max(1, int(image.width * scale)))


def draw(image: "Image.Image", boxes: Sequence[DetectedBox]) -> bytes:
    """Return an image with boxes, labels and scores as PNG; the box with the highest score is on top."""
    from PIL import ImageDraw, ImageFont

    picture = image.convert("RGB")
    canvas, shorter = ImageDraw.Draw(picture), min(image.size)
    line, font = max(2, shorter // 160), ImageFont.load_default(size=max(10, shorter // 30))
    for box in reversed(boxes):
        text, colour = f"{box.label}  {100 * box.score:.0f} %", _colour(box.label)
        canvas.rectangle((box.left, box.top, box.right, box.bottom), outline=colour, width=line)
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        x = max(0, min(box.left, image.width - width))
        y = box.top - height if box.top >= height else box.top  # in the box where there is no room above
        canvas.rectangle((x, y, x + width, y + height), fill=colour)
        canvas.text((x + line - left, y + line - top), text, fill=_readable_on(colour), font=font)
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()


Colour = tuple[int, int, int]


def _colour(label: int) -> Colour:
    """Return the colour of a label."""
    red, green, blue = colorsys.hls_to_rgb(label * GOLDEN % 1, 0.55, 0.9)
    return round(255 * red), round(255 * green), round(255 * blue)


def _readable_on(colour: Colour) -> Colour:
    """Return black or white, whichever text is easier to read in (ITU-R BT.601's luma)."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
