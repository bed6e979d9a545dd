"""Modules that change themselves, wrappers, calls from odd places: a right answer or a clear error; all as before."""

import asyncio
import re
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from queue import Queue
from threading import Lock, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations

from mnfpn_cli.audit.audit import Inspection, inspect_network, inspect_workload
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.origin import TensorInputs, Workload, external_module
from mnfpn_cli.trace.observe import ModuleCall
from mnfpn_cli.trace.passes import Input
from mnfpn_cli.trace.trace import original
from tests.audit.fingerprints import fingerprint
from tests.audit.traced import inspected

IMAGE = (1, 3, 8, 8)


def plain() -> nn.Sequential:
    """Two layers with a norm between them, in training mode."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def found(network: nn.Module, shape: tuple[int, ...] = IMAGE) -> list[tuple[str, tuple[str, ...]]]:
    """The kind and the paths of each finding."""
    audit = inspected(network, shape).audit
    assert audit is not None
    return [(finding.kind, finding.paths) for finding in audit.findings]


class Changes(nn.Module):
    """Changes itself in its forward, by a function; in real passes too where it reads values."""

    mean: Tensor

    def __init__(self, change: Callable[[Any, Tensor], Any], reads: bool) -> None:
        super().__init__()
        self.layers, self.change, self.reads = plain(), change, reads
        self.scale = nn.Parameter(torch.ones(3, 1, 1))
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.calls, self.seen, self.recent, self.names = 0, [1], deque([1], maxlen=2), {"a"}
        self.nested: dict[str, Any] = {"of": [[1], (deque([2]),)]}
        self.state, self.memory = SimpleNamespace(calls=0, seen=[]), torch.zeros(3, 1, 1)

    def forward(self, x: Tensor) -> Any:
        """Change it, and run it."""
        self.change(self, x)
        y = self.layers((x + self.mean) * self.scale)
        return y * (1 + 0 * y.sum().item()) if self.reads else y


def learn(m: Any, x: Tensor) -> None:
    """Run a backward pass of its own."""
    with torch.enable_grad():
        (x * m.scale).sum().backward()


def count(state: Any, x: Tensor) -> None:
    """Count in an object, and keep what it counts."""
    state.calls += 1
    state.seen.append(x)


CHANGES: dict[str, Callable[[Any, Tensor], Any]] = {
    "adds a layer": lambda m, _x: setattr(m, "more", nn.Conv2d(3, 3, 1)),
    "adds a layer below": lambda m, _x: m.layers.append(nn.Identity()),
    "takes a layer away": lambda m, _x: m.layers.__delitem__(2),
    "replaces a parameter": lambda m, _x: setattr(m, "scale", nn.Parameter(torch.ones(3, 1, 1))),
    "replaces a buffer": lambda m, _x: setattr(m, "mean", m.mean + 1),
    "adds a buffer": lambda m, x: m.register_buffer("new", x.detach()),
    "counts": lambda m, _x: setattr(m, "calls", m.calls + 1),
    "removes an attribute": lambda m, _x: delattr(m, "calls") if hasattr(m, "calls") else None,
    "keeps": lambda m, x: (m.seen.append(x), m.recent.append(x), m.names.add("b")),
    "keeps in what a dictionary holds": lambda m, x: (m.nested["of"][0].append(x), m.nested["of"][1][0].append(x)),
    "counts in an object": lambda m, x: count(m.state, x),
    "changes a plain tensor": lambda m, _x: m.memory.add_(1),
    "changes a buffer": lambda m, _x: m.mean.add_(1),
    "changes data": lambda m, _x: m.scale.data.mul_(2),
    "assigns data": lambda m, _x: setattr(m.scale, "data", m.scale.data * 2),
    "freezes": lambda m, _x: m.layers.requires_grad_(False),
    "hooks": lambda m, _x: m.layers.register_forward_hook(lambda *_: None),
    "evaluates": lambda m, _x: m.layers.train(not m.layers.training),
    "becomes another": lambda m, _x: setattr(m.layers[2], "__class__", nn.Identity),
    "learns": learn,
}


@pytest.mark.parametrize("reads", [False, True], ids=["meta", "real"])
@pytest.mark.parametrize("name", CHANGES)
def test_a_module_that_changes_itself_is_as_before(name: str, reads: bool) -> None:
    """In every mode of passes, which each run its forward."""
    network = Changes(CHANGES[name], reads).train()
    network.layers[0].eval()
    network.scale.grad = torch.full((3, 1, 1), 2.0)
    before = fingerprint(network)
    audit = inspected(network, IMAGE).audit
    assert audit is not None
    assert audit.mode == "real" or not reads
    assert fingerprint(network) == before


def test_a_fingerprint_sees_every_change() -> None:
    """Else the test above would see none."""
    for name, change in CHANGES.items():
        network = Changes(change, reads=False)
        before = fingerprint(network)
        network(torch.rand(IMAGE))
        assert fingerprint(network) != before, name


def compiled(network: nn.Module) -> nn.Module:
    """A module that torch compiles when it runs."""
    made: Any = torch.compile(network, backend="eager")
    wrapped: nn.Module = made
    return wrapped


def compiled_in_place() -> nn.Module:
    """A module whose call torch compiles."""
    network = plain()
    network.compile(backend="eager")
    return network


@pytest.mark.filterwarnings("ignore:.*torch.nn.utils.weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: compiled(plain()),
        compiled_in_place,
        lambda: nn.Sequential(compiled(plain())),
        lambda: nn.DataParallel(plain()),
        lambda: nn.Sequential(nn.DataParallel(plain())),
        lambda: nn.DataParallel(compiled(plain())),
        lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 1)),
        lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 1)),
        lambda: nn.utils.weight_norm(nn.Conv2d(3, 4, 1)),
        lambda: nn.utils.spectral_norm(nn.Conv2d(3, 4, 1)),
        lambda: plain().half(),
        lambda: plain().bfloat16(),
        lambda: plain().double(),
        lambda: plain().to("meta"),
        lambda: plain().eval(),
    ],
)
def test_a_module_that_is_wrapped_or_converted_is_accused_of_nothing(make: Callable[[], nn.Module]) -> None:
    """And it is as before."""
    network = make()
    before = fingerprint(network)
    assert found(network) == []
    assert fingerprint(network) == before


@pytest.mark.parametrize("wrap", [compiled, nn.DataParallel], ids=["compiled", "parallel"])
def test_paths_are_those_of_the_module_that_was_wrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    """Without `module.` or `_orig_mod.`, which its own code does not have."""

    class Idle(nn.Sequential):
        def forward(self, x: Tensor) -> Any:
            return self[0](x)

    network = wrap(Idle(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)))
    assert found(network) == [("never_called", ("1",))]


def test_a_quantised_module_is_audited() -> None:
    """Its weights are neither parameters nor buffers."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    quantise: Any = torch.ao.quantization.quantize_dynamic
    try:
        with warnings.catch_warnings(action="ignore"):  # torch.ao is deprecated, and its modules are in use
            quantised = quantise(network, {nn.Linear})
    except RuntimeError as error:
        pytest.skip(f"torch has no quantised layers here: {error}")
    assert found(quantised) == []


class Generates(nn.Module):
    """Its forward is a generator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x: Tensor) -> Iterator[Tensor]:
        """Yield one map."""
        yield self.conv(x)


class Raises(nn.Sequential):
    """Has a hook that raises."""

    def __init__(self, register: str) -> None:
        super().__init__(*plain())
        getattr(self[1], register)(self.fail)

    def fail(self, *_: Any) -> None:
        """Raise."""
        raise KeyError("hooked")


class NoInput(nn.Module):
    """Takes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.layer = nn.Parameter(torch.ones(3)), nn.Linear(3, 2)

    def forward(self) -> Any:
        """Run its own parameter."""
        return self.layer(self.start)


def test_a_module_that_is_distributed_is_audited_as_it_was() -> None:
    """A real one needs a group of processes."""
    network, wrapped = plain(), DistributedDataParallel.__new__(DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = compiled(network)
    assert original(wrapped) is network
    assert found(wrapped) == []


ERRORS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a generator": (Generates, "Generates must return tensors, got generator"),
    "a hook": (lambda: Raises("register_forward_hook"), "running Raises failed: KeyError: 'hooked'"),
    "a hook before": (lambda: Raises("register_forward_pre_hook"), "running Raises failed: KeyError: 'hooked'"),
    "lazy": (lambda: nn.LazyConv2d(4, 3), "LazyConv2d has lazy layers without shapes (weight): run it once first"),
    "another device": (lambda: nn.Sequential(plain(), Reads().to("meta")), "cannot be called on meta tensors"),
}


class Reads(nn.Module):
    """Reads a value, which tensors on the meta device do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Any:
        """Multiply by it."""
        return x * self.scale * self.scale.item()


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_audited_is_a_clear_error(name: str) -> None:
    """And the module is as before."""
    make, message = ERRORS[name]
    network = make()
    before = fingerprint(network) if name != "lazy" else None
    with pytest.raises(MnfpnError, match=re.escape(message)):
        inspected(network, IMAGE)
    assert before is None or fingerprint(network) == before


def traced(network: Any) -> Any:
    """What torch.jit makes of a pass."""
    trace: Any = torch.jit.trace
    return trace(network, torch.rand(IMAGE))


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is (deprecated|not supported)")
@pytest.mark.parametrize("script", [torch.jit.script, traced], ids=["scripted", "traced"])
def test_torchscript_is_refused(script: Callable[[nn.Module], nn.Module]) -> None:
    """Whole, inside another module, or compiled."""
    made = script(plain().eval())
    for network in (made, nn.Sequential(made)):
        with pytest.raises(MnfpnError, match="is TorchScript, whose layers do not run in Python: pass the module"):
            inspected(network, IMAGE)


def test_a_module_may_take_no_inputs() -> None:
    """Then the pass has none; one that wants some says so."""
    audit = inspect_workload(Workload(external_module(NoInput()), TensorInputs(()))).audit
    assert audit is not None
    assert audit.clean
    with pytest.raises(UsageError, match=r"forward of Sequential takes \(input.*\).*, got 0 inputs"):
        inspect_workload(Workload(external_module(plain()), TensorInputs(())))


def test_values_on_the_meta_device_are_none() -> None:
    """A pass on real tensors takes random ones."""
    image = torch.rand(IMAGE, device="meta")
    audit = inspect_network(nn.Sequential(plain(), Reads()), [[Input(IMAGE, None, image)]]).audit
    assert audit is not None
    assert (audit.mode, audit.findings) == ("real", ())


PLACES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "nowhere": nullcontext,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "meta": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


@pytest.mark.parametrize("reads", [False, True], ids=["meta", "real"])
@pytest.mark.parametrize("place", PLACES)
def test_the_state_of_torch_changes_no_answer(place: str, reads: bool) -> None:
    """Neither findings nor shapes nor bytes; and the state is as before."""
    network = nn.Sequential(plain(), Reads()) if reads else plain()
    expected = inspected(network, IMAGE)
    before = fingerprint(network)
    with PLACES[place]():
        state = state_of_torch()
        observed = inspected(network, IMAGE)
        assert state_of_torch() == state
    assert observed.audit == expected.audit
    assert observed.audit is not None
    assert observed.audit.findings == ()
    assert observed.trace.eval_pass.outputs == expected.trace.eval_pass.outputs
    assert observed.trace.eval_pass.peak_bytes == expected.trace.eval_pass.peak_bytes
    assert fingerprint(network) == before


def test_values_that_were_made_in_inference_mode_are_copied() -> None:
    """Gradients cannot pass through the tensor itself."""
    network = nn.Sequential(plain(), Reads())
    with torch.inference_mode():
        audit = inspect_network(network, [[Input(IMAGE, None, torch.rand(IMAGE))]]).audit
    assert audit is not None
    assert (audit.findings, len(audit.notes)) == ((), 1)


def state_of_torch() -> tuple[Any, ...]:
    """What a caller may have set."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().tolist(),
    )


@pytest.fixture
def float64() -> Iterator[None]:
    """Make numbers of 8 bytes in the test."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Allow only deterministic algorithms in the test."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("settings", ["float64", "deterministic"])
def test_defaults_of_torch_are_kept(settings: str, request: pytest.FixtureRequest) -> None:
    """A network of float32 is audited in float32, whatever the default is."""
    networks = plain(), nn.Sequential(plain(), Reads())
    request.getfixturevalue(settings)
    state = state_of_torch()
    assert [found(network) for network in networks] == [[], []]
    assert inspected(networks[1], IMAGE).trace.eval_pass.outputs[0][2] == 4
    assert state_of_torch() == state


def test_a_module_that_was_made_in_inference_mode_is_a_note() -> None:
    """No gradient can be followed through its tensors; all else is audited."""
    with torch.inference_mode():
        network = plain()
    audit = inspected(network, IMAGE).audit
    assert audit is not None
    assert audit.findings == ()
    assert "Inference tensors cannot be saved for backward" in audit.notes[0]


def test_it_runs_in_an_event_loop_and_in_a_thread() -> None:
    """As from a notebook or a server."""

    async def run() -> list[Any]:
        return [found(plain()), await asyncio.to_thread(found, plain())]

    assert asyncio.run(run()) == [[], []]


def test_threads_take_turns() -> None:
    """Each pass sets state of torch that all threads share; a module that changes itself is as before."""
    inside, most, lock = [0], [0], Lock()

    def enter(m: Any, x: Tensor) -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        m.seen.append(x)
        m.scale.data.mul_(2)
        with lock:
            inside[0] -= 1

    network = Changes(enter, reads=True)
    before = fingerprint(network)
    with ThreadPoolExecutor(4) as pool:
        audits = [one.audit for one in pool.map(lambda _: inspected(network, IMAGE), range(8))]
    assert most == [1]
    assert all(audit == audits[0] for audit in audits)
    assert fingerprint(network) == before


def test_a_network_that_another_thread_runs_is_not_recorded() -> None:
    """Hooks of all modules see its calls too."""
    other = plain()

    def run_other(_m: Any, _x: Tensor) -> None:
        thread = Thread(target=lambda: other(torch.rand(IMAGE)))
        thread.start()
        thread.join()

    inspection: Inspection = inspected(Changes(run_other, reads=False), IMAGE)
    called = {event.module for event in inspection.trace.events if isinstance(event, ModuleCall)}
    assert called.isdisjoint(other.modules())
    assert inspection.audit is not None
    assert inspection.audit.findings == ()


class HidesAttributes:
    """Raises where it is asked for what it has not."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)


class RaisesInItems(dict[str, int]):
    """Does not show what it holds."""

    def values(self) -> Any:
        """Refuse."""
        raise RuntimeError("values")


class NotComparable:
    """Raises where it is compared."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")


OWNER = plain()

ODD: dict[str, Callable[[], Any]] = {
    "an object that hides attributes": HidesAttributes,
    "a dictionary that raises": lambda: RaisesInItems(a=1),
    "objects that cannot be compared": lambda: [NotComparable(), {"a": NotComparable()}],
    "a weak reference": lambda: weakref.proxy(OWNER),
    "a queue": Queue,
    "a lock": Lock,
    "a file": lambda: sys.stdin,
    "a sparse tensor": lambda: torch.eye(3).to_sparse(),
    "a nested tensor": lambda: torch.nested.nested_tensor([torch.rand(2)]),
    "an empty tensor": lambda: torch.empty(0),
    "a tensor of one number in many places": lambda: torch.rand(1).expand(5),
    "a generator of random numbers": torch.Generator,
}


@pytest.mark.filterwarnings("ignore:.*PyTorch API of nested tensors is in prototype stage:UserWarning")
@pytest.mark.parametrize("reads", [False, True], ids=["meta", "real"])
@pytest.mark.parametrize("name", ODD)
def test_an_attribute_may_be_anything(name: str, reads: bool) -> None:
    """The search for hidden layers, and the restore, skip what does not let itself be read."""
    network = nn.Sequential(plain(), *[Reads()] * reads)
    value: Any = ODD[name]()
    vars(network)["odd"] = value
    assert found(network) == []
    assert vars(network)["odd"] is value


def test_a_list_that_refers_to_itself_ends() -> None:
    """As a parent that its children refer to."""
    network = plain()
    circle: list[Any] = [network]
    circle.append(circle)
    vars(network)["circle"] = circle
    assert found(network) == []
    assert circle[0] is network
    assert circle[1] is circle
