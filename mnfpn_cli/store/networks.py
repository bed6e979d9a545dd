"""Networks as a store keeps them: the settings of each once, under their hash."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, select

from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.store import tables as t
from mnfpn_cli.store.damage import DIGITS, DamagedError, first_problem
from mnfpn_cli.store.store import select_by


class Networks:
    """The settings of some cells, each worked out once: cells of a space share them."""

    def __init__(self, settings: Iterable[NetworkSettings]) -> None:
        # By identity: to hash settings takes as long as to write them down. They are kept, so that no other gets their
        # identity.
        self._all = {id(one): one for one in settings}
        self._rows = {key: _row(one) for key, one in self._all.items()}

    def id_of(self, settings: NetworkSettings) -> str:
        """The identifier of one of them."""
        return str(self._rows[id(settings)]["id"])

    def rows(self) -> list[dict[str, Any]]:
        """What `mnfpn_networks` has of them: in order, as two sweeps that write the same wait for each other then."""
        return sorted({row["id"]: row for row in self._rows.values()}.values(), key=lambda row: str(row["id"]))


def read_networks(connection: Connection, wanted: Sequence[str]) -> dict[str, NetworkSettings]:
    """The networks of some identifiers.

    Raises:
        DamagedError: where one is no network, or missing.
    """
    rows = select_by(connection, select(t.networks), t.networks.c.id, wanted)
    found = {row.id: _settings(row.id, row.settings) for row in rows}
    for missing in (one for one in wanted if one not in found):
        raise DamagedError(f"network {missing[:DIGITS]}: is missing, and cells are of it")
    return found


def _row(settings: NetworkSettings) -> dict[str, Any]:
    said = settings.model_dump(mode="json")
    text = json.dumps(said, sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:32], "settings": said}


def _settings(network: str, said: Any) -> NetworkSettings:
    try:
        return NetworkSettings.model_validate(said)
    except ValidationError as error:
        raise DamagedError(f"network {network[:DIGITS]}: settings{first_problem(error)}") from None
