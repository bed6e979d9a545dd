"""Write and read .mlpackage folders, which Core ML runs on Apple's devices, in float32 or float16.

There is no int8: coremltools finds the ranges of activations by running Core ML, which only a Mac has. Weights alone in
int8 are another thing: they make a file smaller, and every layer still computes in floating point.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mnfpn_cli.errors import CheckError, MnfpnError
from mnfpn_cli.export.job import DynamicAxis, FileJob, ReadFile
from mnfpn_cli.export.program import trace_pass
from mnfpn_cli.measure.libraries import failure_in_words, loggers_silenced, native_stderr_silenced, warnings_silenced
from mnfpn_cli.settings.input import DType

SUFFIXES = (".mlpackage",)
EXACT = False
DTYPES: tuple[DType, ...] = ("float32", "float16")
DYNAMIC: frozenset[DynamicAxis] = frozenset()

UNCHECKED = "Core ML runs on Apple's devices alone: shapes were checked, values were not"
"""Why nothing runs the file."""

LOGGERS = ("torchao", "torch.utils._pytree", "coremltools")
"""Loggers that report at import: libraries that do not load on this system, and versions that were not tested."""


def write(job: FileJob, path: Path) -> None:
    """Write a package with an ML program, for iOS 15, macOS 12 and later; inputs and outputs are in float32.

    Raises:
        MnfpnError: where torch or coremltools cannot convert the network.
    """
    with failure_in_words("coremltools could not convert this network"), coreml_silenced():
        _converted(job, path)


def _converted(job: FileJob, path: Path) -> None:
    import coremltools

    program = trace_pass(job.network, job.inputs).run_decompositions({})
    names = dict(zip(program.graph_signature.user_inputs, job.input_names, strict=True))
    names |= dict(zip(program.graph_signature.user_outputs, job.output_names, strict=True))
    precision = coremltools.precision.FLOAT16 if job.dtype == "float16" else coremltools.precision.FLOAT32
    coremltools.convert(
        program,
        source="pytorch",
        convert_to="mlprogram",
        compute_precision=precision,
        minimum_deployment_target=coremltools.target.iOS15,  # from iOS 16 on, outputs would be in float16
        skip_model_load=True,
        package_dir=str(path),
    )
    with _description_of(path) as spec:
        _check_new(spec, {new for old, new in names.items() if new != old})
        for old, new in names.items():
            coremltools.utils.rename_feature(spec, old, new)
        spec.description.metadata.userDefined.update(job.metadata)


@contextmanager
def _description_of(path: Path) -> Iterator[Any]:
    """Read the description and the program of a package, and write them back after this block; weights stay."""
    import coremltools

    spec = coremltools.utils.load_spec(str(path))
    yield spec
    (model,) = path.glob("Data/*/*.mlmodel")
    model.write_bytes(spec.SerializeToString())


def _check_new(spec: Any, names: Iterable[str]) -> None:
    """Check that no value inside the program has one of these names: Core ML would take it for the output."""
    functions = spec.mlProgram.functions.values()
    blocks = [block for function in functions for block in function.block_specializations.values()]
    values = {output.name for block in blocks for operation in block.operations for output in operation.outputs}
    if taken := sorted(values & set(names)):
        raise MnfpnError(f"an output must have a name that no value inside the program has, got {', '.join(taken)}")


def read(path: Path, job: FileJob) -> ReadFile:
    """Load the description of a package, and check the names and shapes of inputs and outputs: nothing here runs it.

    Raises:
        CheckError: where they are not the network's.
    """
    with coreml_silenced():
        import coremltools

        spec = coremltools.utils.load_spec(str(path))
    inputs = dict(zip(job.input_names, (tuple(tensor.shape) for tensor in job.inputs), strict=True))
    if (found := _shapes(spec.description.input)) != inputs:
        raise CheckError(f"its inputs must be {inputs}, got {found}")
    outputs = {name: tuple(tensor.shape) for name, tensor in job.network(*job.inputs).items()}
    if (found := _shapes(spec.description.output)) != outputs:
        raise CheckError(f"its outputs must be {outputs}, got {found}")
    return ReadFile(dict(spec.description.metadata.userDefined), None, UNCHECKED)


def _shapes(features: Iterable[Any]) -> dict[str, tuple[int, ...]]:
    return {feature.name: tuple(feature.type.multiArrayType.shape) for feature in features}


def annotate(path: Path, metadata: Mapping[str, str]) -> None:
    """Add metadata to the description of a package."""
    with coreml_silenced(), _description_of(path) as spec:
        spec.description.metadata.userDefined.update(metadata)


@contextmanager
def coreml_silenced() -> Iterator[None]:
    """Silence what coremltools reports at import, its progress bars, and torch's warnings when it reads a graph."""
    cleaned = ("Implicitly cleaning up", ResourceWarning)  # a folder for weights
    leafs = r"`isinstance\(treespec, LeafSpec\)` is deprecated"  # torch itself copies such an object
    with (
        loggers_silenced(LOGGERS),
        warnings_silenced((leafs, FutureWarning), ("", DeprecationWarning), cleaned),
        native_stderr_silenced(),
    ):
        yield
