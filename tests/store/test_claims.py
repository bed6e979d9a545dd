"""A run is claimed by one process at a time, and the claims of dead processes expire: in a file and on a server."""

import multiprocessing
import os
from dataclasses import dataclass, replace

import psutil
import pytest
from sqlalchemy import select

from mnfpn_cli.store import rows as t
from mnfpn_cli.store.claims import BEAT_S, EXPIRY_S, Claims
from mnfpn_cli.store.read import pending_keys, read_run, read_runs
from mnfpn_cli.store.store import Store, open_store
from tests.store.made import result, swept

AWAY = "elsewhere/1/0.00/aa"


@dataclass
class Clock:
    """A clock that a test advances."""

    now: float = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now


def test_a_run_is_claimed_once(store: Store) -> None:
    """By the first process; a second claim by the same process succeeds."""
    sweep, keys = swept(store)
    one, other = Claims(store), Claims(store)
    assert one.claim(keys[0])
    assert not other.claim(keys[0])
    assert one.claim(keys[0])
    assert pending_keys(store, sweep) == keys[1:]
    one.release(keys[0])
    assert other.claim(keys[0])


def test_only_a_pending_run_can_be_claimed(store: Store) -> None:
    """Neither a run that is done, nor one that does not exist."""
    sweep, keys = swept(store)
    claims = Claims(store)
    assert claims.claim(keys[0])
    assert claims.finish(keys[0], result(sweep))
    assert not claims.claim(keys[0])
    assert not claims.claim("0" * 32)


def test_a_result_is_inserted_once_though_the_answer_was_lost(store: Store) -> None:
    """The commit succeeded; the retry finds the result."""
    sweep, keys = swept(store)
    claims, one = Claims(store), result(sweep)
    claims.claim(keys[0])
    assert claims.finish(keys[0], one)
    assert claims.finish(keys[0], one)
    assert read_run(store, keys[0])[1] == [one]


def test_an_expired_claim_inserts_no_result(store: Store) -> None:
    """Another process has claimed the run since."""
    sweep, keys = swept(store)
    late, other = Claims(store), Claims(store)
    late.claim(keys[0])
    late.release()
    other.claim(keys[0])
    assert not late.finish(keys[0], result(sweep))
    assert other.finish(keys[0], result(sweep))
    assert len(read_run(store, keys[0])[1]) == 1


def _nobody() -> None:
    return


def test_claims_of_a_dead_process_of_this_machine_expire_at_once(store: Store) -> None:
    """Those of a living process do not."""
    _, keys = swept(store)
    child = multiprocessing.get_context("spawn").Process(target=_nobody)
    child.start()
    created = psutil.Process(child.pid).create_time()
    child.join()
    mine = Claims(store)
    dead = replace(mine, me=f"{mine.host}/{child.pid}/{created:.2f}/aa")
    dead.claim(keys[0])
    living = Claims(store)
    living.claim(keys[1])
    assert mine.release_expired() == [dead.me]
    assert mine.claim(keys[0])
    assert not mine.claim(keys[1])


def test_a_process_that_reuses_an_id_is_another_process(store: Store) -> None:
    """Processes with the same id differ in their start."""
    _, keys = swept(store)
    mine = Claims(store)
    before = replace(mine, me=f"{mine.host}/{os.getpid()}/1000.00/aa")
    before.claim(keys[0])
    assert mine.release_expired() == [before.me]


def test_processes_of_a_container_are_not_looked_up_outside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers may share a host name: claims from another process namespace expire by their beat."""
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    _, keys = swept(store)
    mine = Claims(store)
    assert mine.host.startswith("localhost:pid")
    inside = Claims(store, host="localhost:pid:[1]", me="localhost:pid:[1]/1/0.00/aa")
    inside.claim(keys[0])
    assert mine.release_expired() == []


def test_claims_of_another_machine_expire_without_a_beat(store: Store) -> None:
    """By the clock of the process that checks."""
    _, keys = swept(store)
    theirs, ours = Clock(), Clock(1000.0)
    away, mine = Claims(store, clock=theirs, me=AWAY), Claims(store, clock=ours)
    for key in keys[:2]:
        away.claim(key)
        theirs.now += BEAT_S
        away.beat()  # the second run is claimed later, and is as much alive
    for _ in range(int(EXPIRY_S / 10)):
        assert mine.release_expired() == []
        ours.now += 10
    assert mine.release_expired() == [AWAY]
    assert mine.claim(keys[0])
    assert mine.claim(keys[1])


def test_a_beat_keeps_claims_from_expiring(store: Store) -> None:
    """However long, and also where one run is released and another is claimed."""
    _, keys = swept(store)
    theirs, ours = Clock(), Clock(1000.0)
    away, mine = Claims(store, clock=theirs, me=AWAY), Claims(store, clock=ours)
    away.claim(keys[0])
    for turn in range(20):
        assert mine.release_expired() == []
        theirs.now += 20
        ours.now += 20
        away.release()
        away.claim(keys[turn % 2])
        away.beat()


def test_time_without_checks_does_not_count(store: Store) -> None:
    """The store may have been unreachable for all processes, so that none could write a beat."""
    _, keys = swept(store)
    ours = Clock()
    Claims(store, me=AWAY).claim(keys[0])
    mine = Claims(store, clock=ours)
    mine.release_expired()
    ours.now += 10 * EXPIRY_S
    assert mine.release_expired() == []


def test_a_beat_between_check_and_release_keeps_the_claims(store: Store) -> None:
    """The release applies only to claims without a newer beat."""
    _, keys = swept(store)
    theirs, ours = Clock(), Clock()
    away, mine = Claims(store, clock=theirs, me=AWAY), Claims(store, clock=ours)
    away.claim(keys[0])
    mine.release_expired()
    ours.now += 20
    mine.release_expired()
    theirs.now += BEAT_S
    away.beat()
    mine._release_from(AWAY, 0)  # as if the check had been before the beat
    assert not mine.claim(keys[0])


def _measure_all(name: str, sweep: int, seed: int) -> None:
    with open_store(name) as store:
        claims = Claims(store)
        keys = pending_keys(store, sweep)
        for key in [*keys[seed:], *keys[:seed]]:
            if claims.claim(key):
                assert claims.finish(key, result(sweep))


@pytest.mark.slow
def test_many_processes_measure_every_run_once(name: str) -> None:
    """Whichever process claims first, no run is measured twice and none is left."""
    with open_store(name, create=True) as store:
        sweep, keys = swept(store, 24)
        store.engine.dispose()
        context = multiprocessing.get_context("spawn")
        children = [context.Process(target=_measure_all, args=(name, sweep, index * 3)) for index in range(3)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * 3
        assert {one.status for one in read_runs(store)} == {"done"}
        measured = store.read(lambda connection: connection.execute(select(t.results.c.key)).scalars().all())
        assert sorted(measured) == sorted(keys)
