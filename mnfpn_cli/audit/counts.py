"""What there is to compute in a network, by kind, and the totals that counters print for it."""

from collections.abc import Sequence

from mnfpn_cli.audit.counters import COUNTERS, Counter, CountError, installed_version, on_cpu, run_counter
from mnfpn_cli.audit.terms import in_words, operations, terms_of
from mnfpn_cli.documents.summary import CounterTotal, CountsRecord, WorkRecord
from mnfpn_cli.trace.facts import Facts
from mnfpn_cli.trace.operations import Kind


def counts_record(facts: Facts) -> CountsRecord:
    """Count the work of a network that was looked at, and run every counter on it; it is left as it was."""
    return CountsRecord(work=count_work(facts), tools=tool_totals(facts))


def count_work(facts: Facts) -> WorkRecord:
    """Count every operation that was seen, wherever the layer that computes it is kept."""
    seen = list(operations(facts))

    def elements(kind: Kind) -> int:
        return sum(one.elements for one in seen if one.kind == kind)

    return WorkRecord(
        convolution_macs=sum(one.macs for one in seen if one.kind == "convolution"),
        dense_macs=sum(one.macs for one in seen if one.kind != "convolution"),
        bias_adds=sum(one.bias for one in seen),
        batch_norm=elements("batch_norm"),
        other_norms=elements("norm"),
        activations=elements("activation"),
        resized=elements("resize"),
        additions=elements("addition"),
        multiplications=elements("product"),
        pooled=sum(one.read for one in seen if one.kind == "pooling"),
    )


def tool_totals(facts: Facts, counters: Sequence[Counter] = COUNTERS) -> tuple[CounterTotal, ...]:
    """Run counters, and hold the total of each against what it is known to add; one that fails says why."""
    with on_cpu(facts) as seen:
        return tuple(_total(counter, seen) for counter in counters)


def _total(counter: Counter, facts: Facts) -> CounterTotal:
    version = None
    try:
        version = installed_version(counter)
        total = round(run_counter(counter, facts))
    except CountError as reason:
        return _without_total(counter, version, str(reason))
    terms = terms_of(counter.name, facts)
    remainder = total - sum(term.factor * term.amount for term in terms)
    return CounterTotal(
        tool=counter.name,
        version=version,
        total=total,
        unit=counter.unit,
        meaning=in_words(terms, remainder),
        exact=remainder == 0,
        terms=terms,
        remainder=remainder,
        note=_caveat(counter, facts),
    )


def _without_total(counter: Counter, version: str | None, reason: str) -> CounterTotal:
    return CounterTotal(
        tool=counter.name,
        version=version,
        total=None,
        unit=counter.unit,
        meaning="",
        exact=False,
        terms=(),
        remainder=None,
        note=reason,
    )


def _caveat(counter: Counter, facts: Facts) -> str:
    """What else a reader has to know of a total."""
    by_image = counter.name == "ptflops" and any(one.shape[:1] > (1,) for one in facts.inputs[:1])
    return "it counts modules for one image of the batch, and functions for all" if by_image else ""
