"""Figures of quality: by hand, on planted boxes, and where they do not exist."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mnfpn_cli.api import settings
from mnfpn_cli.detection.boxes import suppress
from mnfpn_cli.detection.postprocess import Detections, Postprocess
from mnfpn_cli.documents.quality import QualityRecord
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.quantization.quality import BLOCK_ELEMENTS, QualityMeter, matching_boxes, output_sums, quality_meter
from mnfpn_cli.settings.input import NetworkInput, Size
from tests.detection.squares import SETTINGS, SIDE


def named(*tensors: Tensor) -> list[tuple[str, Tensor]]:
    """Outputs named by their position."""
    return [(str(index), tensor) for index, tensor in enumerate(tensors)]


def recorded(meter: QualityMeter) -> QualityRecord | None:
    """The record of a meter."""
    return meter.record("random images", real=False, trained=False, calibrated_on=8)


def figures(meter: QualityMeter) -> QualityRecord:
    """The record of a meter that has one."""
    record = recorded(meter)
    assert record
    return record


def quality(expected: Sequence[Tensor], actual: Sequence[Tensor]) -> QualityRecord:
    """The figures of one pass."""
    meter = QualityMeter()
    meter.add(named(*expected), actual, len(expected[0]))
    return figures(meter)


def test_the_signal_to_noise_ratio_is_that_of_powers_in_decibels() -> None:
    """3² + 4² over 0.3² + 0.4² are 20 dB; equal outputs have none."""
    x = torch.tensor([[3.0, 4.0]])
    noisy, equal = quality([x, x], [x + torch.tensor([[0.3, -0.4]]), x.clone()]).outputs
    assert (noisy.name, equal.name) == ("0", "1")
    assert noisy.snr_db == pytest.approx(20, abs=1e-5)
    assert (equal.snr_db, equal.cosine) == (None, 1.0)


def test_the_cosine_is_that_of_the_angle_between_both_outputs() -> None:
    """1 of the same direction, 0 of a right angle or of no output, -1 of the opposite."""
    x = torch.tensor([[1.0, 0.0]])
    others = (2 * x, torch.tensor([[0.0, 5.0]]), 0 * x, -x, torch.tensor([[1.0, 1.0]]))
    cosines = [one.cosine for one in quality([x] * 5, others).outputs]
    assert cosines == pytest.approx([1, 0, 0, -1, math.sqrt(0.5)])


def test_figures_are_pooled_over_all_images() -> None:
    """Powers are summed up before their ratio is taken: they are those of all images at once."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, 3, 3, generator=generator) * torch.tensor([1, 1, 1, 1, 1, 100.0]).view(6, 1, 1, 1)
    y = x + 0.1 * torch.randn(6, 2, 3, 3, generator=generator)
    meter = QualityMeter()
    for start in (0, 2, 4):
        meter.add(named(x[start : start + 2]), [y[start : start + 2]], 2)
    (pooled,), (at_once,) = figures(meter).outputs, quality([x], [y]).outputs
    assert figures(meter).images == 6
    assert pooled.snr_db == pytest.approx(at_once.snr_db)
    assert pooled.cosine == pytest.approx(at_once.cosine)


def test_large_outputs_are_summed_up_in_blocks() -> None:
    """Of more elements than a block, which do not fill the last one."""
    x = torch.ones(1, 2 * BLOCK_ELEMENTS + 7)
    sums = output_sums(x, 1.5 * x)
    count = 2 * BLOCK_ELEMENTS + 7
    assert (sums.signal, sums.other, sums.product, sums.noise) == (count, 2.25 * count, 1.5 * count, 0.25 * count)


def test_images_that_only_fill_a_batch_up_do_not_count() -> None:
    """The last pass may hold the first images once more."""
    x = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    y = torch.tensor([[3.3, 3.6], [9.0, 10.0]])
    meter = QualityMeter(classifies=True)
    meter.add(named(x), [y], 1)
    record = figures(meter)
    assert (record.images, record.first_choices) == (1, 1.0)
    assert record.outputs[0].snr_db == pytest.approx(20, abs=1e-4)


scales = st.floats(1e-6, 1e6)
numbers = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20)


@given(numbers, st.floats(0.001, 0.5), scales)
def test_no_scale_changes_a_figure(values: list[float], noise: float, scale: float) -> None:
    """Decibels and cosine are of both outputs times any number as well."""
    x = torch.tensor(values, dtype=torch.float64) + 200
    y = x * (1 + noise * torch.linspace(-1, 1, len(values) + 1, dtype=torch.float64)[1:])
    plain, scaled = output_sums(x, y), output_sums(scale * x, scale * y)
    assert plain.snr_db is not None
    assert scaled.snr_db == pytest.approx(plain.snr_db)
    assert scaled.cosine == pytest.approx(plain.cosine)


@given(numbers, st.floats(-60, 60))
def test_noise_of_so_many_decibels_is_measured(values: list[float], decibels: float) -> None:
    """An output with noise of the same shape, but so much quieter."""
    x = torch.tensor(values, dtype=torch.float64) + 200
    assert output_sums(x, x * (1 + 10 ** (-decibels / 20))).snr_db == pytest.approx(decibels, abs=1e-5)


def test_any_dtype_is_compared_in_float64() -> None:
    """Also complex numbers; integers and truth values have no noise, and are left out."""
    x = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))
    whole, true = torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)
    expected = [x, torch.complex(x, x), whole, true, x.sum()]
    record = quality(expected, [x.bfloat16(), 2 * torch.complex(x, x), 0 * whole, ~true, x.sum()])
    assert [one.name for one in record.outputs] == ["0", "1", "4"]
    assert 40 < (record.outputs[0].snr_db or 0) < 60
    assert record.outputs[1].snr_db == pytest.approx(0)


def test_an_output_that_should_be_all_zero_has_no_ratio() -> None:
    """It is left out, unless it is all zero; the others stay."""
    x, zero = torch.ones(1, 3), torch.zeros(1, 3)
    record = quality([x, zero, zero], [2 * x, x, zero])
    assert [(one.name, one.snr_db) for one in record.outputs] == [("0", 0.0), ("2", None)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_outputs_that_are_not_finite_have_no_figures(value: float) -> None:
    """Nor has a run where those of one pass are not, whatever comes later."""
    x, bad = torch.ones(1, 3), torch.tensor([[1.0, value, 1.0]])
    for expected, actual in ((x, bad), (bad, x)):
        meter = QualityMeter()
        meter.add(named(x), [x], 1)
        meter.add(named(expected), [actual], 1)
        meter.add(named(x), [x], 1)
        assert recorded(meter) is None


def test_outputs_of_other_shapes_have_no_figures() -> None:
    """Nor has a run without a pass."""
    x = torch.ones(1, 3)
    for actual in ([x, x], [], [torch.ones(1, 4)]):
        meter = QualityMeter()
        meter.add(named(x), actual, 1)
        assert recorded(meter) is None
    assert recorded(QualityMeter()) is None


def test_a_classifier_has_the_share_of_equal_first_choices() -> None:
    """Three of four images; other networks have none."""
    x = torch.eye(4)
    y = torch.eye(4)[[0, 1, 2, 0]]
    small = settings(preset="mobilenetv2-classifier", overrides={"width_mult": 0.1, "head.classes": 4})
    meter = quality_meter(FromSettings(small), NetworkInput(4, 3, Size(32, 32)))
    meter.add([("logits", x)], [y], 4)
    assert figures(meter).first_choices == 0.75
    assert quality([x], [y]).first_choices is None
    assert figures(meter).boxes is None


def found(*boxes: tuple[int, int, int, int], labels: Sequence[int] = (), scores: Sequence[float] = ()) -> Detections:
    """Boxes of an image, of label 1 and of falling scores unless others are given."""
    count = len(boxes)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "scores": torch.tensor(scores or [1 - index / 10 for index in range(count)]),
        "labels": torch.tensor(labels or [1] * count),
    }


BOX, HALF, FAR = (0, 0, 10, 10), (0, 0, 10, 5), (50, 50, 60, 60)


@pytest.mark.parametrize(
    ("expected", "actual", "matches"),
    [
        (found(BOX, FAR), found(FAR, BOX), 2),
        (found(BOX), found(HALF), 1),
        (found(BOX), found((0, 0, 10, 4)), 0),
        (found(BOX), found(BOX, labels=[2]), 0),
        (found(BOX), found(BOX, HALF), 1),
        (found(BOX, HALF), found(HALF, BOX), 2),
        (found(), found(BOX), 0),
        (found(BOX), found(), 0),
        (found((3, 3, 3, 3)), found((3, 3, 3, 3)), 1),
        (found((3, 3, 3, 3)), found((4, 4, 4, 4)), 0),
    ],
    ids=[
        "order",
        "half",
        "less",
        "label",
        "once",
        "best",
        "none-expected",
        "none-found",
        "no-area",
        "no-area-elsewhere",
    ],
)
def test_boxes_match_by_label_and_overlap_each_at_most_once(
    expected: Detections, actual: Detections, matches: int
) -> None:
    """From half of the union on, the best score first."""
    assert matching_boxes(expected, actual) == matches


def test_the_better_box_is_matched_first() -> None:
    """It takes the box that overlaps it most, and a worse one what is left."""
    expected = found((0, 0, 10, 10), (0, 0, 10, 7))
    worse_first = found((0, 0, 10, 6), (0, 0, 10, 10), scores=[0.2, 0.9])
    assert matching_boxes(expected, worse_first) == 2


def planted(count: int) -> tuple[QualityMeter, list[Tensor]]:
    """A meter of a detector of one class, and outputs with so many boxes: anchors that do not overlap."""
    small, size = settings(config=SETTINGS), Size(SIDE, SIDE)
    anchors = Postprocess(small, size).anchors
    apart = suppress(anchors, torch.ones(len(anchors)), None, threshold=0.0, most=3)
    logits = torch.tensor([10.0, 0.0]).repeat(1, len(anchors), 1)  # the first class is the background
    logits[0, apart[:count], 1] = 20.0
    return quality_meter(FromSettings(small), NetworkInput(1, 3, size)), [logits, torch.zeros(1, len(anchors), 4)]


@pytest.mark.parametrize(("before", "after", "share"), [(3, 3, 1.0), (3, 2, 0.8), (1, 0, 0.0), (0, 0, None)])
def test_a_detector_has_the_share_of_boxes_that_match(before: int, after: int, share: float | None) -> None:
    """Twice the pairs over the boxes of both: of three boxes and two, 4 of 5; none where neither finds a box."""
    meter, expected = planted(before)
    meter.add(named(*expected), planted(after)[1], 1)
    assert figures(meter).boxes == share


def test_the_record_says_where_the_images_are_from() -> None:
    """And whether the figures tell anything about a trained network."""
    meter = QualityMeter()
    meter.add(named(torch.ones(2, 3)), [torch.ones(2, 3)], 2)
    record = meter.record("photos: 4 images", real=True, trained=True, calibrated_on=None)
    assert record
    assert (record.source, record.real, record.trained, record.calibrated_on) == ("photos: 4 images", True, True, None)
