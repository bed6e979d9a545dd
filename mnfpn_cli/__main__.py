"""The entry of the command line: `mnfpn`, and `python -m mnfpn_cli`."""

import sys

INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit; Ctrl-C is quiet from the first import on."""
    try:
        from mnfpn_cli.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
    sys.exit(code)


if __name__ == "__main__":
    main()
