"""Write and read .pte files, which ExecuTorch runs on phones: their operators are XNNPACK's, in float32 or int8."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mnfpn_cli.export.job import DynamicAxis, FileJob, ReadFile
from mnfpn_cli.export.xnnpack import executorch_silenced, load, lower
from mnfpn_cli.measure.libraries import failure_in_words
from mnfpn_cli.settings.input import DType

SUFFIXES = (".pte",)
EXACT = False
DTYPES: tuple[DType, ...] = ("float32", "int8")
DYNAMIC: frozenset[DynamicAxis] = frozenset()

OUTPUTS_KEY = "mnfpn_outputs"
"""The method that returns the names of the outputs, with commas: a program has them in order, without names."""


def write(job: FileJob, path: Path) -> None:
    """Write a program whose method ``forward`` runs a pass; each text of the metadata is returned by a method.

    Raises:
        MnfpnError: where torch, torchao or ExecuTorch cannot convert the network.
    """
    texts = {OUTPUTS_KEY: ",".join(job.output_names), **job.metadata}
    with failure_in_words("ExecuTorch could not convert this network"):
        content = lower(job.network, job.inputs, job.quantization, texts).content
    path.write_bytes(content)


def read(path: Path, job: FileJob) -> ReadFile:
    """Load a file as an app does, to run on the CPU."""
    program = load(path.read_bytes())
    metadata = program.texts()

    def run(*inputs: Tensor) -> dict[str, Tensor]:
        outputs = [output.clone() for output in program(*inputs)]  # the next pass writes into the same memory
        return dict(zip(job.output_names, outputs, strict=True))

    return ReadFile(metadata, run)


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add a method that returns a text for each item of the metadata, or replace the one of that name."""
    with executorch_silenced():
        from executorch.exir._serialize import _deserialize_pte_binary, _serialize_pte_binary
        from executorch.exir.schema import Chain, ContainerMetadata, EValue, ExecutionPlan, String

        file = _deserialize_pte_binary(path.read_bytes())
        plans = file.program.execution_plan
        container = ContainerMetadata("", plans[0].container_meta_type.encoded_out_str)
        file.program.execution_plan = [plan for plan in plans if plan.name not in metadata] + [
            ExecutionPlan(
                name=name,
                container_meta_type=container,
                values=[EValue(String(text))],
                inputs=[],
                outputs=[0],
                chains=[Chain(inputs=[], outputs=[], instructions=[], stacktrace=None)],
                operators=[],
                delegates=[],
                non_const_buffer_sizes=[0],
            )
            for name, text in metadata.items()
        ]
        path.write_bytes(bytes(_serialize_pte_binary(file, extract_delegate_segments=True)))
