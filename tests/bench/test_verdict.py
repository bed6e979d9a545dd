"""The verdict on a precision: right on planted runs, and it never claims what was not measured."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.bench.verdict import PrecisionResult, precision_verdict
from mnfpn_cli.documents.quality import GraphRecord, OperatorRecord, OutputQuality, QualityRecord
from mnfpn_cli.measure.statistics import PAIRED, Interval, TimeRatio

NO_INT8_INSTRUCTIONS = "this processor has no int8 instructions"


def speed_up(value: float, low: float, high: float) -> TimeRatio:
    """Return a speed-up with its interval."""
    return TimeRatio(value, Interval(low, high), PAIRED)


def graph(share: float | None, *fell: tuple[str, int], conversions: int = 0, dtype: str = "float32") -> GraphRecord:
    """Return what a runtime executed, with the operators that fell back."""
    fallbacks = tuple(OperatorRecord(name=name, dtype=dtype, macs=macs) for name, macs in fell)
    return GraphRecord(share=share, fallbacks=fallbacks, conversions=conversions)


def quality(*levels: float | None, real: bool = True, trained: bool = True) -> QualityRecord:
    """Return the quality of outputs `p0`, `p1`, … of these levels in dB, over eight images."""
    outputs = tuple(
        OutputQuality(name=f"p{index}", snr_db=level, cosine=0.9 if level is not None else 1.0)
        for index, level in enumerate(levels)
    )
    return QualityRecord(
        images=8,
        source="photos",
        real=real,
        trained=trained,
        calibrated_on=8,
        outputs=outputs,
        first_choices=None,
        boxes=None,
    )


GOOD = PrecisionResult(
    dtype="int8",
    reference="float32",
    speed_up=speed_up(3.91, 3.82, 4.0),
    quality=quality(21.3),
    graph=graph(0.98, ("head", 2), conversions=4),
)
SLOW = replace(GOOD, speed_up=speed_up(0.43, 0.42, 0.45))
HALF = graph(0.5, *((f"stages.0.{index}", 100 - index) for index in range(7)))


def test_a_faster_run_has_its_interval_its_noise_and_its_share() -> None:
    """A run with nothing amiss has one sentence; its conversions cost less than is saved, and are not mentioned."""
    assert precision_verdict(GOOD) == ("int8 is 3.9 × as fast as float32 (3.8 to 4.0), 21.3 dB, 98 % of MACs in int8.")


def test_a_slower_run_without_instructions_names_both_causes() -> None:
    """A processor without VNNI, and conversions on top."""
    planted = replace(SLOW, emulated=NO_INT8_INSTRUCTIONS, graph=graph(0.98, conversions=12))
    assert precision_verdict(planted) == (
        "int8 is slower than float32: 0.43 × as fast (0.42 to 0.45), 21.3 dB, 98 % of MACs in int8. "
        "int8 is emulated here: this processor has no int8 instructions. "
        "12 conversions from one dtype to another are part of its time."
    )


def test_one_conversion_is_one() -> None:
    """The sentence agrees in number."""
    assert precision_verdict(replace(SLOW, graph=graph(1.0, conversions=1))).endswith(
        "1 conversion from one dtype to another is part of its time."
    )


@pytest.mark.parametrize(
    ("executed", "end"),
    [
        (None, "The runtime does not report what it executed."),
        (graph(1.0), "Its graph shows no reason."),
        (HALF, "stages.0.0, stages.0.1, stages.0.2 and 4 more (7 layers)."),
    ],
)
def test_a_slower_run_without_a_cause_says_so(executed: GraphRecord | None, end: str) -> None:
    """No cause is made up; layers that fell back are one."""
    assert precision_verdict(replace(SLOW, graph=executed)).endswith(end)


def test_a_graph_with_half_of_its_macs_in_float32_names_the_largest_layers() -> None:
    """The share is of MACs, the names come in the order of MACs, and the others are counted."""
    assert precision_verdict(replace(GOOD, graph=HALF)) == (
        "int8 is 3.9 × as fast as float32 (3.8 to 4.0), 21.3 dB, 50 % of MACs in int8. "
        "50 % of MACs ran in float32: stages.0.0, stages.0.1, stages.0.2 and 4 more (7 layers)."
    )


def test_each_dtype_of_the_fallbacks_has_its_own_share() -> None:
    """Of 40 % that fell back, three quarters ran in float32 and a quarter in bfloat16."""
    fell = (*graph(0.6, ("a", 30)).fallbacks, *graph(0.6, ("b", 10), dtype="bfloat16").fallbacks)
    sentence = precision_verdict(replace(GOOD, graph=graph(0.6).model_copy(update={"fallbacks": fell})))
    assert sentence.endswith("30 % of MACs ran in float32: a (1 layer). 10 % of MACs ran in bfloat16: b (1 layer).")


def test_a_run_that_fell_back_wholly_is_no_run_in_its_dtype() -> None:
    """Its speed-up is that of another dtype."""
    planted = replace(GOOD, speed_up=speed_up(1.0, 0.98, 1.03), graph=graph(0.0, ("a", 3), ("b", 4)))
    assert precision_verdict(planted) == (
        "int8 is no faster than float32: 0.98 to 1.03 × as fast, 21.3 dB, 0 % of MACs in int8. "
        "All MACs ran in float32: this is not the time of int8."
    )


def test_a_dtype_that_is_emulated_is_named() -> None:
    """Whatever the speed-up: a slower run is not the network's fault, a faster one could be faster still."""
    planted = replace(GOOD, dtype="bfloat16", emulated="this processor has no bfloat16 instructions")
    assert "bfloat16 is emulated here: this processor has no bfloat16 instructions." in precision_verdict(planted)


@pytest.mark.parametrize(
    ("real", "trained", "random"),
    [(False, True, "images"), (True, False, "weights"), (False, False, "weights and images")],
)
def test_random_weights_and_images_show_no_damage(real: bool, trained: bool, random: str) -> None:
    """Whoever reads the dB must know of what they are."""
    planted = replace(GOOD, quality=quality(30.0, real=real, trained=trained))
    assert precision_verdict(planted).endswith(
        f"98 % of MACs in int8. Random {random} do not show what a network loses."
    )


def test_outputs_that_cannot_be_compared_have_no_noise() -> None:
    """Neither dB nor agreement is given, even where they are there."""
    sentence = precision_verdict(replace(GOOD, comparable=False))
    assert "its outputs cannot be compared with those of eager float32" in sentence
    assert "dB" not in sentence


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((None,), "outputs equal to those of eager float32"),
        ((30.2, None, 21.6, 40.0), "21.6 dB in p2, the worst of 4 outputs"),
        ((-3.0,), "-3.0 dB (more noise than signal)"),
        ((-3.0, 12.0), "-3.0 dB (more noise than signal) in p0, the worst of 2 outputs"),
    ],
)
def test_of_several_outputs_the_worst_is_named(levels: tuple[float | None, ...], words: str) -> None:
    """The mean over outputs would hide the one that a network cannot do without."""
    assert f"(3.8 to 4.0), {words}, 98 %" in precision_verdict(replace(GOOD, quality=quality(*levels)))


def test_agreement_of_classes_and_boxes_is_given() -> None:
    """They are what dB only stand for."""
    agreeing = quality(21.0).model_copy(update={"first_choices": 0.875, "boxes": 0.997})
    sentence = precision_verdict(replace(GOOD, quality=agreeing))
    assert "21.0 dB, the same first choice in 88 % of 8 images, over 99 % of boxes found" in sentence


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (None, "int8 was not timed in turn with float32"),
        (
            TimeRatio(2.0, None, PAIRED),
            "whether int8 is faster than float32 is not known: 2.0 × by the medians, of too few passes",
        ),
        (speed_up(1.0, 0.98, 1.03), "int8 is no faster than float32: 0.98 to 1.03 × as fast"),
        (speed_up(1.003, 1.001, 1.004), "int8 is no faster than float32: 1.00 to 1.00 × as fast"),
        (
            speed_up(1.1, 0.7, 1.8),
            "int8 may be faster or slower than float32: 0.70 to 1.80 × as fast, more passes would show",
        ),
        (speed_up(1.35, 1.33, 1.37), "int8 is 1.35 × as fast as float32 (1.33 to 1.37)"),
        (speed_up(0.25, 0.24, 0.26), "int8 is slower than float32: 0.25 × as fast (0.24 to 0.26)"),
        (speed_up(12.3, 11.9, 12.6), "int8 is 12 × as fast as float32 (12 to 13)"),
    ],
)
def test_the_interval_decides_the_direction(ratio: TimeRatio | None, words: str) -> None:
    """An interval that includes 1 shows no gain, and a wide one decides nothing."""
    assert precision_verdict(PrecisionResult("int8", "float32", ratio)).startswith(words)


def test_the_reference_is_named_as_it_is_given() -> None:
    """Where the runtime has no run in float32, the first run is the reference."""
    assert " as fast as eager in float32 (" in precision_verdict(replace(GOOD, reference="eager in float32"))


shares = st.floats(0, 1)
ratios = st.lists(st.floats(0.01, 50), min_size=3, max_size=3).map(
    lambda three: TimeRatio(sorted(three)[1], Interval(min(three), max(three)), PAIRED)
)
graphs = st.builds(
    graph,
    st.none() | shares,
    *[st.tuples(st.sampled_from("abc"), st.integers(0, 10**9))] * 2,
    conversions=st.integers(0, 99),
)
qualities = st.builds(quality, *[st.none() | st.floats(-50, 120)] * 2, real=st.booleans(), trained=st.booleans())
results = st.builds(
    PrecisionResult,
    dtype=st.sampled_from(("int8", "bfloat16", "float16")),
    reference=st.just("float32"),
    speed_up=st.none() | ratios,
    comparable=st.sampled_from((None, True, False)),
    quality=st.none() | qualities,
    graph=st.none() | graphs,
    emulated=st.none() | st.just("this processor has none"),
)


@given(results)
def test_a_verdict_claims_nothing_that_is_not_in_the_result(result: PrecisionResult) -> None:
    """The direction agrees with the interval, and each statement needs its source."""
    text = precision_verdict(result)
    interval = result.speed_up.interval if result.speed_up else None
    faster = re.search(r"is [0-9.,]+ × as fast", text) is not None
    slower = "is slower than" in text
    open_ended = "no faster" in text or "may be faster or slower" in text
    assert [interval is None, faster, slower, open_ended].count(True) == 1
    assert not faster or (interval is not None and interval.low > 1)
    assert not slower or (interval is not None and interval.high < 1)
    assert not open_ended or (interval is not None and interval.low <= 1.005 and interval.high >= 0.995)
    assert text.endswith(".")
    assert not re.search("None|inf|nan", text)
    quality_shown = result.quality is not None and result.comparable is not False
    assert quality_shown or not re.search(r"\d dB", text)
    assert result.graph is not None or "of MACs" not in text
    assert (result.emulated is not None) == ("emulated" in text)
    random = quality_shown and result.quality and not (result.quality.trained and result.quality.real)
    assert bool(random) == ("Random" in text)
    if result.graph is None or result.graph.share is None or result.graph.share > 0:
        assert "All MACs ran" not in text


@given(results)
def test_all_the_macs_are_accounted_for(result: PrecisionResult) -> None:
    """0 and 100 % are exact: no rounding hides a fallback, nor makes one of a little."""
    share = result.graph.share if result.graph else None
    text = precision_verdict(result)
    assert (f", 100 % of MACs in {result.dtype}" in text) == (share == 1)
    assert (f", 0 % of MACs in {result.dtype}" in text) == (share == 0)


def test_layers_that_were_asked_to_stay_in_float32_are_no_fallback() -> None:
    """Their share is given, and no cause is looked for; what fell back besides is named."""
    kept = GraphRecord(share=0.73, fallbacks=(), kept_share=0.27, conversions=4)
    sentence = precision_verdict(replace(GOOD, graph=kept))
    assert "73 % of MACs in int8. 27 % of MACs stay in float32, as asked." in sentence
    assert "ran in" not in sentence
    both = kept.model_copy(update={"share": 0.5, "fallbacks": graph(0.5, ("head", 23)).fallbacks})
    assert "23 % of MACs ran in float32: head (1 layer)" in precision_verdict(replace(GOOD, graph=both))
