"""The `mnfpn` command: its subcommands, and the one place where errors become text and exit codes."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer import Typer
from typer.main import get_command

from mnfpn_cli import __version__
from mnfpn_cli.cli.completion import AUTO, SHELLS, VARIABLE, install, script, words
from mnfpn_cli.cli.help import Command, CommandGroup, Summary, usage_message
from mnfpn_cli.cli.stderr import write_error
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.text import as_option, either

INSPECT, MEASURE, SEARCH, SETTINGS = "Inspect a network", "Measure and export", "Search many networks", "Settings"

SUMMARIES = (
    Summary("summary", "Show the layers of a network: shapes, parameters, MACs.", INSPECT),
    Summary("shapes", "Show the output feature maps: level, stride, shape, bytes.", INSPECT),
    Summary("audit", "Check layers and pyramid for mistakes; exit 3 if any is found.", INSPECT),
    Summary("bench", "Measure what a network costs and how fast it runs here.", MEASURE),
    Summary("compare", "Compare the speed and cost of two networks.", MEASURE),
    Summary("export", "Write a network to a file, and check the file against the network.", MEASURE),
    Summary("detect", "Find objects in images with a trained detector, and draw their boxes.", MEASURE),
    Summary("runtimes", "Show which runtimes and dtypes this machine has, and what is missing.", MEASURE),
    Summary("sweep", "Plan every network of a design space, and measure the chosen ones.", SEARCH),
    Summary("predict", "Predict the latency of networks from the measured runs of a store.", SEARCH),
    Summary("report", "Show the measured frontier of a store as text, page or picture.", SEARCH),
    Summary("recommend", "Recommend measured runs within a budget.", SEARCH),
    Summary("runs", "List, show, score, prune, merge and export the runs of a store.", SEARCH),
    Summary(
        "schema",
        "Print the JSON Schema of a document or a settings file.",
        SETTINGS,
    ),
    Summary("settings", "Show settings and presets.", SETTINGS),
)
"""One line for each command, in the order of the help page; also the first line of the page of the command."""

NAMES = tuple(summary.name for summary in SUMMARIES)


class LazyCommands(Mapping[str, Any]):
    """The commands by name. Each is imported on first use."""

    def __getitem__(self, name: str) -> Any:
        if name not in NAMES:
            raise KeyError(name)
        return _command(name)

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


@cache
def _command(name: str) -> Any:
    """Import the module of a command, and build the typer command of its function, or of its group."""
    command = getattr(import_module(f"mnfpn_cli.cli.{name}"), name)
    if isinstance(command, Typer):
        return get_command(command)
    app = Typer(add_completion=False)
    app.command(name, cls=Command)(command)
    return get_command(app)


FIRST_SCREEN = """\
mnfpn: a workbench for MobileNetV2 backbones with feature pyramids.

Try:
  mnfpn summary --tree              Draw the network: stages, laterals, levels.
  mnfpn shapes --size 600x900       Show the output feature maps.
  mnfpn bench --size 320            Measure how fast it runs here.

Help:
  mnfpn --help                      List all commands.
  mnfpn bench --help                Show the options of a command.
  mnfpn settings presets            List networks to start from."""


class Mnfpn(CommandGroup):
    """The `mnfpn` command."""

    first_screen = FIRST_SCREEN

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands()  # type: ignore[assignment]  # typer only reads it

    def summaries(self) -> Iterable[Summary]:
        """Return one line for each command, without importing any."""
        return SUMMARIES

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        """Return the names of the commands, without importing any."""
        return list(self.commands)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments before the name of the command; the shell of a completion option is optional."""
        unnamed = args[-1:] in (["--show-completion"], ["--install-completion"])
        return super().parse_args(ctx, [*args, AUTO] if unnamed and not ctx.resilient_parsing else args)


app = typer.Typer(
    name="mnfpn",
    cls=Mnfpn,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="mnfpn COMMAND --help has its options and examples. Options override a settings file, which "
    "overrides a preset. Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 3 a requested check failed, "
    "128 + n ended by signal n (130: Ctrl-C).",
)


def _printing(text: Callable[[str], str]) -> Callable[[typer.Context, str | None], None]:
    """Return a callback that prints the text of an option and exits."""

    def show(ctx: typer.Context, value: str | None) -> None:
        if value and not ctx.resilient_parsing:  # true while a shell completes
            sys.stdout.write(text(value))
            raise typer.Exit

    return show


@app.callback()
def mnfpn(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version.",
            callback=_printing(lambda _: f"mnfpn {__version__}\n"),
            is_eager=True,
        ),
    ] = False,
    show_completion: Annotated[
        str | None,
        typer.Option(
            help=f"Print the completion script for {either(SHELLS)}.",
            metavar="[SHELL]",
            callback=_printing(script),
            autocompletion=words(*SHELLS),
        ),
    ] = None,
    install_completion: Annotated[
        str | None,
        typer.Option(
            help="Install the completion script (default: for the current shell).",
            metavar="[SHELL]",
            callback=_printing(install),
            autocompletion=words(*SHELLS),
        ),
    ] = None,
) -> None:
    """Inspect, measure, export and search MobileNetV2 backbones with feature pyramids.

    Examples:
        mnfpn summary --tree
        mnfpn shapes --size 600x900
        mnfpn bench --preset mobilenetv2-fpnlite --runtime all
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command line with these arguments, and return the exit code; errors are printed, not raised."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed by the shell, as with `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without "×" must not be an error
    try:
        if os.environ.get(VARIABLE):
            from typer._completion_classes import completion_init

            completion_init()
        code = get_command(app)(list(arguments), prog_name="mnfpn", standalone_mode=False)
        sys.stdout.flush()
    except MnfpnError as error:
        return _fail(error.text(as_option), error.exit_code, error.details)
    except typer.TyperException as error:
        return _fail(usage_message(error), error.exit_code, _hint(error))
    except typer.Abort:
        return _fail("aborted", 1)
    except SystemExit as end:  # a signal; or from typer, if the reader of an unbuffered pipe is gone, as after `| head`
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:  # the reader of a pipe is gone, seen at the last flush
        _discard(sys.stdout)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        return _fail(f"standard output could not be written: {error.strerror}", 1)
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int, hint: str = "") -> int:
    try:
        sys.stdout.flush()
        write_error("\n".join([*(f"error: {line}" for line in message.split("\n")), *hint.splitlines()]))
    except BrokenPipeError:
        _discard(sys.stdout)
    return code


def _hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)  # only usage errors have it, a class that typer does not export
    return f"See '{context.command_path} --help'.\n" if context else ""


def _discard(stream: TextIO) -> None:
    """Redirect a stream without a reader to the null device, so that Python's flush at exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
