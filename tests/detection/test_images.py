"""Images in: what they become as an input, and which files are none. Pictures out."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mnfpn_cli.detection.images import as_input, as_tensor, check_images, draw, fitting_size, import_pillow, read_image
from mnfpn_cli.documents.detect import DetectedBox
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import Size

pytest.importorskip("PIL")

from PIL import Image

SIZES = [Size(48, 64), Size(64, 48), Size(100, 33), Size(31, 190), Size(300, 407)]


def noise(size: Size) -> torch.Tensor:
    """An image (3, h, w) of random pixels."""
    return torch.rand(3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stretch", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_image_is_prepared_as_torchvisions_detectors_do(size: Size, stretch: bool) -> None:
    """Normalised and resized: stretched as SSD does, else with its shape kept; equal to the last digit."""
    transform = pytest.importorskip("torchvision.models.detection.transform")
    target, preprocess = Size(60, 90), PreprocessSettings()
    fixed: dict[str, Any] = {"fixed_size": (target.width, target.height)} if stretch else {}
    theirs = transform.GeneralizedRCNNTransform(
        *(min(target), max(target), list(preprocess.mean), list(preprocess.std)), size_divisible=1, **fixed
    ).eval()
    expected, _ = theirs([noise(size)])
    assert torch.equal(as_input(noise(size), preprocess, target, stretch), expected.tensors)


def test_a_fitted_image_keeps_its_shape_and_is_never_empty() -> None:
    """Upright or on its side: the shorter side and the longer side are those of the size, or shorter."""
    assert fitting_size(Size(480, 640), Size(600, 900)) == (600, 800)
    assert fitting_size(Size(640, 480), Size(600, 900)) == (800, 600)
    assert fitting_size(Size(1, 5000), Size(600, 900)) == (1, 900)


def saved(image: Image.Image, path: Path, **options: Any) -> Path:
    """The path of an image that was written."""
    image.save(path, **options)
    return path


def test_every_mode_becomes_the_channels_of_the_network(tmp_path: Path) -> None:
    """Grey, palette and transparent images in colour; colour in grey; pixels from 0 to 1."""
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK"):
        suffix = "tif" if mode == "CMYK" else "png"
        file = saved(Image.new(mode, (5, 3), 1 if mode == "1" else 0), tmp_path / f"{mode}.{suffix}")
        for channels in (1, 3):
            assert as_tensor(read_image(file, channels)).shape == (channels, 3, 5)
    white = as_tensor(read_image(saved(Image.new("RGB", (2, 2), "white"), tmp_path / "white.png"), 3))
    assert white.dtype == torch.float32
    assert set(white.flatten().tolist()) == {1.0}


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    """As its camera says in EXIF: boxes are in pixels of what a viewer shows."""
    image = Image.new("RGB", (40, 20))
    image.getexif()[0x0112] = 6
    file = saved(image, tmp_path / "turned.jpg", exif=image.getexif())
    assert read_image(file, 3).size == (20, 40)


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    """All of them are named: a text, an empty file, a damaged one, one of 16 bits a channel."""
    noisy = Image.effect_noise((64, 64), 100)
    damaged = {"png": tmp_path / "cut.png", "jpeg": tmp_path / "cut.jpg"}
    for form, file in damaged.items():
        content = io.BytesIO()
        noisy.save(content, form)
        file.write_bytes(content.getvalue()[: len(content.getvalue()) // 2])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    deep = saved(Image.new("I;16", (4, 4)), tmp_path / "deep.png")
    files = [tmp_path / "text.png", tmp_path / "empty.png", *damaged.values(), deep]
    with pytest.raises(UsageError) as raised:
        check_images([*files, saved(noisy, tmp_path / "good.png")], 3)
    lines = str(raised.value).split("\n")
    for line, file in zip(lines, files, strict=True):
        assert line.startswith(f"{file}: must be an image")
    assert lines[0].endswith("must be an image, as PNG or JPEG, but Pillow knows no such format")
    assert lines[2].split(": ")[1] == "must be an image, but it is damaged"
    assert lines[-1].endswith("must be an image of 8 bits a channel, got Pillow's mode I;16")


def test_a_file_that_cannot_be_read_is_another_error(tmp_path: Path) -> None:
    """Exit code 1, with the reason of the system; one that is not there, or a folder, is a wrong name, 2."""
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(MnfpnError, match=r"could not be read: Too many levels of symbolic links$") as raised:
        check_images([loop], 3)
    assert raised.value.exit_code == 1
    with pytest.raises(UsageError, match=r"none\.png: no such file$"):
        check_images([tmp_path / "none.png"], 3)
    with pytest.raises(UsageError, match=r"must be a file, but it is a folder$"):
        check_images([tmp_path], 3)


def test_a_network_of_four_channels_takes_no_image_files() -> None:
    """The message names the setting."""
    with pytest.raises(UsageError, match=r"^in_channels: must be 1 or 3 to take image files, got 4$"):
        check_images([], 4)


def test_without_pillow_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MnfpnError, match=r"^images need Pillow, .*: pip install 'mnfpn\[detect\]'$"):
        import_pillow()


def test_boxes_are_drawn_in_the_colour_of_their_label() -> None:
    """The sides of a box have it, the middle does not; a box at the border is drawn too, and its label stays inside."""
    corners = ((20.0, 30.0, 60.0, 70.0, 1), (90.0, 0.0, 99.0, 20.0, 2))
    boxes = [
        DetectedBox(label=label, score=0.9, left=left, top=top, right=right, bottom=bottom)
        for left, top, right, bottom, label in corners
    ]
    picture = Image.open(io.BytesIO(draw(Image.new("RGB", (100, 80)), boxes)))
    assert (picture.format, picture.size) == ("PNG", (100, 80))
    first, second = picture.getpixel((20, 69)), picture.getpixel((99, 20))
    assert picture.getpixel((60, 40)) == first != (0, 0, 0)
    assert picture.getpixel((40, 50)) == (0, 0, 0) != second != first
    assert any(picture.getpixel((x, 5)) == second for x in range(60, 90))
