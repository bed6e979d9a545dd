"""Shares in per cent, in the one spelling that people are shown, in sentences as in tables."""


def percent(share: float, digits: str = ".1f") -> str:
    """A share in per cent: ``83.1 %``; ``digits``: how the number is formatted, ``+.0f`` say."""
    return f"{100 * share:{digits}} %"
