"""Help pages, 80 columns wide: what a command does, examples, then its options, the most used first.

The pages are plain text: typer's own boxes take half of the width, and print needless details such as the type of a
flag.
"""

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from mnfpn_cli.text import did_you_mean

WIDTH = 80
ONE_LINE = 60
LABEL = 24
"""Columns of a page, and of an option with its value."""

OPTIONS = "Options"
NETWORK = "Network (default: a MobileNetV2 with a feature pyramid)"
SPACE = "Design space (separate the choices by commas)"
BUDGET = "Budget"
GATES = "Gates"
OUTPUT = "Output"
SIDES = "Sides (each in processes of its own)"
MEASURING = "Measuring"
EXTERNAL = "External network (runs its code)"
MORE = "More options"
PANELS = (OPTIONS, SPACE, NETWORK, BUDGET, GATES, OUTPUT, SIDES, MEASURING, EXTERNAL, MORE)
"""The headings above options, in the order of a page."""

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Section:
    """A heading, and the rows below it: a label and its text."""

    title: str
    rows: Rows


@dataclass(frozen=True)
class Summary:
    """The line of a command on the page of its group."""

    name: str
    text: str
    panel: str = "Commands"


class LazyOption(TyperOption):
    """An option without a pydantic validator where there is nothing to validate: no value, or plain texts."""

    def process_value(self, ctx: Any, value: Any) -> Any:
        """Return the value that was given, validated, or what typer returns for none."""
        if self.required or not (value is None or self._takes_texts):
            return super().process_value(ctx, value)
        read = (() if value is None else list(value)) if self.multiple else None
        return self.callback(ctx, self, read) if self.callback else read

    @property
    def _takes_texts(self) -> bool:
        kind = self.type_descriptor
        return kind.annotation == list[str] and kind.parameter_info.parser is None


def _lazy(params: list[Any]) -> list[Any]:
    """Turn the options into `LazyOption`s: typer has no setting for their class."""
    for param in params:
        if isinstance(param, TyperOption):
            param.__class__ = LazyOption
    return params


class Command(TyperCommand):
    """A command whose help is one of our pages."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options, --help included."""
        return _lazy(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; an option without its optional value has an empty one."""
        optional = {name for one in self.get_params(ctx) if _is_optional(one) for name in one.opts}
        return super().parse_args(ctx, list(_with_empty(args, optional)))

    def get_help(self, ctx: Any) -> str:
        """Return the help page, without escape sequences unless a terminal shows it."""
        return _page(self, ctx)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return the completions of a word, each with help of one line: a shell reads a second line as another word."""
        items = super().shell_complete(ctx, incomplete)
        for item in items:
            item.help = shorten(item.help, ONE_LINE, placeholder=" …") if item.help else item.help
        return items


def _is_optional(param: Any) -> bool:
    """Return whether the value of an option is optional, which brackets around it say."""
    return isinstance(param, TyperOption) and str(param.metavar).startswith("[")


def _with_empty(args: Sequence[str], optional: Collection[str]) -> Iterator[str]:
    """Yield arguments, with an empty value behind each of these options that another option or nothing follows."""
    for index, one in enumerate(args):
        yield one
        if one in optional and (index + 1 == len(args) or args[index + 1].startswith("-")):
            yield ""


class CommandGroup(TyperGroup):
    """A group of commands. Without a command, it prints its first screen to standard error and exits with 2."""

    first_screen = ""
    """The text to print without a command; the help page if empty."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the arguments and options, --help included."""
        return _lazy(super().get_params(ctx))

    def get_help(self, ctx: Any) -> str:
        """Return the help page, without escape sequences unless a terminal shows it."""
        return _page(self, ctx)

    def summaries(self) -> Iterable[Summary]:
        """Return one line for each command, in the order of the page."""
        return [Summary(name, (one.help or "").partition("\n\n")[0]) for name, one in self.commands.items()]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the name of the command."""
        if not args and not ctx.resilient_parsing:
            typer.echo(self.first_screen or self.get_help(ctx), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


def usage_message(error: typer.TyperException) -> str:
    """Return what is wrong with the arguments, in our words."""
    context: Any = getattr(error, "ctx", None)  # typer does not export its classes of errors
    name = getattr(error, "option_name", None)
    if name is not None and hasattr(error, "possibilities"):
        known = {one.lstrip("-"): one for param in context.command.get_params(context) for one in _names(param)}
        return f"{name}: no such option{did_you_mean(name.lstrip('-'), known, known)}"
    if name is not None and "requires an argument" in error.message:
        return f"{name}: requires a value"
    param = getattr(error, "param", None)
    if isinstance(param, TyperOption | TyperArgument) and param.required:
        label = param.opts[0] if isinstance(param, TyperOption) else _label(param)
        return f"{label}: must be given. {param.help or ''}".rstrip()
    message = " ".join(error.format_message().split())
    extra = re.fullmatch(r"Got unexpected extra arguments? ?(?:\(s\) )?\((.*)\)", message)
    if extra:
        return f"unexpected argument '{extra[1]}'"
    if isinstance(getattr(context, "command", None), TyperGroup) and message.startswith("No such command"):
        unknown = message.split("'")[1]
        return f"{unknown}: no such command{did_you_mean(unknown, list(context.command.commands))}"
    return message


def _names(param: object) -> list[str]:
    return [*param.opts, *param.secondary_opts] if isinstance(param, TyperOption) else []


def _page(command: TyperCommand | TyperGroup, context: Any) -> str:
    screen = sys.stdout.isatty()
    width = min(WIDTH, shutil.get_terminal_size().columns) if screen else WIDTH
    bold = screen and os.environ.get("TERM") != "dumb"
    text, _, examples = (command.help or "").partition("Examples:")
    blocks = [_folded(text, width), [f"{_heading('Usage:', bold)} {' '.join(usage_words(command, context))}"]]
    if examples:
        blocks.append([_heading("Examples:", bold), *(f"  {line.strip()}" for line in examples.strip().splitlines())])
    for sections in (list(_commands(command)), list(parameter_sections(command, context))):
        label = min(LABEL, max((len(name) for section in sections for name, _ in section.rows), default=0))
        for section in sections:
            rows = [line for name, help in section.rows for line in _row(name, help, label, width)]
            blocks.append([_heading(f"{section.title}:", bold), *rows])
    if command.epilog:
        blocks.append(_folded(command.epilog, width))
    return "\n\n".join("\n".join(block) for block in blocks)


def _heading(text: str, bold: bool) -> str:
    return typer.style(text, bold=True) if bold else text


def _folded(text: str, width: int) -> list[str]:
    return wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)


def _row(label: str, help: str, width: int, page: int) -> Iterator[str]:
    """Yield the lines of an option: its text starts on the same line, or on the next if the label is too long."""
    lines = _folded(help, max(20, page - width - 4)) or [""]
    if len(label) > width:
        yield f"  {label}"
    else:
        yield f"  {label:{width}}  {lines.pop(0)}".rstrip()
    yield from (f"  {'':{width}}  {line}" for line in lines)


def usage_words(command: TyperCommand | TyperGroup, context: Any) -> Iterator[str]:
    """Yield the parts of a command's usage: its path, what must be given, what may be."""
    yield context.command_path
    params = command.get_params(context)
    yield from (_label(one) for one in params if isinstance(one, TyperOption) and one.required)
    yield "COMMAND [OPTIONS]" if isinstance(command, TyperGroup) else "[OPTIONS]"
    yield from (_label(one) for one in params if isinstance(one, TyperArgument))


def _commands(command: TyperCommand | TyperGroup) -> Iterator[Section]:
    panels = dict[str, list[tuple[str, str]]]()
    for one in command.summaries() if isinstance(command, CommandGroup) else ():
        panels.setdefault(one.panel, []).append((one.name, one.text))
    yield from (Section(title, rows) for title, rows in panels.items())


def parameter_sections(command: TyperCommand | TyperGroup, context: Any) -> Iterator[Section]:
    """Yield the arguments and options of a command under their headings, in the order of its page."""
    params = command.get_params(context)
    arguments = [one for one in params if isinstance(one, TyperArgument)]
    if arguments:
        yield Section("Arguments", [(_label(one), one.help or "") for one in arguments])
    panels = dict[str, list[tuple[str, str]]]()
    for option in params:
        if isinstance(option, TyperOption) and not option.hidden and option.name != "help":
            panels.setdefault(option.rich_help_panel or OPTIONS, []).append((_label(option), option.help or ""))
    last = MORE if MORE in panels else OUTPUT if OUTPUT in panels else OPTIONS
    panels.setdefault(last, []).append(("-h, --help", "Print this page."))
    yield from (Section(title, panels[title]) for title in sorted(panels, key=PANELS.index))


def _label(param: TyperOption | TyperArgument) -> str:
    if isinstance(param, TyperArgument):
        return str(param.metavar or param.name)
    if param.is_flag:  # a flag that is on by default can only be turned off
        return param.secondary_opts[0] if param.secondary_opts and param.default else param.opts[0]
    return f"{param.opts[0]} {param.metavar}"
