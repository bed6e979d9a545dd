"""The entry of the command line: `mnfpn`, and `python -m mnfpn_cli`."""

import os
import sys

from mnfpn_cli.cli.interrupts import end_at_once, exit_code, interrupt, take
from mnfpn_cli.errors import INTERRUPTED


def main() -> None:
    """Run the command line and exit; signals that ask to end are quiet from the first import on."""
    # pydantic would look for plugins in every installed distribution, 25 ms in all; none concerns a settings file.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    take(end_at_once)
    try:
        from mnfpn_cli.cli.main import run

        take(interrupt)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    take(end_at_once)  # there is nothing left but Python's own end
    sys.exit(exit_code(code))


if __name__ == "__main__":
    main()
