"""Looking at warnings."""

from mnfpn_cli.measure.unsteady import Unsteady


def kinds(found: tuple[Unsteady, ...]) -> list[str]:
    """The kinds of warnings."""
    return [one.kind for one in found]


def only(found: tuple[Unsteady, ...]) -> Unsteady:
    """The one warning that there must be."""
    (one,) = found
    return one
