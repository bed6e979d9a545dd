"""Whether a Ray cluster answers, asked in a process of its own: Ray waits for minutes, and cannot be told to stop.

    python -m mnfpn_cli.sweep.ray_probe ADDRESS

It prints a line where something listens there, and the reason where it ends with exit code 1.
"""

import socket
import sys
from typing import Any
from urllib.parse import urlsplit

CONNECT_S = 5.0
LISTENS = "something listens there"


def main(address: str) -> int:
    """Look whether something listens there, then whether it is a Ray cluster that this Ray can work with."""
    try:
        _knock(address)
        _say(LISTENS)
        import ray

        ray.init(address, **quiet_options(address))
        ray.nodes()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001  whatever it is, it is told
        _say(str(error) or type(error).__name__)
        return 1
    ray.shutdown()
    return 0


def quiet_options(address: str) -> dict[str, Any]:
    """What `ray.init` must be told so that it prints nothing; a client's server does not know the second."""
    return {"logging_level": "error"} | ({} if "://" in address else {"log_to_driver": False})


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _knock(address: str) -> None:
    """Open a connection, and close it.

    Raises:
        OSError: where nothing listens there.
    """
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=CONNECT_S):
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
