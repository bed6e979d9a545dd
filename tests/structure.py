"""What of a printed measurement is the same on every machine: titles, columns, units, lines that must be there."""

import re

SOMETIMES = re.compile(
    r"[Ww]arning: |Ended by: |p9\d (needs|and)|GPU|rest|Inconclusive|A is|B is|The same|.* of the time: "
    r"|\S.*  (whether )?(bfloat16|float16|int8) (is|may|was|in) |Fell back |(?!The layers).* a pass took |No measured "
    r"|Medians are |Beyond the floor"
    r"|.* would keep more|The next ",
)
"""Lines that stand there or not, or say something else, as the machine is."""

MACHINE = re.compile(r"^(CPU|GPU|memory|software|system|date) {2,}.*")
"""Rows that name the machine, its software and the day."""

NAMES = {
    r"\b[0-9a-f]{8}\b": "key",
    r"\b\d+x\d+\b": "size",
    r"  (compute|memory)(?=  |$)": "  bound",
    r"\d+ threads?": "# threads",
    r"\((?:[^()]|\(\w+\))*, \d+ cores?\)": "(processor)",  # whose name may have (R) in it
    r"\bnode \S+(?<!\.)": "node",
    r", [^,]* left$": "",
    r"(?<=while they were timed) \(.*\)": "",
    r"(?<=while layers were timed), .* of them in [^.]*(\.\d+)?": "",
    r"  \d\.\d{3} k(?=  |$)": "  1",  # images a second, of which a slower machine has less than a thousand
}
"""Words that are the machine's, and what they are; keys are hashes of the machine's kind."""

FEW_SAMPLES = ("p90", "p99", "Outliers")
"""Columns, always the last ones, that are there or not, as the samples are."""

UNITS = {"time": r"ns|µs|ms|s", "bytes": r"[KMGT]?i?B", "rate": r"[kMGT]?(?:MAC|B)/s", "count": r"[kMGTP](?![\w/])"}
QUANTITY = re.compile(
    r"(?<![\w#])[+-]?\d[\d,.]*(?:e[-+]?\d+)?(?: ?(?:"
    + "|".join(f"(?P<{kind}>{units})" for kind, units in UNITS.items())
    + r"))?(?!\w)"
)


def structure(text: str) -> list[str]:
    """The lines of an output without what was measured.

    A quantity is what it measures, a table as wide as few samples make it, and rows that are alike but for their
    quantities are one, as a frontier has more of them or fewer.
    """
    lines, columns = list[str](), None
    for line in text.splitlines():
        if not line.strip():
            columns = None
        if SOMETIMES.match(line):
            continue
        cells = re.split(r" {2,}", MACHINE.sub(r"\1", line).strip())
        if set(cells) & set(FEW_SAMPLES):
            columns = len([cell for cell in cells if cell not in FEW_SAMPLES])
        found = "  ".join(cells[:columns])
        for name, kind in NAMES.items():
            found = re.sub(name, kind, found)
        found = QUANTITY.sub(_kind, found).replace("#time – #time", "#–#time")  # a range over two units
        if not lines or lines[-1] != found:
            lines.append(found)
    return lines


def _kind(quantity: re.Match[str]) -> str:
    """A quantity as what it measures, whatever its unit."""
    return f"#{quantity.lastgroup or ''}"
