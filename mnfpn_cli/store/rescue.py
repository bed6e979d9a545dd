"""What a sweep has measured when its store stays away: put into a file, so that it is not lost."""

from datetime import UTC, datetime
from pathlib import Path

from mnfpn_cli.store.errors import StoreError
from mnfpn_cli.store.merge import Parcel, bring_in
from mnfpn_cli.store.networks import Networks
from mnfpn_cli.store.rows import Result, StoredCell, Sweep, columns_of, result_columns
from mnfpn_cli.store.store import open_store


def rescue(error: StoreError, cell: StoredCell, result: Result, sweep: Sweep, folder: Path | None = None) -> Path:
    """Put a result that its store would not take into a new store: `mnfpn runs merge FILE` brings it in.

    Args:
        error: why the store would not take it.
        cell: what was measured.
        result: what came of it.
        sweep: that it was measured for; what is merged becomes part of it again.
        folder: for the file; the current one unless given.

    Returns:
        The file, named after the moment; all that is rescued in one second is in one.

    Raises:
        StoreError: where that cannot be written either; the first error is its cause.
    """
    path = (folder or Path()) / f"mnfpn-rescued-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    networks = Networks([cell.cell.settings])
    network = networks.id_of(cell.cell.settings)
    parcel = Parcel(
        sweeps=[{"id": sweep.id, "started": sweep.started, "place": sweep.place, "plan": dict(sweep.plan)}],
        networks=networks.rows(),
        cells=[{**columns_of(cell.key, cell.planned, cell.place, network), "status": result.status}],
        members=[{"sweep": sweep.id, "key": cell.key, "position": 0}],
        results=[{**result_columns(cell.key, result), "sweep": sweep.id}],
    )
    try:
        with open_store(str(path), create=True) as store:
            bring_in(store, parcel)
    except StoreError as second:
        raise StoreError(f"{error}\nand what was measured could not be put into a file either: {second}") from error
    return path
