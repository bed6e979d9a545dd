"""What the API does with a module of the caller: right answers, clear errors, and the module exactly as before."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli import api
from mnfpn_cli.api.arguments import Sizes, size_texts
from mnfpn_cli.documents.sweep import MeasuredDocument
from mnfpn_cli.errors import MnfpnError, UsageError
from tests.sweep.pools import FakePool, steady

QUICK: dict[str, Any] = {"device": "cpu", "passes": 3, "warmup": 1}


class Net(nn.Module):
    """A network with all that a run could change: batch norm, dropout, a frozen layer, a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.frozen = nn.Conv2d(8, 8, 1).requires_grad_(False)
        self.drop = nn.Dropout()
        self.calls = 0
        self.stem.register_forward_hook(self.count)

    def count(self, *_: object) -> None:
        """Count the calls of the stem."""
        self.calls += 1

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of 8 channels."""
        result: Tensor = self.drop(self.frozen(self.norm(self.stem(x))))
        return result


def state(net: nn.Module) -> Iterator[object]:
    """Yield what a caller can see of a network."""
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        yield name, tensor.tolist(), tensor.dtype, str(tensor.device), tensor.requires_grad, tensor.grad is None
    for name, module in net.named_modules():
        yield name, module.training, len(module._forward_hooks), len(module._forward_pre_hooks)


CALLS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "shapes": lambda net, x: api.shapes(net, inputs=x),
    "summary": lambda net, x: api.summary(net, x),
    "audit": lambda net, x: api.audit(net, x),
    "bench": lambda net, x: api.bench(net, x, **QUICK),
    "bench training": lambda net, x: api.bench(net, torch.cat([x, x]), train=True, **QUICK),
    "compare": lambda net, x: api.compare(net, nn.Conv2d(3, 8, 3), x, **QUICK),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_exactly_as_before(call: Callable[[nn.Module, Tensor], object], training: bool) -> None:
    """Its parameters, buffers, modes and hooks, in either mode."""
    net = Net().train(training)
    before = list(state(net))
    call(net, torch.rand(1, 3, 16, 16))
    assert list(state(net)) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same_answers(mode: Callable[[], Any]) -> None:
    """An audit follows gradients, and a training step needs them, wherever they are called."""
    net, x = Net(), torch.rand(2, 3, 16, 16)
    expected = api.summary(net, x, audit=False)
    with mode():
        assert api.summary(net, x, audit=False) == expected
        assert api.bench(net, x, train=True, **QUICK).runs[0].train
        assert not torch.is_grad_enabled()


def test_two_threads_measure_one_after_the_other() -> None:
    """Each gets its own answer; what one of them prints, or changes for the process, does not reach the other."""
    found = dict[int, int]()

    def measure(channels: int) -> None:
        found[channels] = api.bench(nn.Conv2d(3, channels, 1), size=16, **QUICK).cost.parameters

    threads = [threading.Thread(target=measure, args=(channels,)) for channels in (4, 8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {4: 16, 8: 32}


def test_a_running_event_loop_is_no_obstacle() -> None:
    """As in a notebook, directly and in a thread of the loop."""

    async def measure() -> tuple[int, int]:
        direct = api.bench(nn.Conv2d(3, 4, 1), size=16, **QUICK).cost.parameters
        other = await asyncio.to_thread(lambda: api.summary(nn.Conv2d(3, 4, 1), size=16).totals.parameters)
        return direct, other

    assert asyncio.run(measure()) == (16, 16)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """What the network prints goes to standard error."""

    class Loud(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:
            print("loud")  # noqa: T201
            return super().forward(input)

    api.summary(Loud(3, 4, 1), size=16)
    api.bench(Loud(3, 4, 1), size=16, **QUICK)
    out, err = capfd.readouterr()
    assert out == ""
    assert "loud" in err


def test_progress_is_reported() -> None:
    """To a function, with what is being done and a share."""
    seen: list[tuple[str, float]] = []
    api.bench(nn.Conv2d(3, 4, 1), size=16, progress=lambda what, share: seen.append((what, share)), **QUICK)
    assert len({what for what, _ in seen}) > 1
    assert all(0 <= share <= 1 for _, share in seen)


@pytest.mark.parametrize("library", ["rich", "tqdm"])
def test_progress_may_be_a_bar(library: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """On standard error."""
    pytest.importorskip(library)
    api.bench(nn.Conv2d(3, 4, 1), size=16, progress=library, **QUICK)
    assert capfd.readouterr().out == ""


X = torch.rand(1, 3, 8, 8)
CONV = nn.Conv2d(3, 4, 1)
HEADED = api.settings("fpn-classifier")
SETTINGS = api.settings(config=[[1, 8, 1, 2]], overrides={"pyramid.channels": 8})

NESTED = 'passes: must be a tensor, a tuple of tensors, or a shape as "1x3x600x900", got an object of type tuple'


@pytest.mark.parametrize(
    ("size", "texts"),
    [
        ((96, 64), ["96x64"]),
        ([96, 64], ["96", "64"]),
        ([(96, 64), "32", 16], ["96x64", "32", "16"]),
        (96, ["96"]),
        ("96,64", ["96", "64"]),
    ],
)
def test_a_list_is_several_sizes_and_a_tuple_is_one(size: Sizes, texts: list[str]) -> None:
    """As in the lists of `batch`, `device` and `runtimes`: numbers in a list are squares."""
    assert size_texts(size) == texts


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: api.audit(5, X), "network: must be what settings() returns, an nn.Module, or a target as 'torchv"),  # type: ignore[arg-type]
    (lambda: api.audit(nn.Conv2d, X), "network: must be what settings() returns, "),  # type: ignore[arg-type]
    (lambda: api.audit("nothing", X), "network: must be package.module:attribute or path/to/file.py:attribute"),
    (lambda: api.audit(CONV), "passes: must be given for a network without settings: a tensor, a tuple of tensors"),
    (lambda: api.audit(HEADED, size=["96", "128"]), "size: must be one for a network that is made for one size"),
    (lambda: api.audit(CONV, (one for one in [X])), "passes: must be a tensor, a tuple of tensors, or a shape"),  # type: ignore[arg-type]
    (lambda: api.audit(CONV, ()), 'passes: must be a tensor, a tuple of tensors, or a shape as "1x3x600x900", got an '),
    (lambda: api.audit(CONV, ((X,),)), NESTED),  # type: ignore[arg-type]
    (lambda: api.audit(CONV, "1x"), "passes: must be a shape, as 1x3x600x900"),
    (lambda: api.audit(CONV, torch.tensor(1.0)), "passes: a tensor must have a dimension or more"),
    (lambda: api.audit(CONV, X, size=8), "size: cannot be used with passes, which already gives the shape"),
    (lambda: api.audit(SETTINGS, X), "passes: must be left out for a network from settings, which takes size"),
    (lambda: api.audit(CONV, X, weights="a.pth"), "weights: must be left out for a network without settings"),
    (lambda: api.audit(SETTINGS, weights_key="ema"), "weights_key: requires weights"),
    (lambda: api.shapes(SETTINGS, weights_key=3), "weights_key: must be text, got an object of type int"),  # type: ignore[arg-type]
    (lambda: api.summary(CONV, size=(8, "8")), 'size: must be as "600x900", (600, 900), or 600'),  # type: ignore[arg-type]
    (
        lambda: api.shapes(SETTINGS, dtype="float8"),  # type: ignore[arg-type]
        "dtype: must be one of float32, bfloat16, float16, int8, got 'float8'",
    ),
    (lambda: api.shapes(SETTINGS, batch=0), "batch: must be a whole number from 1 to 65536, got 0"),
    (lambda: api.shapes(CONV, 64, verify=True), "verify: must be left out for a network without settings"),
    (lambda: api.bench(CONV, X, batch=2), "batch: cannot be used with inputs, which already gives the shape"),
    (lambda: api.bench(CONV, X, runtimes="eagre"), "runtime: must be one of "),
    (lambda: api.bench(CONV, X, runtimes=[]), "runtimes: must be a name, or a list of names, got []"),
    (lambda: api.bench(CONV, X, device="gpu"), "device: must be auto, cpu, cuda, cuda:N or mps, got 'gpu'; did you"),
    (lambda: api.bench(CONV, X, passes=0), "passes: must be a whole number of 1 or more, got 0"),
    (lambda: api.bench(CONV, X, precision=2), "precision: must be more than 0 and less than 100%"),
    (lambda: api.bench(CONV, X, passes=3, precision="1%"), "precision: cannot be used with passes"),
    (lambda: api.bench(CONV, X, max_time="1s"), "max_time: must be a number, got '1s'"),  # type: ignore[arg-type]
    (lambda: api.bench(CONV, X, by_layer=True), "by_layer: cannot be used with a network without settings"),
    (lambda: api.bench(SETTINGS, by_layer=True, train=True), "by_layer: cannot be used with train, since layers"),
    (lambda: api.bench(CONV, X, progress="bar"), 'progress: must be a function of what and share, "tqdm" or "rich"'),  # type: ignore[arg-type]
    (lambda: api.bench(CONV, X, progress=np.zeros(2)), "progress: must be a function of what and share"),  # type: ignore[arg-type]
    (lambda: api.bench(CONV, X, train="no"), "train: must be True or False, got 'no'"),  # type: ignore[arg-type]
    (lambda: api.compare(CONV, CONV, X, train=1), "train: must be True or False, got 1"),  # type: ignore[arg-type]
    (lambda: api.sweep({"width_mult": 1}, dry_run="yes"), "dry_run: must be True or False, got 'yes'"),  # type: ignore[arg-type]
    (lambda: api.export(SETTINGS, "a.onnx", "onnx", dynamic=0), "dynamic: must be a name, or a list of names, got 0"),  # type: ignore[arg-type]
    (lambda: api.compare(CONV, api.Side(CONV, "all"), X), "b: runtime: must be one, got all"),
    (lambda: api.compare(CONV, "b.json"), "a, b: must both be networks, or both be results of bench"),
    (lambda: api.compare("a.json", "b.json", size=8), "size: cannot be used with results, which are measured already"),
    (lambda: api.sweep(), "space: must be a dictionary of choices, or the name of a JSON file, got none"),
    (lambda: api.sweep([1]), "space: must be a dictionary of choices, or the name of a JSON file, got an object of"),  # type: ignore[arg-type]
    (lambda: api.sweep({"width": [1]}), "space: width: "),
    (lambda: api.sweep({"width_mult": {1}}), "space: must be what JSON can say"),
    (lambda: api.sweep({"width_mult": 1}, max_macs="5X"), "max_macs: must be a number of 1 or more, as 5G"),
    (lambda: api.sweep({"width_mult": 1}, measure="some"), "measure: must be all, none or a number of runs"),
    (lambda: api.sweep(resume=True), "store: must be given, to resume its sweeps"),
    (lambda: api.export(CONV, "a.onnx", "onnx"), "inputs: must be given for a network without settings: a tensor"),
    (lambda: api.export(CONV, "a.onnx", "onnx", size=32, opset=0), "opset: must be a whole number from 1 to 100"),
    (lambda: api.export(CONV, "a.onnx", "onnx", size=32, std=0), "std: must be above 0"),
    (
        lambda: api.export(CONV, "a.pt2", "torch-export", size=32, keep_float="0"),
        "keep_float: requires dtype int8; float32 quantises nothing",
    ),
    (lambda: api.export(SETTINGS, "a.onnx", "safetensors"), "file: must not end in .onnx, as safetensors is written"),
    (
        lambda: api.export(SETTINGS, "a.onnx", "onyx"),  # type: ignore[arg-type]
        "format: must be one of onnx, torch-export, safetensors, openvino,",
    ),
    (lambda: api.recommend("none.db"), "recommend: must have a budget (max_macs, "),
    (lambda: api.recommend("none.db", max_latency=-1), "max_latency: must be a duration above 0"),
    (lambda: api.recommend(space={"size": "64"}, max_latency=1, batch=2), "batch: cannot be used with space"),
    (lambda: api.recommend(space={"size": "64"}, max_latency=1, metric="map"), "metric: must be macs or imagenet-top1"),
    (
        lambda: api.sweep(store="x.db", resume=True, max_macs="2G", passes=3, by_layer=True),
        "max_macs, passes, by_layer: cannot be used with resume, which keeps the options of each sweep",
    ),
    (
        lambda: api.sweep(store="x.db", resume=True, space={"batch": [1]}),
        "space: cannot be used with resume, which keeps the options of each sweep",
    ),
    (
        lambda: api.sweep({"batch": [1]}, passes=3, again=True, max_latency="3ms"),
        "passes, again, max_latency: cannot be used without store, since nothing is measured",
    ),
    (lambda: api.compare("a.json", "b.json", seed=3, device="cpu"), "device, seed: cannot be used with results, which"),
    (lambda: api.summary(CONV, X, counts="no"), "counts: must be True or False, got 'no'"),  # type: ignore[arg-type]
    (lambda: api.shapes(SETTINGS, verify=1), "verify: must be True or False, got 1"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_described_in_pythons_names(call: Callable[[], object], message: str) -> None:
    """The argument, the rule and the value."""
    with pytest.raises(UsageError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_network_that_fails_is_an_error_with_its_reason() -> None:
    """Not a traceback from inside."""
    with pytest.raises(MnfpnError, match=r"^running Conv2d failed: .* 3 channels"):
        api.audit(CONV, torch.rand(1, 5, 8, 8))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.LazyConv2d(4, 3), r"LazyConv2d has lazy layers without shapes \(weight\): run it once first"),
        (nn.Conv2d(3, 4, 3, device="meta"), r"Conv2d has no values on the meta device \(weight\)"),
    ],
    ids=["lazy", "meta"],
)
def test_a_network_without_values_is_not_timed(network: nn.Module, reason: str) -> None:
    """The message says what to do, instead of what torch raised."""
    with pytest.raises(MnfpnError, match=f"^{reason}"):
        api.bench(network, X, **QUICK)


def test_a_file_that_cannot_be_written_is_named_as_the_argument_is(tmp_path: Any) -> None:
    """In Python it is `file`; on the command line, --output."""
    with pytest.raises(MnfpnError, match=r"^file: .* could not be written"):
        api.export(SETTINGS, tmp_path / "no" / "a.safetensors", "safetensors", size=64)


def test_two_results_are_compared_as_documents_and_as_files(tmp_path: Any) -> None:
    """With the gates judged, and no exit."""
    first = api.bench(CONV, size=8, **QUICK)
    second = api.bench(nn.Conv2d(3, 64, 1), size=8, **QUICK)
    found = api.compare(first, second, fail_if_larger="1%")
    assert any("parameters" in one for one in found.gates.broken)
    file = tmp_path / "a.json"
    file.write_text(first.model_dump_json())
    assert api.compare(file, str(file)).a.parameters == 16


def test_a_sweep_is_measured_resumed_and_recommended(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store keeps what was measured; progress is that of the runs."""
    monkeypatch.setattr("mnfpn_cli.sweep.case.local_pool", lambda: nullcontext(FakePool(steady)))
    store, shares = str(tmp_path / "runs.db"), list[float]()
    space = {"width_mult": [0.5, 1.0], "size": "64", "device": "cpu"}
    planned = api.sweep(space, store=store, measure="none")
    assert planned.command == "sweep"
    found = api.sweep(resume=True, store=store, progress=lambda _what, share: shares.append(share))
    assert isinstance(found, MeasuredDocument)
    assert found.counts.done == 2
    assert shares[-1] == 1.0
    again = api.sweep(resume=True, store=store)
    assert isinstance(again, MeasuredDocument)
    assert again.warnings[-1].startswith("nothing to resume in ")
    (recommendation,) = api.recommend(store, max_macs="100G", batch=1).recommendations
    assert recommendation.picks
