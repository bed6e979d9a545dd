"""The `mnfpn` command: its subcommands, and the one place where errors become text and exit codes.

Exit codes: 0 fine, 1 could not do it, 2 wrong usage or settings, 3 a check that was asked for failed, 130 Ctrl-C, and
128 + n where another signal ends it.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, TextIO

import typer
from typer.main import get_command

from mnfpn_cli import __version__
from mnfpn_cli.cli.audit import audit
from mnfpn_cli.cli.bench import bench
from mnfpn_cli.cli.compare import compare
from mnfpn_cli.cli.errors import write_error
from mnfpn_cli.cli.export import export
from mnfpn_cli.cli.recommend import recommend
from mnfpn_cli.cli.report import report
from mnfpn_cli.cli.runs import runs_app
from mnfpn_cli.cli.settings import settings_app
from mnfpn_cli.cli.shapes import shapes
from mnfpn_cli.cli.summary import summary
from mnfpn_cli.cli.sweep import sweep
from mnfpn_cli.errors import MnfpnError

app = typer.Typer(
    name="mnfpn",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Later beats earlier: preset, file, options. Without options: MobileNetV2 with a pyramid at 600x900.",
)
app.command()(summary)
app.command()(audit)
app.command()(shapes)
app.command()(bench)
app.command()(compare)
app.command()(export)
app.command()(sweep)
app.command()(report)
app.command()(recommend)
app.add_typer(runs_app, name="runs")
app.add_typer(settings_app, name="settings")


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"mnfpn {__version__}\n")
        raise typer.Exit


@app.callback()
def mnfpn(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """A workbench for MobileNetV2 backbones with feature pyramids: what is in it, what comes out, what it costs."""


def run(arguments: Sequence[str], exit_codes: Mapping[type[MnfpnError], int] = MappingProxyType({})) -> int:
    """Run the command line with these arguments, and return the exit code. No error of a user's leaves it.

    ``exit_codes``: other codes than the usual ones, for a program that has to tell some errors from others.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed by the shell, as with `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks "×" is no reason to fail
    try:
        code = get_command(app)(list(arguments), prog_name="mnfpn", standalone_mode=False)
        sys.stdout.flush()
    except MnfpnError as error:
        return _fail(str(error), exit_codes.get(type(error), error.exit_code), error.details)
    except typer.TyperException as error:
        message = " ".join(error.format_message().split())  # typer lists choices on lines of their own
        if not message:  # no arguments at all: typer has shown the help
            return error.exit_code
        return _fail(message, error.exit_code, _hint(error))
    except typer.Abort:
        return _fail("aborted", 1)
    except SystemExit as end:  # a signal, or typer where the reader of a pipe has gone, as `| head` does, unbuffered
        return end.code if isinstance(end.code, int) else 1
    except BrokenPipeError:  # the same, seen at the last flush
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
    context = getattr(error, "ctx", None)  # typer keeps the class of usage errors, which have it, to itself
    return f"See '{context.command_path} --help'.\n" if context else ""


def _discard(stream: TextIO) -> None:
    """Point a stream whose reader has gone at nothing, so that Python's own flush at exit does not complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
