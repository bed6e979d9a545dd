"""A sweep on a Ray cluster: real nodes on this machine, of which some are killed and some cannot measure."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import Any, TypeVar

import psutil
import pytest
from sqlalchemy import select

from mnfpn_cli import __version__
from mnfpn_cli.documents.sweep import MeasuringRecord, ScoringRecord
from mnfpn_cli.documents.worker import SamplingRecord
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.space.planned import Budget, plan_space
from mnfpn_cli.space.runs import KEY_VERSION
from mnfpn_cli.store import rows as tables
from mnfpn_cli.store.read import read_runs
from mnfpn_cli.store.store import Store, open_store
from mnfpn_cli.sweep.pool import Ending, Lost, Worker
from mnfpn_cli.sweep.process import Outcome, Task
from mnfpn_cli.sweep.ray import cluster as ray_cluster
from mnfpn_cli.sweep.ray import plan as ray_plan
from mnfpn_cli.sweep.ray import pool as ray_pool_module
from mnfpn_cli.sweep.ray import worker as ray_worker
from mnfpn_cli.sweep.ray.cluster import Reservation, connected, living_nodes, on_node, parse_nodes
from mnfpn_cli.sweep.ray.plan import plan_on
from mnfpn_cli.sweep.ray.pool import Measure, RayPool, ray_pool
from mnfpn_cli.sweep.ray.worker import CHECK, NodeReport
from mnfpn_cli.sweep.start import Chosen, begin
from mnfpn_cli.sweep.state import State
from mnfpn_cli.sweep.sweep import Sweeper
from mnfpn_cli.sweep.training import Trainer, trainings_record
from tests.space.spaces import space_of
from tests.sweep import works
from tests.sweep.pools import measured as made_up
from tests.sweep.test_command import is_gone
from tests.sweep.test_training import measured_sweep

pytest.importorskip("ray")

T = TypeVar("T")
PATIENCE_S = 150.0
HEALTH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 2}
QUICKLY = SamplingRecord(max_time_s=0.5, warmup=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of one node with one core; tests add and remove others."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": HEALTH}
    )
    yield made
    made.shutdown()  # type: ignore[no-untyped-call]


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes come and go in these tests."""
    monkeypatch.setattr(ray_pool_module, "REFRESH_S", 0.3)


@pytest.fixture
def add_node(cluster: Any) -> Iterator[Callable[..., Any]]:
    """Add nodes, which are gone after the test."""
    added = []

    def add(**options: Any) -> Any:
        added.append(cluster.add_node(**{"num_cpus": 1, **options}))
        return added[-1]

    yield add
    for node in added:
        if node in cluster.worker_nodes:
            cluster.remove_node(node)
    cluster.wait_for_nodes()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(str(tmp_path / "runs.db"), create=True) as opened:
        yield opened


def quick(work: Callable[[str], None] = lambda _node: None) -> Measure:
    """Return a function that measures nothing: it calls ``work`` with the node's id, and returns a made-up outcome."""
    made = made_up([0.01] * 8).measured  # here, as a node's process cannot import these tests

    def measure(_task: Any) -> Any:
        import ray

        from mnfpn_cli.sweep.process import Outcome

        work(ray.get_runtime_context().get_node_id())
        assert made is not None
        # The node's environment variables, in fields that a real measurement would not use for them.
        seen = {"gpu_name": os.environ.get("CUDA_VISIBLE_DEVICES"), "driver": os.environ.get("OMP_NUM_THREADS")}
        measured = made.model_copy(update={"environment": made.environment.model_copy(update=seen)})
        now = "2026-11-21T00:00:00.000+00:00"
        return Outcome("done", "", now, now, None, measured)

    return measure


def sweep_of(store: Store, measuring: MeasuringRecord, widths: int) -> int:
    """Insert a sweep over some widths; return its number."""
    space = space_of(width_mult=[round(0.35 + index / 10, 2) for index in range(widths)], size=["64"])
    planned = plan_space(space, Budget())
    return begin(store, Chosen(planned.runs, planned, "all", "mnfpn sweep"), measuring, "Ray, any machine")


def run(
    store: Store,
    pool: RayPool,
    widths: int,
    measuring: MeasuringRecord | None = None,
    tell: Callable[[State], None] = lambda _: None,
) -> State:
    """Measure a sweep over some widths."""
    measuring = measuring or MeasuringRecord()
    return Sweeper(store, sweep_of(store, measuring, widths), pool, measuring, report=tell).run()


def workers_of(store: Store) -> list[tuple[str, str]]:
    """The key and the worker of each result."""
    query = select(tables.results.c.key, tables.results.c.worker)
    return store.read(lambda connection: [(row.key, row.worker) for row in connection.execute(query)])


def until(pool: RayPool, workers: int) -> list[Worker]:
    """Wait until this many workers are idle."""
    end = time.monotonic() + PATIENCE_S
    while len(pool.idle()) < workers:
        assert time.monotonic() < end, f"{pool.idle()} of {workers} workers"
        pool.wait(0.1)
    return list(pool.idle())


def task() -> Task:
    """A run that takes longer than any test."""
    return works.task(90, sampling=SamplingRecord(min_time_s=61))


def measured(pool: RayPool, worker: Worker) -> Ending:
    """The outcome of a run on a worker."""
    pool.start(worker, task())
    while True:
        for one, outcome in pool.wait(1):
            assert one == worker
            return outcome


@pytest.mark.slow
def test_a_node_that_dies_costs_no_run(
    cluster: Any, add_node: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    """It is killed during a run: each run has one result, by one of the two nodes."""
    victim, stuck = add_node(), tmp_path / "stuck"
    victim_id = victim.node_id

    def work(node: str) -> None:
        if node == victim_id:
            if list(tmp_path.glob("measured*")):
                stuck.touch()
                time.sleep(PATIENCE_S)
            (tmp_path / f"measured-{time.time_ns()}").touch()
        else:
            time.sleep(0.3)

    def kill(_state: State) -> None:
        if stuck.exists() and victim in cluster.worker_nodes:
            cluster.remove_node(victim, allow_graceful=False)

    with ray_pool(cluster.address, {"auto"}, measure=quick(work)) as pool:
        state = run(store, pool, 16, tell=kill)
    assert victim not in cluster.worker_nodes, "it was killed in this sweep"
    assert (state.done, state.failed) == (16, 0)
    assert Counter(key for key, _ in workers_of(store)).most_common(1)[0][1] == 1
    assert len(workers_of(store)) == 16
    assert any("is lost" in line and victim_id[:6] in line for line in state.notes)
    assert {worker for _, worker in workers_of(store)} <= {
        f"{socket.gethostname()} ({key[:6]})" for key in _ids(cluster, victim)
    }


@pytest.mark.slow
def test_a_node_that_joins_measures_too(
    cluster: Any, add_node: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    """The first node waits in its second run until the new one has measured."""
    head, joined = cluster.head_node.node_id, tmp_path / "joined"

    def work(node: str) -> None:
        if node != head:
            joined.touch()
        end = time.monotonic() + PATIENCE_S
        while (tmp_path / "first").exists() and not joined.exists() and time.monotonic() < end:
            time.sleep(0.05)
        (tmp_path / "first").touch()

    def add(_state: State) -> None:
        if (tmp_path / "first").exists() and not cluster.worker_nodes:
            add_node()

    with ray_pool(cluster.address, {"auto"}, measure=quick(work)) as pool:
        state = run(store, pool, 6, tell=add)
    assert joined.exists()
    assert (state.done, len(workers_of(store))) == (6, 6)
    assert len({worker for _, worker in workers_of(store)}) == 2


@pytest.mark.slow
def test_runs_are_measured_by_a_fresh_process_on_their_node(cluster: Any, store: Store) -> None:
    """As a sweep on this machine does it."""
    measuring = MeasuringRecord(sampling=QUICKLY, baseline_every=100)
    with ray_pool(cluster.address, {"auto"}) as pool:
        state = run(store, pool, 2, measuring)
    assert (state.done, state.failed) == (2, 0), state.notes
    assert sorted(Counter(key for key, _ in workers_of(store)).values()) == [1, 1]
    (one, *_) = store.read(lambda connection: connection.execute(select(tables.results.c.document)).all())
    assert one.document["run"]["latency_s"]["median"] > 0


@pytest.mark.slow
def test_the_process_that_measures_ends_with_its_actor(cluster: Any) -> None:
    """Closing the pool ends what is being measured."""
    with ray_pool(cluster.address, {"auto"}) as pool:
        (worker,) = until(pool, 1)
        pool.start(worker, task())
        measuring = _wait_for(_measuring)
        pool.close()
        _wait_for(lambda: not any(_runs(one) for one in measuring))


TRAINING = """
import json, os, sys, time
width = json.load(open(sys.argv[1]))["width_mult"]
open(f"{os.getpid()}.pid", "w").close()
time.sleep(float(sys.argv[3]))
json.dump({"map": width}, open(sys.argv[2], "w"))
"""
"""A training that writes the width of its network as its score, after some seconds."""


def training(folder: Path, seconds: float) -> ScoringRecord:
    """A command that trains in this folder for so many seconds."""
    (folder / "train.py").write_text(TRAINING)
    return ScoringRecord(command=f"{sys.executable} train.py {{config}} {{output}} {seconds}")


@pytest.mark.slow
def test_networks_are_trained_on_all_nodes(
    cluster: Any, add_node: Callable[..., Any], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time on each worker; their scores are in the store."""
    monkeypatch.chdir(tmp_path)
    add_node()
    sweep = measured_sweep(store, training(tmp_path, 1.0))
    with ray_pool(cluster.address, {"auto"}) as pool:
        until(pool, 2)
        state = Trainer(store, sweep, pool).run()
    assert (state.done, state.failed) == (3, 0), trainings_record(store, [sweep])
    assert {one.scores["map"].value for one in read_runs(store)} == {0.35, 0.45, 0.55}
    query = select(tables.trainings.c.worker)
    assert len(set(store.read(lambda connection: connection.execute(query).scalars().all()))) == 2


@pytest.mark.slow
def test_a_training_ends_with_its_actor(
    cluster: Any, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing the pool kills the actor, and with it the command, which is in a session of its own."""
    monkeypatch.chdir(tmp_path)
    sweep = measured_sweep(store, training(tmp_path, 600.0))
    with ray_pool(cluster.address, {"auto"}) as pool:
        until(pool, 1)
        trainer = Trainer(store, sweep, pool, stopped=lambda: any(tmp_path.glob("*.pid")))
        trainer.run()
        (training_id,) = [int(path.stem) for path in tmp_path.glob("*.pid")]
        assert not is_gone(training_id)
        pool.close()
        _wait_for(lambda: is_gone(training_id))


@pytest.mark.slow
def test_a_run_whose_node_is_killed_is_lost_and_its_process_ends(cluster: Any, add_node: Callable[..., Any]) -> None:
    """No process is left that measures; the node's worker is not idle again, and the others are."""
    victim = add_node()
    with ray_pool(cluster.address, {"auto"}) as pool:
        workers = until(pool, 2)
        (worker,) = [one for one in workers if one.id.startswith(victim.node_id)]
        pool.start(worker, task())
        measuring = _wait_for(_measuring)
        cluster.remove_node(victim, allow_graceful=False)
        finished = _wait_for(lambda: pool.wait(0.5))
        assert [(one, type(outcome)) for one, outcome in finished] == [(worker, Lost)]
        _wait_for(lambda: not any(_runs(one) for one in measuring))
        _wait_for(lambda: pool.wait(0.1) or any("has left the cluster" in line for line in pool.notes()))
        assert list(pool.idle()) == [one for one in workers if one is not worker]


@pytest.mark.slow
def test_an_idle_node_that_is_killed_has_left_the_cluster(cluster: Any, add_node: Callable[..., Any]) -> None:
    """No run is given to it."""
    victim = add_node()
    with ray_pool(cluster.address, {"auto"}, measure=quick()) as pool:
        until(pool, 2)
        cluster.remove_node(victim, allow_graceful=False)
        _wait_for(lambda: pool.wait(0.1) or any("has left the cluster" in line for line in pool.notes()))
        assert not any(victim.node_id in one.id for one in pool.idle())
        assert isinstance(measured(pool, *until(pool, 1)), Outcome)


@pytest.mark.slow
def test_two_sweeps_do_not_measure_on_a_node_at_a_time(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cores are reserved while the first is connected; then the second gets them."""
    monkeypatch.setattr(ray_pool_module, "PATIENCE_S", 3.0)
    with ray_pool(cluster.address, {"auto"}, measure=quick()) as first:
        until(first, 1)
        second = RayPool(cluster.address, {"auto"}, measure=quick())
        second.join()
        assert not second.idle()
        assert any("is busy" in line for line in second.notes())
        first.close()
        until(second, 1)
        second.close()


@pytest.mark.slow
def test_nodes_that_cannot_measure_are_left_out_with_a_warning(
    cluster: Any, add_node: Callable[..., Any], store: Store, tmp_path: Path
) -> None:
    """They lack the package, or have another version. The others measure all runs, and none fails."""
    add_node(env_vars={"PYTHONPATH": _without_package(tmp_path / "without")})
    add_node(env_vars={"PYTHONPATH": _other_version(tmp_path / "other")})
    with ray_pool(cluster.address, {"auto"}, measure=quick()) as pool:
        notes = pool.notes()
        state = run(store, pool, 3)
    assert (state.done, state.failed, state.notes) == (3, 0, ())
    without, other = sorted(notes, key=lambda line: "it has mnfpn" in line)
    assert "is not used: its Python" in without
    assert f"has no mnfpn: pip install mnfpn=={__version__}" in without
    assert f"is not used: it has mnfpn 0.0.1, this is {__version__}" in other


@pytest.mark.slow
def test_a_cluster_that_is_gone_is_an_error(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised before Ray ends this process; a closed pipe of standard output is not mistaken for it."""

    def refuse(_address: str) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    def lose_head() -> None:
        with monkeypatch.context() as patched, ray_pool(cluster.address, {"auto"}, measure=quick()) as pool:
            patched.setattr(ray_cluster, "check_port", refuse)
            _wait_for(lambda: pool.wait(0.5))

    with pytest.raises(MnfpnError, match="does not answer any more: its head is gone: Connection refused"):
        lose_head()
    with pytest.raises(BrokenPipeError), connected(cluster.address):
        raise BrokenPipeError


@pytest.mark.slow
def test_a_cluster_where_no_node_can_measure_is_an_error(
    cluster: Any, add_node: Callable[..., Any], tmp_path: Path
) -> None:
    """It has the reason of each node with the accelerator."""
    h100 = {"resources": {"accelerator_type:H100": 1}, "num_gpus": 1}
    add_node(env_vars={"PYTHONPATH": _without_package(tmp_path)}, **h100)
    with (
        pytest.raises(
            MnfpnError,
            match=r"device cuda accelerator h100:\n(.*\n)*.* is not used: its Python .* has no mnfpn",
        ),
        ray_pool(cluster.address, {"cuda"}, "h100", quick()),
    ):
        pass


@pytest.mark.slow
def test_each_gpu_is_a_worker_that_sees_itself_alone(cluster: Any, add_node: Callable[..., Any]) -> None:
    """The worker's name has the GPU that Ray reserved. Nodes without the accelerator are not used."""
    add_node(num_cpus=3, num_gpus=2, resources={"accelerator_type:T4": 1})
    with ray_pool(cluster.address, {"cuda"}, "T4", quick()) as pool:
        workers = until(pool, 2)
        assert [worker.kind for worker in workers] == ["cuda", "cuda"]
        assert len({worker.name for worker in workers}) == 2
        for worker in workers:
            outcome = measured(pool, worker)
            assert isinstance(outcome, Outcome)
            assert outcome.measured is not None
            threads = outcome.measured.environment.driver
            assert threads == os.environ.get("OMP_NUM_THREADS"), "Ray's own value is removed"
            assert worker.name.endswith(f", GPU {outcome.measured.environment.gpu_name}")
            assert outcome.worker == worker.name
    has = r"accelerator H100:\n(.*\n)?.* has 3 cores, 2 GPUs \(T4\)"
    with pytest.raises(MnfpnError, match=f"no node can measure with device cuda {has}"):
        _join(cluster, {"cuda"}, "H100")


@pytest.mark.slow
def test_without_a_gpu_in_the_cluster_runs_for_one_are_an_error(cluster: Any) -> None:
    """A device that no cluster has is one before the cluster is asked."""
    with pytest.raises(MnfpnError, match=r"no node can measure with device cuda:\n.* has 1 cores, 0 GPUs"):
        _join(cluster, {"cpu", "cuda"})
    with pytest.raises(UsageError, match="which picks the GPU, got 'cuda:3'"):
        _join(cluster, {"cuda:3"})


@pytest.mark.slow
def test_a_busy_node_joins_when_its_cores_are_free(
    cluster: Any, add_node: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others measure meanwhile, and a warning names it."""
    import ray

    monkeypatch.setattr(ray_pool_module, "PATIENCE_S", 5.0)

    class Other:
        def there(self) -> None:
            """Answer."""

    taken = add_node().node_id
    with connected(cluster.address):
        other = on_node(Other, next(one for one in living_nodes() if one.id == taken), num_cpus=1).remote()
        ray.get(other.there.remote())
        pool = RayPool(cluster.address, {"auto"}, measure=quick())
        pool.join()
        (worker,) = until(pool, 1)
        assert isinstance(measured(pool, worker), Outcome)
        _wait_for(lambda: pool.wait(0.1) or any("is busy" in line for line in pool.notes()))
        assert not any(taken in one.id for one in pool.idle())
        ray.kill(other)
        assert any(taken in one.id for one in until(pool, 2))
        pool.close()


@pytest.mark.slow
def test_a_node_that_loses_three_runs_in_a_row_is_left_out(cluster: Any) -> None:
    """A lost worker is not used again; until then the node gets another one."""
    used = set[Worker]()
    with ray_pool(cluster.address, {"auto"}, measure=quick(lambda _node: os._exit(1))) as pool:
        for _ in range(3):
            (worker,) = until(pool, 1)
            assert worker not in used
            used.add(worker)
            assert isinstance(measured(pool, worker), Lost)
            assert worker not in pool.idle()
        assert "is not used any more: lost 3 times in a row" in pool.notes()[-1]
        (planned, *_) = plan_space(space_of(width_mult=[0.35], size=["64"]), Budget()).runs
        now = time.monotonic()
        assert pool.alive(planned.run)
        pool.clock = lambda: now + 1000
        assert not pool.alive(planned.run)


@pytest.mark.slow
def test_a_space_planned_on_a_cluster_is_the_same(
    cluster: Any, add_node: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs, order and counts, with networks that two parts share; a node without the package is not used."""
    add_node()
    add_node(env_vars={"PYTHONPATH": _without_package(tmp_path)})
    monkeypatch.setattr(ray_plan, "PART", 24)
    first = {"expansion": 1, "channels": 16, "repeats": 1, "stride": 1}  # the same in other words
    space = space_of(
        stages=[[[1, 16, 1, 1], [6, 24, 2, 2]], [first, [6, 24, 2, 2]]],
        width_mult=[0.35, 0.5, 1.0],
        pyramid__channels=[8, 16, 64],
        pyramid__smooth=["conv", "separable"],
        size=["1x1", "64", "96x64"],
        batch=[1, 4],
    )
    budget, shares = Budget(macs=4_000_000), list[float]()
    expected = plan_space(space, budget)
    made = plan_on(cluster.address, space, budget, lambda _doing, share: shares.append(share))
    assert made == expected
    assert made.runs
    assert made.cut
    assert made.invalid
    assert made.repeated
    assert len(shares) > 2
    assert shares[-1] == 1


@pytest.mark.slow
def test_a_cluster_without_the_package_cannot_plan(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error comes before anything is planned."""
    monkeypatch.setattr(ray_worker, "__version__", "9.9.9")
    with pytest.raises(MnfpnError, match=rf"no node can plan:\n.*it has mnfpn {__version__}, this is 9.9.9"):
        plan_on(cluster.address, space_of(size=["64"]), Budget())


@pytest.mark.slow
def test_ctrl_c_stays_the_sweeps_own(cluster: Any) -> None:
    """Ray replaces the signal handlers; they are restored while Ray is used."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    with connected(cluster.address):
        assert [signal.getsignal(number) for number in numbers] == before
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    "address", ["", "ray://host", "http://host:80", "host", "host:0", "host:99999", "ray://:1", "a b:1"]
)
def test_an_invalid_address_is_an_error(address: str) -> None:
    """It lists the valid forms."""
    with (
        pytest.raises(UsageError, match=r"^ray: must be auto, local, ray://host:port or host:port, got"),
        ray_pool(address, {"auto"}),
    ):
        pass


def test_an_address_where_nothing_listens_is_an_error() -> None:
    """At once, with a hint."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens there, nor will
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MnfpnError, match=f"^ray {address}: does not answer: .*; does the cluster run"):
            _join_at(address)


@pytest.mark.slow
def test_an_address_where_something_else_listens_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `ANSWER_S`: Ray itself would wait for minutes."""
    assert ray_cluster.CONNECT_S + ray_cluster.ANSWER_S < 19
    monkeypatch.setattr(ray_cluster, "ANSWER_S", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(MnfpnError, match=f"^ray {address}: something listens there, but no cluster answers within"):
            _join_at(address)


@pytest.mark.parametrize(("missing", "address"), [("ray", "auto"), ("grpc", "ray://127.0.0.1:10001")])
def test_a_missing_package_is_an_error(missing: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the command that installs it."""
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None if name == missing else sys)
    with pytest.raises(MnfpnError, match=r"pip install 'mnfpn\[ray\]'"):
        _join_at(address)


def listed(key: str = "a" * 56, **said: Any) -> dict[str, Any]:
    """A node as `ray.nodes` returns it."""
    usual = {"host": "one", "address": "10.0.0.1", "label": None, "resources": {"CPU": 8.0}, **said}
    return {
        "NodeID": key,
        "Alive": True,
        "NodeManagerHostname": usual["host"],
        "NodeManagerAddress": usual["address"],
        "NodeName": usual["label"] or usual["address"],
        "Resources": usual["resources"],
    }


@pytest.mark.parametrize(
    ("gpus", "devices", "expected"),
    [
        (0, {"auto"}, [Reservation("cpu", 8)]),
        (0, {"cuda"}, []),
        (0, {"cpu", "cuda"}, [Reservation("cpu", 8)]),
        (2, {"auto"}, [Reservation("cuda", 4, 1)] * 2),
        (2, {"cpu"}, [Reservation("cpu", 8)]),
        (2, {"cpu", "cuda"}, [Reservation("", 8, 1)]),
        (3, {"cuda"}, [Reservation("cuda", 2, 1)] * 3),
    ],
)
def test_what_the_workers_of_a_node_reserve(gpus: int, devices: set[str], expected: list[Reservation]) -> None:
    """All of its cores, so that nothing else runs during a measurement; with GPUs, a share for each."""
    (node,) = parse_nodes([listed(resources={"CPU": 8.0, "GPU": float(gpus)})])
    assert node.reservations(devices) == expected


def test_a_node_is_used_only_with_the_named_accelerator() -> None:
    """Upper and lower case are the same."""
    (node,) = parse_nodes([listed(resources={"CPU": 8.0, "GPU": 1.0, "accelerator_type:H100": 1.0})])
    assert str(node) == "one has 8 cores, 1 GPUs (H100)"
    assert node.reservations({"cuda"}, "h100") == [Reservation("cuda", 8, 1)]
    assert not node.reservations({"cuda"}, "T4")


def test_a_node_without_cores_for_work_is_not_used() -> None:
    """The head of many clusters has none."""
    (node,) = parse_nodes([listed(resources={})])
    assert not node.reservations({"auto"})


def test_nodes_have_different_names() -> None:
    """The host name where that is enough; a node that is gone does not count."""
    other = "b" * 56

    def named(**second: Any) -> list[str]:
        return [one.name for one in parse_nodes([listed(label=second.pop("first", None)), listed(other, **second)])]

    assert [one.name for one in parse_nodes([listed(), {**listed(other), "Alive": False}])] == ["one"]
    assert named(host="two") == ["one", "two"]
    assert named() == ["one (aaaaaa)", "one (bbbbbb)"]
    assert named(address="10.0.0.2") == ["one (10.0.0.1)", "one (10.0.0.2)"]
    assert named(first="left", label="right") == ["one (left)", "one (right)"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, ""),
        ({"version": "0.0.1"}, f"it has mnfpn 0.0.1, this is {__version__}"),
        ({"version": None}, f"its Python (py) has no mnfpn: pip install mnfpn=={__version__}"),
        ({"key_version": "0"}, f"its mnfpn measures runs of version 0, this one of {KEY_VERSION}"),
        ({"key_version": None}, f"its mnfpn measures runs of version None, this one of {KEY_VERSION}"),
        ({"new": 1}, ""),
        ({"torch": False}, "its Python (py) has no torch"),
    ],
)
def test_what_a_node_must_have(changed: dict[str, Any], problem: str) -> None:
    """The same version of the package, so that times can be compared."""
    said = {"python": "py", "version": __version__, "key_version": str(KEY_VERSION), "torch": True}
    assert NodeReport.model_validate_json(json.dumps({**said, **changed})).problem == problem


@pytest.mark.parametrize(
    ("package", "found"),
    [
        ('__version__ = "0.0.1"', {"version": "0.0.1"}),
        ("__version__ = 2", {"version": "2"}),
        ("print('hello')", {}),
        ("raise RuntimeError('made for another Python')", {}),
        ("this is no Python", {}),
    ],
)
def test_any_mnfpn_on_a_node_gives_an_answer(tmp_path: Path, package: str, found: dict[str, str]) -> None:
    """An older one, a newer one, or one that cannot be imported there, whatever it prints."""
    (tmp_path / "mnfpn_cli").mkdir()
    (tmp_path / "mnfpn_cli" / "__init__.py").write_text(package)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", CHECK]
    printed = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    answer = json.loads(printed.splitlines()[-1])
    assert answer == {"torch": find_spec("torch") is not None, **found}
    assert NodeReport(python="py", **answer).problem


def _join(cluster: Any, devices: set[str], accelerator: str | None = None) -> None:
    with ray_pool(cluster.address, devices, accelerator, quick()):
        pass


def _join_at(address: str) -> None:
    with ray_pool(address, {"auto"}):
        pass


def _ids(cluster: Any, *others: Any) -> list[str]:
    return [one.node_id for one in (*cluster.list_all_nodes(), *others)]


def _wait_for(condition: Callable[[], T]) -> T:
    end = time.monotonic() + PATIENCE_S
    while not (met := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return met


def _measuring() -> list[psutil.Process]:
    """The processes that measure on the nodes of the cluster."""
    return [one for one in psutil.Process().children(recursive=True) if _runs(one)]


def _runs(one: psutil.Process) -> bool:
    """Whether a process measures, and has not ended."""
    try:
        return any(part.startswith("mnfpn_cli.") for part in one.cmdline())
    except psutil.Error:
        return False


def _without_package(folder: Path) -> str:
    """Make a folder for a node's path that hides this package from its Python."""
    return _customized(folder, "raise ModuleNotFoundError(name)")


def _other_version(folder: Path) -> str:
    """Make a folder for a node's path with another version of this package."""
    here = folder / "mnfpn_cli"
    here.mkdir(parents=True)
    (here / "__init__.py").write_text('__version__ = "0.0.1"\n')
    return _customized(folder, f"return spec_from_file_location(name, {str(here / '__init__.py')!r})")


def _customized(folder: Path, body: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(
        dedent(f"""
            import sys
            from importlib.util import spec_from_file_location

            class Finder:
                def find_spec(self, name, path=None, target=None):
                    if name == "mnfpn_cli":
                        {body}

            sys.meta_path.insert(0, Finder())
        """)
    )
    return str(folder)
