"""Spell the parameters of messages as options. Other rooms write them in backquotes: `width_mult` is --width-mult."""

from mnfpn_cli.errors import spelled
from mnfpn_cli.text import as_option


def as_options(text: str) -> str:
    """Return a message with its parameters spelled as options."""
    return spelled(text, as_option)
