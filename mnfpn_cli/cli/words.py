"""Spell the parameters of messages as options. Other rooms write them in backquotes: `width_mult` is --width-mult."""

from collections.abc import Iterable

from mnfpn_cli.errors import spelled
from mnfpn_cli.text import Parameter


def as_option(parameter: str) -> str:
    """Return the option for a parameter: ``--width-mult`` for ``width_mult``."""
    return f"--{parameter.replace('_', '-')}"


def as_options(text: str) -> str:
    """Return a message with its parameters spelled as options."""
    return spelled(text, as_option)


def as_arguments(parameters: Iterable[Parameter]) -> list[str]:
    """Return the command-line arguments of parameters."""
    return [text for name, value in parameters for text in (as_option(name), value) if text]
