"""The entry point of `mnfpn` and of `python -m mnfpn_cli`."""

import os
import sys

from mnfpn_cli.cli.interrupts import end_at_once, exit_code, handle_signals, interrupt
from mnfpn_cli.errors import INTERRUPTED


def main() -> None:
    """Run the command line and exit. Ctrl-C ends it without a traceback, from the first import on."""
    # pydantic would look for plugins in every installed distribution, 25 ms in all; none concerns a settings file.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    handle_signals(end_at_once)
    try:
        from mnfpn_cli.cli.main import run

        handle_signals(interrupt)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    handle_signals(end_at_once)  # only Python's own shutdown is left
    sys.exit(exit_code(code))


if __name__ == "__main__":
    main()
