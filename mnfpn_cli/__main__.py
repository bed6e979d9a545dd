"""``python -m mnfpn_cli`` is the ``mnfpn`` command."""

from mnfpn_cli.cli.main import main

if __name__ == "__main__":
    main()
