"""Inputs to calibrate with: which images do what, how they become inputs, and what is refused."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mnfpn_cli.api import settings as settings_of
from mnfpn_cli.detection.images import as_input, as_tensor, read_image
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.origin import Inputs, TensorInputs
from mnfpn_cli.external.target import InputSpec, parse_pass
from mnfpn_cli.quantization import calibration
from mnfpn_cli.quantization.calibration import CalibrationInputs, calibration_inputs, split_images
from mnfpn_cli.quantization.calibration_files import check_calibration, find_images
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.quantization import QuantizationCase, image_scaling

pytest.importorskip("PIL")

from PIL import Image

SMALL = Size(8, 12)
IMAGES = NetworkInput(1, 3, SMALL)
DETECTOR = settings_of(overrides={"head.kind": "ssd", "preprocess.mean": [0.5], "preprocess.std": [0.25]})


def photo(path: Path, grey: int, size: Size = SMALL) -> Path:
    """The path of an image of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size.width, size.height), (grey, grey, grey)).save(path)
    return path


def photos(folder: Path, count: int) -> Path:
    """A folder of images, each of its own grey, from 0 on."""
    for grey in range(count):
        photo(folder / f"{grey:03}.png", grey)
    return folder


def greys(passes: Sequence[tuple[torch.Tensor, ...]]) -> list[list[int]]:
    """The greys of the images of each pass, of inputs that were not scaled."""
    return [[round(255 * float(image.mean())) for image in inputs[0]] for inputs in passes]


def silent(_doing: str, _share: float) -> None:
    """No progress."""


def read(path: Path | None, inputs: Inputs = IMAGES, **more: Any) -> CalibrationInputs:
    """The inputs of a path, with pixels as they are."""
    images = isinstance(inputs, NetworkInput) and path is not None and path.is_dir()
    case = QuantizationCase(path, mean=(0.0,), std=(1.0,)) if images else QuantizationCase(path)
    return calibration_inputs(case, None, inputs, silent, **more)


def check(path: Path | None, inputs: Inputs = IMAGES) -> None:
    """Check a path as a command does before it builds a network."""
    check_calibration(QuantizationCase(path), None, inputs)


def arrays(path: Path, **values: Any) -> Path:
    """An .npz with these arrays."""
    np.savez(path, **values)
    return path


def rows(count: int, *sides: int, dtype: Any = np.float32) -> np.ndarray[Any, Any]:
    """An array whose every row is full of its number."""
    return np.broadcast_to(np.arange(count).reshape(-1, *(1 for _ in sides)), (count, *sides)).astype(dtype)


def test_every_fourth_image_judges_and_the_others_calibrate(tmp_path: Path) -> None:
    """In sorted order; what calibrates does not judge."""
    found = read(photos(tmp_path, 9))
    assert greys(found.calibrate) == [[0], [1], [2], [4], [5], [6], [8]]
    assert greys(found.judge) == [[3], [7]]
    assert (found.calibrated_on, found.judged_on, found.real) == (7, 2, True)
    assert found.source == f"{tmp_path}: 9 images, 7 to calibrate and 2 others to judge by"


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_than_four_images_do_both(tmp_path: Path, count: int) -> None:
    """The source says it."""
    found = read(photos(tmp_path, count))
    assert greys(found.calibrate) == greys(found.judge) == [[grey] for grey in range(count)]
    assert found.source.endswith(", the same to calibrate and to judge by, as they are fewer than 4")


def test_most_images_are_spread_evenly_over_the_folder(tmp_path: Path) -> None:
    """At most so many calibrate and judge; the source has how many there are."""
    found = read(photos(tmp_path, 40), most_calibrating=3, most_judging=2)
    assert greys(found.calibrate) == [[0], [13], [26]]
    assert greys(found.judge) == [[3], [23]]
    assert found.source == f"{tmp_path}: 40 images, 3 to calibrate and 2 others to judge by"
    assert len(split_images(1000, 128, 32).calibrate) == 128


def test_images_that_only_judge_are_the_same_ones(tmp_path: Path) -> None:
    """Where nothing is quantised, no other image is read."""
    found = read(photos(tmp_path, 9), most_calibrating=0)
    assert (greys(found.calibrate), found.calibrated_on, greys(found.judge)) == ([], 0, [[3], [7]])
    assert found.source == f"{tmp_path}: 9 images, 2 to judge by"


def test_the_images_of_a_set_are_limited_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were decoded stay in memory."""
    monkeypatch.setattr(calibration, "MOST_BYTES", 2 * 3 * 8 * 12 * 4)
    found = read(photos(tmp_path, 16))
    assert (found.calibrated_on, found.judged_on) == (2, 2)


def test_a_pass_holds_a_batch_and_the_first_images_fill_the_last_one_up(tmp_path: Path) -> None:
    """The images that only fill it up do not count."""
    found = read(photos(tmp_path, 8), replace(IMAGES, batch=4))
    assert greys(found.calibrate) == [[0, 1, 2, 4], [5, 6, 0, 1]]
    assert greys(found.judge) == [[3, 7, 3, 7]]
    assert [(len(inputs[0]), images) for inputs, images in found.judged()] == [(4, 2)]
    assert (found.calibrated_on, found.judged_on) == (6, 2)


def test_folders_are_searched_for_images_by_suffix(tmp_path: Path) -> None:
    """Folders of classes too; other files, hidden ones and hidden folders are left out."""
    expected = [photo(tmp_path / name, 1) for name in ("a.png", "b/c/d.JPG", "b/e.bmp", "f.jpeg")]
    photo(tmp_path / ".g.png", 1)
    photo(tmp_path / ".cache" / "h.png", 1)
    (tmp_path / "README.txt").write_text("no image")
    (tmp_path / "b" / "labels.csv").write_text("no image")
    assert find_images(tmp_path) == expected


def test_images_become_inputs_as_detect_makes_them(tmp_path: Path) -> None:
    """Stretched to the size, and scaled by the settings."""
    noisy = Image.effect_noise((30, 20), 100).convert("RGB")
    noisy.save(tmp_path / "a.png")
    scaling = PreprocessSettings(mean=(0.5,), std=(0.25,))
    found = calibration_inputs(QuantizationCase(tmp_path), DETECTOR.preprocess, IMAGES, silent)
    expected = as_input(as_tensor(noisy), scaling, IMAGES.size, stretch=True)
    assert torch.equal(found.judge[0][0], expected)
    assert found.scaling == scaling


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_large_image_is_shrunk_before_it_is_scaled(tmp_path: Path, name: str) -> None:
    """By a whole number, in every format alike; no side becomes shorter than asked for."""
    file = photo(tmp_path / name, 7, Size(160, 240))
    sizes = [read_image(file, 3, least).size for least in (None, 200, 160, 81, 80, 55, 40)]
    assert sizes == [(240, 160)] * 4 + [(120, 80)] * 2 + [(60, 40)]
    noisy = Image.effect_noise((240, 160), 100)
    noisy.save(file)
    assert np.asarray(read_image(file, 3, 40)).std() < np.asarray(read_image(file, 3)).std() / 2  # an average


def test_a_network_of_one_channel_takes_grey_images(tmp_path: Path) -> None:
    """Of its number of channels."""
    found = read(photos(tmp_path, 1), replace(IMAGES, channels=1))
    assert found.judge[0][0].shape == (1, 1, 8, 12)


def test_a_tensor_of_four_sides_is_an_image(tmp_path: Path) -> None:
    """As an external network takes it."""
    found = calibration_inputs(
        QuantizationCase(photos(tmp_path, 1)), None, TensorInputs(parse_pass("1x3x8x12")), silent
    )
    assert found.judge[0][0].shape == (1, 3, 8, 12)


def test_the_scaling_of_images_is_that_of_the_settings_else_of_the_case() -> None:
    """Else ImageNet's for three channels, and 0.5 for others."""
    case = QuantizationCase(mean=(0.1, 0.2, 0.3), std=(0.5,))
    assert image_scaling(QuantizationCase(), DETECTOR.preprocess, 3) == DETECTOR.preprocess
    assert image_scaling(case, None, 3) == PreprocessSettings(mean=(0.1, 0.2, 0.3), std=(0.5,))
    assert image_scaling(case, settings_of().preprocess, 3) == PreprocessSettings(mean=(0.1, 0.2, 0.3), std=(0.5,))
    assert image_scaling(QuantizationCase(), None, 3) == PreprocessSettings()
    assert image_scaling(QuantizationCase(), None, 1) == PreprocessSettings(mean=(0.5,), std=(0.5,))
    rule = r"^mean: cannot be used with a network whose settings have it: set preprocess\.mean$"
    with pytest.raises(UsageError, match=rule):
        image_scaling(case, DETECTOR.preprocess, 3)
    with pytest.raises(UsageError, match=r"^mean: must have one value, or one for each of 4 channels, got 3$"):
        image_scaling(case, None, 4)


def test_an_npz_has_an_array_for_each_input(tmp_path: Path) -> None:
    """In the order of its keys, split and put into batches as images are."""
    file = arrays(tmp_path / "a.npz", z=rows(5, 2, 3), a=rows(5, 4, dtype=np.int64))
    found = read(file, TensorInputs(parse_pass("2x2x3,2x4:int64")))
    assert [[tensor.dtype for tensor in one] for one in found.calibrate] == [[torch.float32, torch.int64]] * 2
    assert [one[1][:, 0].tolist() for one in found.calibrate] == [[0, 1], [2, 4]]
    assert [one[0][:, 0, 0].tolist() for one in found.judge] == [[3, 3]]
    assert [images for _, images in found.judged()] == [1]
    assert (found.source, found.scaling) == (f"{file}: 5 inputs, 4 to calibrate and 1 other to judge by", None)


def test_random_inputs_are_the_same_in_every_call_and_all_different() -> None:
    """Eight images calibrate, four others judge."""
    first, second = read(None), read(None)
    assert (first.calibrated_on, first.judged_on, first.real, first.source) == (8, 4, False, "random images")
    images = [one[0] for one in (*first.calibrate, *first.judge)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first.calibrate, second.calibrate, strict=True))
    assert len({float(image.sum()) for image in images}) == 12
    assert first.scaling == PreprocessSettings()
    assert -2.2 < min(float(image.min()) for image in images) < -1.5
    batches = read(None, replace(IMAGES, batch=16))
    assert (len(batches.calibrate), batches.calibrated_on, batches.judged_on) == (1, 16, 16)


def test_random_tensors_are_as_a_timed_pass_has_them() -> None:
    """From 0 to 1, and zeros of integers; those that were given stay as they are, once."""
    found = read(None, TensorInputs(parse_pass("1x5,1x4:int64")))
    assert (found.source, len(found.calibrate), len(found.judge)) == ("random tensors", 8, 4)
    numbers, indices = found.judge[0]
    assert 0 <= float(numbers.min()) <= float(numbers.max()) <= 1
    assert torch.equal(indices, torch.zeros(1, 4, dtype=torch.int64))
    value = torch.full((2, 3, 4, 4), 0.5, dtype=torch.float64)
    given = read(None, TensorInputs((InputSpec((2, 3, 4, 4), "float64", value),)))
    assert (given.source, given.real, len(given.calibrate), given.judged_on) == ("the given tensors", False, 1, 2)
    assert torch.equal(given.judge[0][0], value.float())


def test_what_is_no_folder_with_images_is_refused(tmp_path: Path) -> None:
    """Before a network is built."""
    with pytest.raises(UsageError, match=r"^calibration: no such file or folder, got '.*none'$"):
        check(tmp_path / "none")
    (tmp_path / "README.txt").write_text("no image")
    with pytest.raises(
        UsageError, match=r"^calibration: must be a folder with images, as PNG or JPEG, got none in '.*'$"
    ):
        check(tmp_path)
    for file in (photo(tmp_path / "a.png", 1), tmp_path / "README.txt"):
        rule = rf"^calibration: must be a folder of images, or an \.npz as numpy\.savez writes it: .*, got '{file}'$"
        with pytest.raises(UsageError, match=rule):
            check(file)


def test_a_broken_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    """It is not left out in silence."""
    photos(tmp_path, 2)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match=rf"^calibration: {tmp_path / 'broken.jpg'}: must be an image, .*"):
        read(tmp_path)
    (tmp_path / "broken.jpg").unlink()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(UsageError, match=r"^calibration: .*gone\.jpg: no such file$"):
        read(tmp_path)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also below the folder that was named: its images are not left out in silence."""
    photos(tmp_path / "a", 1)
    scan = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(MnfpnError, match=rf"^calibration: '{tmp_path / 'a'}' could not be read: Permission denied$"):
        check(tmp_path)


def test_a_network_of_other_inputs_takes_an_npz_alone(tmp_path: Path) -> None:
    """Images have one channel or three, and are no tensors of another shape."""
    photos(tmp_path, 1)
    rule = r"^calibration: must be an \.npz for a network of 4 channels, as images have 1 or 3, got the folder '.*'$"
    with pytest.raises(UsageError, match=rule):
        check(tmp_path, replace(IMAGES, channels=4))
    rule = r"^calibration: must be an \.npz for a network that takes 1×4 int64, got the folder '.*'$"
    with pytest.raises(UsageError, match=rule):
        check(tmp_path, TensorInputs(parse_pass("1x4:int64")))
    with pytest.raises(UsageError, match=r"^mean: is for images, but the network takes 1×4 int64$"):
        check_calibration(QuantizationCase(mean=(0.5,)), None, TensorInputs(parse_pass("1x4:int64")))


BAD_ARRAYS = [
    ({"x": rows(2, 3, 8, 13)}, r": x: must be of shape n×3×8×12, with n 1 or more, got 2×3×8×13$"),
    ({"x": rows(2, 8, 12, 3)}, r": x: must be of shape n×3×8×12, with n 1 or more, got 2×8×12×3$"),
    ({"x": rows(2, 4, 8, 12)}, r": x: must be of shape n×3×8×12, with n 1 or more, got 2×4×8×12$"),
    ({"x": rows(3, 8, 12)}, r": x: must be of shape n×3×8×12, with n 1 or more, got 3×8×12$"),
    ({"x": rows(0, 3, 8, 12)}, r": x: must be of shape n×3×8×12, with n 1 or more, got 0×3×8×12$"),
    ({"x": np.float32(1)}, r": x: must be of shape n×3×8×12, with n 1 or more, got a number$"),
    ({"x": rows(2, 3, 8, 12, dtype=np.uint8)}, r": x: must be of float32, got uint8$"),
    ({"x": rows(2, 3, 8, 12, dtype=np.float64)}, r": x: must be of float32, got float64$"),
    ({"x": np.array([{}], dtype=object)}, r": x: must be of float32, got object \(pickled objects\)$"),
    ({"x": rows(2, 3, 8, 12), "y": rows(2, 3)}, r": must have an array for each input of the network, 1, got 2: x, y$"),
    ({}, r": must have an array for each input of the network, 1, got none$"),
]


@pytest.mark.parametrize(("values", "message"), BAD_ARRAYS, ids=[message for _, message in BAD_ARRAYS])
def test_an_npz_of_other_arrays_is_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    """With the file, the array, the rule and what it is; none of it is read or unpickled."""
    file = arrays(tmp_path / "a.npz", **values)
    with pytest.raises(UsageError, match=rf"^calibration: {file}{message}"):
        check(file)


def test_arrays_of_an_npz_belong_together(tmp_path: Path) -> None:
    """They have equal lengths, and the inputs of the network one batch."""
    file = arrays(tmp_path / "a.npz", x=rows(3, 2), y=rows(4, 2))
    with pytest.raises(UsageError, match=r": must have arrays of equal length, got x of 3, y of 4$"):
        check(file, TensorInputs(parse_pass("1x2,1x2")))
    with pytest.raises(UsageError, match=r": is for a network whose inputs all have the batch first, got 1×2, 5×2$"):
        check(file, TensorInputs(parse_pass("1x2,5x2")))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_npz_holds_finite_numbers(tmp_path: Path, value: float) -> None:
    """One that is not would spoil every range that is calibrated."""
    values = rows(3, 3, 8, 12)
    values[1, 0, 0, 0] = value
    with pytest.raises(UsageError, match=r": x: must be finite, got a value that is not, in \[1\]$"):
        read(arrays(tmp_path / "a.npz", x=values))


def test_a_damaged_npz_is_refused(tmp_path: Path) -> None:
    """Cut off, a pickle, another archive, or one whose header says more than there is."""
    whole = arrays(tmp_path / "whole.npz", x=rows(3, 3, 8, 12)).read_bytes()
    contents = {"cut": whole[: len(whole) // 2], "pickle": pickle.dumps({"x": 1}), "empty": b""}
    contents["array"] = contents["flipped"] = whole
    for name, content in contents.items():
        file = tmp_path / f"{name}.npz"
        file.write_bytes(content)
        if name == "array":
            with file.open("wb") as stream:
                np.save(stream, rows(3, 3, 8, 12))
        if name == "flipped":
            changed = bytearray(whole)
            changed[len(whole) // 2] ^= 0xFF
            file.write_bytes(changed)
        with pytest.raises(UsageError, match=r"^calibration: must be a folder of images, or an \.npz .*, got '.*'$"):
            read(file)


def test_progress_names_what_is_read_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    """Shares rise from 0, one step an image."""
    seen = list[tuple[str, float]]()
    case = QuantizationCase(photos(tmp_path, 4))
    calibration_inputs(case, None, IMAGES, lambda doing, share: seen.append((doing, share)))
    assert seen == [(f"reading {tmp_path}", share) for share in (0, 0.25, 0.5, 0.75)]

    def interrupted(_doing: str, share: float) -> None:
        if share == 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibration_inputs(case, None, IMAGES, interrupted)


def test_files_are_checked_without_torch() -> None:
    """What is wrong with them is said at once."""
    program = "import sys; import mnfpn_cli.quantization.calibration_files; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "False\n"
