"""ONNX Runtime, on the network as `mnfpn export` writes it: weights folded, for one size; or on one of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnfpn_cli.devices.choose import device_of
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.measure.memory import ran_out_of_memory
from mnfpn_cli.runtimes.runtime import Job, Prepared
from mnfpn_cli.settings.input import DType
from mnfpn_cli.text import first_line

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What writes the file, and what runs it."""

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


TYPES = {
    "tensor(float)": torch.float32,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(uint8)": torch.uint8,
    "tensor(bool)": torch.bool,
}
"""What it calls the types of elements."""

ANY_NETWORK = True


def impossible(device: torch.device, dtype: DType, train: bool) -> str | None:
    """It runs float32 forward, on CPUs, and on GPUs where it is installed for them."""
    if train:
        return "inference only"
    if any(find_spec(name) is None for name in PACKAGES):
        return "not installed: pip install 'mnfpn[onnx]'"
    if device.type not in PROVIDERS:
        return "runs on the CPU and on CUDA alone"
    if dtype != "float32":
        return "float32 only"
    return _missing_for_cuda() if device.type == "cuda" else None


def _missing_for_cuda() -> str | None:
    onnxruntime = import_onnxruntime()
    there = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
    return None if there else "installed for CPUs only: pip install onnxruntime-gpu"


def prepare(job: Job) -> Prepared:
    """Write the network as ONNX, and open it. Inputs and outputs are torch's: a pass copies neither.

    Raises:
        MnfpnError: where the network cannot be written, or ONNX Runtime cannot run it.
    """
    inputs = tuple(one.to(job.device).contiguous() for one in job.inputs)
    try:
        run = _bound(_session(_written(job), job.device), inputs)
        run()
    except MnfpnError:
        raise
    except Exception as error:  # ONNX Runtime's have no class in common
        if ran_out_of_memory(error):
            raise
        raise MnfpnError(f"ONNX Runtime cannot run the network: {first_line(error)}") from error
    return Prepared(run, outside_torch=job.device.type == "cuda")


@dataclass(frozen=True)
class BoundPass:
    """A pass from inputs to outputs, both where they are. The binding knows their addresses alone: this keeps them."""

    session: "InferenceSession"
    binding: "IOBinding"
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    def __call__(self) -> Sequence[Tensor]:
        """Run once."""
        self.session.run_with_iobinding(self.binding)
        return self.outputs


def _written(job: Job) -> bytes:
    from mnfpn_cli.export import onnx as as_onnx  # takes two seconds, which only a run should pay

    return as_onnx.write_pass(job.network, job.inputs)


def _session(content: bytes, device: torch.device) -> "InferenceSession":
    onnxruntime = import_onnxruntime()
    provider = PROVIDERS[device.type]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would go on looking for work after a pass, and take the cores from the runtime that is timed next:
    # eager PyTorch took twice as long after it.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    settings: dict[str, Any] = {"device_id": device.index or 0} if device.type == "cuda" else {}
    # Its fallback to the CPU would tell so on standard output, which is the result's.
    session = onnxruntime.InferenceSession(content, options, providers=[(provider, settings)], enable_fallback=0)
    if session.get_providers()[0] != provider:  # it falls back to the CPU, and says so in its log alone
        raise MnfpnError(f"ONNX Runtime's {provider} does not start on this machine")
    return session


def _bound(session: "InferenceSession", inputs: Sequence[Tensor]) -> BoundPass:
    device = inputs[0].device
    for one in session.get_outputs():
        if not all(isinstance(side, int) and side for side in one.shape):
            shape = "×".join(map(str, one.shape))
            raise MnfpnError(f"its output {one.name} is {shape}: an output must not be empty, nor depend on numbers")
    outputs = [torch.empty(one.shape, dtype=TYPES[one.type], device=device) for one in session.get_outputs()]
    binding = session.io_binding()
    for one, tensor in zip(session.get_inputs(), inputs, strict=True):
        binding.bind_input(one.name, *_place(tensor))
    for one, tensor in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_output(one.name, *_place(tensor))
    device_of(device).synchronize()  # ONNX Runtime has a stream of its own
    return BoundPass(session, binding, inputs, outputs)


def _place(tensor: Tensor) -> tuple[str, int, str, tuple[int, ...], int]:
    """Where a tensor is, and of what."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return tensor.device.type, tensor.device.index or 0, dtype, tuple(tensor.shape), tensor.data_ptr()
