"""The anchors of a place, from settings."""

from mnfpn_cli.settings.detection import DenseHead


def anchors_per_place(head: DenseHead, levels: int) -> tuple[int, ...]:
    a = getattr(head, "anchors", None)
    if a is None:
        return (1,) * levels
    if hasattr(a, "sizes"):
        return (len(a.scales) * len(a.ratios),) * levels
    r = a.ratios * levels if len(a.ratios) == 1 else a.ratios
    return tuple(2 + 2 * len(x) for x in r)
