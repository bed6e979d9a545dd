"""Which parameters of a sweep exclude each other, on the command line and in Python alike."""

from collections.abc import Collection, Sequence

from mnfpn_cli.errors import Problem, UsageError
from mnfpn_cli.text import did_you_mean

MEASURES = ("all", "none")
"""The words for which runs to measure; a number is the other choice."""

BUDGET = ("max_macs", "max_parameters", "max_memory", "min_levels", "max_latency")
SAMPLING = ("precision", "passes", "max_time", "min_time", "warmup")


def check_parameters(given: Collection[str], of_space: Sequence[str], store: str | None) -> None:
    """Check that parameters do not contradict each other, and that each of them has an effect.

    Args:
        given: the names of those whose values are not the usual ones, without those of the space.
        of_space: the names of those that describe the space.
        store: the store; None where the space is only planned.

    Raises:
        UsageError: where two contradict each other, or one would be ignored.
    """

    def among(*names: str) -> list[str]:
        return [name for name in names if name in given]

    if "score_command" not in given:
        _refuse(among("score_timeout"), "requires `score_command`")
    if "ray" not in given:
        _refuse(among("accelerator"), "requires `ray`")
    if store is None:
        measuring = (*SAMPLING, "by_layer", "predict", "baseline_every", "run_timeout", "score_command")
        unused = among(*(() if "dry_run" in given else measuring), "again", "retry_failed", "max_latency")
        _refuse(unused, "cannot be used without `store`, since nothing is measured")
    if "resume" in given:
        kept = ("measure", "by_layer", "predict", "score_command", "score_timeout")
        fixed = [*of_space, *among(*BUDGET, *SAMPLING, *kept)]
        _refuse(fixed, "cannot be used with `resume`, which keeps the options of each sweep")
        _refuse(among("dry_run", "again"), "cannot be used with `resume`, which measures what is left")


def check_measure(word: str) -> str:
    """Return the word for which runs to measure.

    Raises:
        UsageError: where it is none of `MEASURES`.
    """
    if word not in MEASURES:
        near = did_you_mean(word, MEASURES)
        raise UsageError(Problem("`measure`", "must be all, none or a number of runs", f"'{word}'", near))
    return word


def check_predict(predict: bool, measure: str) -> None:
    """Check that a sweep whose other runs are predicted measures some.

    Raises:
        UsageError: where ``measure`` is ``none``.
    """
    if predict and measure == "none":
        raise UsageError(Problem("`predict`", "needs measured runs: `measure` must be all or a number of runs"))


def _refuse(names: Sequence[str], rule: str) -> None:
    if names:
        raise UsageError(Problem(", ".join(f"`{name}`" for name in names), rule))
