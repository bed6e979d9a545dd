"""Networks that others wrote, in every runtime that takes them: the same as the network itself returns."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.external.origin import External, FromSettings, Inputs, TensorInputs
from mnfpn_cli.external.target import InputSpec, parse_target
from mnfpn_cli.measure.verify import largest_difference
from mnfpn_cli.runtimes import eager
from mnfpn_cli.runtimes.runtime import Job, as_tensors, load_runtime, unavailable_reason
from mnfpn_cli.settings.input import DType, NetworkInput, Size
from mnfpn_cli.settings.measuring import runtime_names
from mnfpn_cli.trace.inputs import input_tensors
from tests.bench.others import Detector, Levels, Words
from tests.runtimes.jobs import CPU, TINY

OTHERS = External(parse_target("tests.bench.others:Levels"))
HERE = [name for name in runtime_names() if unavailable_reason(name, OTHERS, CPU, "float32", False) is None]
IMAGES = NetworkInput(2, 3, Size(16, 32))
WORDS = TensorInputs((InputSpec((2, 5), "int64"), InputSpec((2, 5, 1))))
NETWORKS: dict[str, tuple[type[nn.Module], Inputs]] = {
    "dictionary": (Levels, IMAGES),
    "several inputs and whole numbers": (Words, WORDS),
    "an object": (Detector, IMAGES),
}


def job(network: nn.Module, inputs: Inputs, train: bool = False) -> Job:
    """A job on a copy of a network."""
    return Job(deepcopy(network), False, input_tensors(inputs), CPU, "float32", train)


@torch.inference_mode()
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", HERE)
def test_outputs_are_the_networks_own(name: str, network: str) -> None:
    """In order, in shape and in element type, in every pass."""
    make, inputs = NETWORKS[network]
    made = make().eval()
    expected = as_tensors(made(*input_tensors(inputs)))
    prepared = load_runtime(name).prepare(job(made, inputs))
    for _ in range(2):
        found = prepared.outputs(prepared.run())
        assert [(one.shape, one.dtype) for one in found] == [(one.shape, one.dtype) for one in expected]
        assert largest_difference(found, expected) < 1e-4  # rounding: each runtime has kernels of its own


def test_every_runtime_says_whether_it_takes_them() -> None:
    """One does not, wherever it would run; a network from settings is taken by that too."""
    refused = [name for name in runtime_names() if not load_runtime(name).ANY_NETWORK]
    assert refused == ["fused"]
    assert unavailable_reason("fused", OTHERS, CPU, "float32", False) == "networks from settings only"
    assert unavailable_reason("fused", FromSettings(TINY), CPU, "float32", False) is None


def test_only_floating_point_numbers_change_their_type_and_only_images_their_order() -> None:
    """Of inputs and of weights: an embedding's places, counters and complex numbers stay what they are."""
    network = Levels()
    network.register_buffer("turns", torch.ones(2, dtype=torch.complex64))
    network.register_buffer("volume", torch.ones(1, 2, 3, 4, 5))
    tensors = (torch.rand(1, 3, 8, 8), torch.zeros(2, 3, dtype=torch.int64))
    moved, (images, places) = eager.move(Job(network, False, tensors, CPU, "bfloat16"), torch.channels_last)
    types = {name: one.dtype for name, one in moved.state_dict().items()}
    assert types["norm.num_batches_tracked"] == torch.int64
    assert types["turns"] == torch.complex64
    assert types["fine.weight"] == types["volume"] == images.dtype == torch.bfloat16
    assert places.dtype == torch.int64
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert moved.get_parameter("fine.weight").is_contiguous(memory_format=torch.channels_last)


def test_float64_stays_beside_float32() -> None:
    """Where float32 is asked for: code has it for its precision. In another dtype, and where all is in float64, not."""

    def dtypes(network: nn.Module, dtype: DType) -> list[torch.dtype]:
        moved, _ = eager.move(Job(network, False, (), CPU, dtype), torch.contiguous_format)
        return [tensor.dtype for tensor in moved.state_dict().values()]

    def mixed() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False).double())

    assert dtypes(mixed(), "float32") == [torch.float32, torch.float64]
    assert dtypes(mixed(), "bfloat16") == [torch.bfloat16] * 2
    assert dtypes(mixed().double(), "float32") == [torch.float32] * 2


def test_a_step_trains_on_what_has_a_gradient() -> None:
    """Labels are whole numbers, and have no part in the loss; of labels alone there is none."""
    network = Detector()
    (images,) = input_tensors(IMAGES)
    score = deepcopy(network).train()(images).score
    loss = eager.prepare(job(network, IMAGES, train=True)).run()
    torch.testing.assert_close(loss, score.square().mean().detach())
    whole = Job(Words(), False, (torch.zeros(1, dtype=torch.int64), torch.zeros(1)), CPU, "float32", train=True)
    whole.network.register_forward_hook(lambda _network, _inputs, outputs: outputs[1])
    with pytest.raises(MnfpnError, match="no output is of floating-point numbers"):
        eager.prepare(whole).run()
