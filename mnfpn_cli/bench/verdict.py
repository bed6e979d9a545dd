"""The verdict on a precision in words: how fast, how far from eager float32, in what it really computed, and why.

A sentence holds what was measured or counted, and nothing else: no figure is a rule of thumb. No torch here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from mnfpn_cli.documents.quality import GraphRecord, OutputQuality, QualityRecord
from mnfpn_cli.measure.statistics import TimeRatio
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import counted, few, percent

SAME_WITHIN = 0.05
"""Speed-ups of an interval within this share of 1 are no gain; a wider interval that includes 1 decides nothing."""

MOSTLY = 0.95
"""From this share of the MACs on, the operators that ran in another dtype are not named."""


@dataclass(frozen=True, slots=True)
class PrecisionResult:
    """What is known of a run in another dtype than float32.

    Attributes:
        dtype: what the run was asked to compute in.
        reference: the run that it is compared with, in words: ``float32``, or ``eager in float32``.
        speed_up: the time of the reference over that of the run; None where they were not timed in turn.
        comparable: False where the outputs have other shapes than eager float32's, or are not finite; None if unknown.
        quality: the outputs beside those of eager float32; None where they were not compared.
        graph: what the runtime executed; None where it does not say.
        emulated: why the processor emulates the dtype, as ``this processor has no int8 instructions``; None where it
            does not, or it is unknown.
    """

    dtype: DType
    reference: str
    speed_up: TimeRatio | None = None
    comparable: bool | None = None
    quality: QualityRecord | None = None
    graph: GraphRecord | None = None
    emulated: str | None = None


def precision_verdict(result: PrecisionResult) -> str:
    """Return the verdict on a run: its figures in one sentence, then its causes, and what the figures do not show."""
    figures = [_speed(result), *_closeness(result), *_share(result)]
    sentences = [", ".join(figures), *_falls(result), *_causes(result), *_unknown(result)]
    return " ".join(f"{sentence}." for sentence in sentences)


def _speed(result: PrecisionResult) -> str:
    """Return the direction of the speed-up, as its interval shows it to two digits after the point."""
    dtype, reference, ratio = result.dtype, result.reference, result.speed_up
    if ratio is None:
        return f"{dtype} was not timed in turn with {reference}"
    if ratio.interval is None:
        seen = f"{_times(ratio.value)} × by the medians"
        return f"whether {dtype} is faster than {reference} is not known: {seen}, of too few passes for an interval"
    low, high = ratio.interval
    interval = f"{_times(low)} to {_times(high)}"
    if round(low, 2) > 1:
        return f"{dtype} is {_times(ratio.value)} × as fast as {reference} ({interval})"
    if _slower(result):
        return f"{dtype} is slower than {reference}: {_times(ratio.value)} × as fast ({interval})"
    if low >= 1 - SAME_WITHIN and high <= 1 + SAME_WITHIN:
        return f"{dtype} is no faster than {reference}: {interval} × as fast"
    return f"{dtype} may be faster or slower than {reference}: {interval} × as fast, more passes would show"


def _slower(result: PrecisionResult) -> bool:
    interval = result.speed_up.interval if result.speed_up else None
    return interval is not None and round(interval.high, 2) < 1


def _times(ratio: float) -> str:
    """Format a speed-up: two digits, and two after the point below 2, where 1 must be seen."""
    return f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:,.0f}"


def _closeness(result: PrecisionResult) -> Iterator[str]:
    quality = result.quality
    if result.comparable is False:
        yield "its outputs cannot be compared with those of eager float32"
        return
    if quality is None:
        return
    if quality.outputs:
        yield _noise(quality.outputs)
    if quality.first_choices is not None:
        yield f"the same first choice in {_per_cent(quality.first_choices)} of {counted(quality.images, 'image')}"
    if quality.boxes is not None:
        yield f"{_per_cent(quality.boxes)} of boxes found"


def _noise(outputs: tuple[OutputQuality, ...]) -> str:
    """Return the signal to noise of the worst output, by name where there are several."""
    levels = [(output.snr_db, output.name) for output in outputs if output.snr_db is not None]
    if not levels:
        return "outputs equal to those of eager float32"
    worst, name = min(levels)
    noise = f"{worst:.1f} dB" + (" (more noise than signal)" if worst < 0 else "")
    return noise if len(outputs) == 1 else f"{noise} in {name}, the worst of {len(outputs)} outputs"


def _share(result: PrecisionResult) -> Iterator[str]:
    share = result.graph.share if result.graph else None
    if share is not None:
        yield f"{_per_cent(share)} of MACs in {result.dtype}"


def _per_cent(share: float) -> str:
    """Format a share without digits after the point; 0 and 100 % are exact."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else percent(share, ".0f")


def _falls(result: PrecisionResult) -> Iterator[str]:
    """Yield in which other dtypes MACs ran, and where; of a run that fell back wholly, that it is no run in its own."""
    graph = result.graph
    if graph is None or graph.share is None:
        return
    if graph.kept_share:
        yield f"{_per_cent(graph.kept_share)} of MACs stay in float32, as asked"
    if graph.share + graph.kept_share >= MOSTLY or not graph.fallbacks:
        return
    others = tuple(dict.fromkeys(operator.dtype for operator in graph.fallbacks))
    if graph.share == graph.kept_share == 0:
        yield f"All MACs ran in {' and '.join(others)}: this is not the time of {result.dtype}"
        return
    macs = sum(operator.macs for operator in graph.fallbacks)
    for dtype in others:
        fell = sorted((one for one in graph.fallbacks if one.dtype == dtype), key=lambda one: -one.macs)
        share = (1 - graph.share - graph.kept_share) * sum(one.macs for one in fell) / macs if macs else 0.0
        names = few([one.name for one in fell])
        yield f"{_per_cent(share)} of MACs ran in {dtype}: {names} ({counted(len(fell), 'layer')})"


def _causes(result: PrecisionResult) -> Iterator[str]:
    """Yield why the dtype is slow here: instructions that are missing, and of a slower run also conversions."""
    graph = result.graph
    if result.emulated:
        yield f"{result.dtype} is emulated here: {result.emulated}"
    if not _slower(result):
        return
    if graph is None:
        yield "The runtime does not report what it executed"
    elif graph.conversions:
        words = counted(graph.conversions, "conversion")
        yield f"{words} from one dtype to another {'is' if graph.conversions == 1 else 'are'} part of its time"
    elif not result.emulated and (graph.share is None or graph.share >= MOSTLY):
        yield "Its graph shows no reason"


def _unknown(result: PrecisionResult) -> Iterator[str]:
    """Yield why the figures of quality do not show what the network loses."""
    quality = result.quality
    if quality is None or result.comparable is False:
        return
    random = [*(["weights"] if not quality.trained else []), *(["images"] if not quality.real else [])]
    if random:
        yield f"Random {' and '.join(random)} do not show what a network loses"
