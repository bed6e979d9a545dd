"""How the command line spells what messages name: a parameter, in backquotes there, is an option."""

from mnfpn_cli.errors import spelled
from mnfpn_cli.text import as_option

__all__ = ["as_option", "as_options"]


def as_options(text: str) -> str:
    """A message whose parameters are spelled as options."""
    return spelled(text, as_option)
