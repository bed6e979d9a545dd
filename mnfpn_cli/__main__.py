"""The entry of the command line: `mnfpn`, and `python -m mnfpn_cli`."""

import os
import sys

from mnfpn_cli.errors import INTERRUPTED


def main() -> None:
    """Run the command line and exit; Ctrl-C is quiet from the first import on."""
    # pydantic would look for plugins in every installed distribution, 25 ms in all; none concerns a settings file.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from mnfpn_cli.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
