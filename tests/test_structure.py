"""What examples that measure are compared by: it must be blind to the machine, and to nothing else."""

import pytest

from tests.structure import structure

HERE = """\
Latency of a pass: input 1×3×600×900, float32, cpu, 2 threads
Runtime    Median  ±95 %  Images/s     Memory     First
eager    664.9 ms  2.6 %     1.504  313.7 MiB  710.7 ms

Samples
Runtime  Passes       Min   95 % interval       Quartiles       MAD       p90
eager        88  556.1 ms  652.9–682.3 ms  646.0–726.3 ms  27.64 ms  772.9 ms
Ended by: --max-time. Passes of warm-up: 24.

Measured on
CPU       AMD EPYC, 2 cores
memory    23.54 GiB
"""

ELSEWHERE = """\
Latency of a pass: input 1×3×600×900, float32, cpu, 1 thread
Runtime   Median  ±95 %  Images/s    Memory    First
eager    1.204 s    1 %    0.8306  98.0 KiB  2.003 s

Samples
Runtime  Passes      Min  95 % interval      Quartiles       MAD  Outliers
eager         6  1.101 s  1.1–1.3 s      1.102–1.301 s  988.1 µs         1
Warning: the machine was not idle.

Measured on
CPU       Intel(R) Xeon(R) Platinum 8488C, 64 cores
memory    1.000 TiB
"""


def test_another_machine_with_other_times_has_the_same_structure() -> None:
    """Whatever the processor, the units, the number of samples and the warnings are."""
    assert structure(HERE) == structure(ELSEWHERE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  Images/s", ""),
        ("313.7 MiB", "313.7 ms"),
        ("313.7 MiB", "313.7"),
        ("Samples\n", ""),
        ("eager    6", "fused    6"),
        ("memory    23.54 GiB\n", ""),
        ("Latency of a pass", "Time of a pass"),
        ("–682.3 ms", ""),
    ],
)
def test_another_output_has_another(old: str, new: str) -> None:
    """A column, a title, a row, a unit or a figure that is gone or replaced is seen."""
    assert structure(HERE.replace(old, new, 1)) != structure(ELSEWHERE)


def test_images_a_second_have_a_suffix_or_none() -> None:
    """From a thousand on; other counts with one are no numbers without."""
    slow, fast, many = (f"eager    1.204 s    1 %    {rate}    98.0 KiB" for rate in ("952.1", "1.012 k", "16.65 k"))
    assert structure(slow) == structure(fast) != structure(many)
