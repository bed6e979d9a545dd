"""How the command line spells what messages name: a parameter, in backquotes there, is an option."""

from mnfpn_cli.errors import spelled


def as_option(name: str) -> str:
    """The option of a parameter: ``--max-time`` of ``max_time``."""
    return f"--{name.replace('_', '-')}"


def as_options(text: str) -> str:
    """A message whose parameters are spelled as options."""
    return spelled(text, as_option)
