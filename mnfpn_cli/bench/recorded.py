"""Read result files of `mnfpn bench`: what of them is compared. No torch here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from mnfpn_cli import FORMAT_VERSION
from mnfpn_cli.errors import MnfpnError, UsageError
from mnfpn_cli.external.inputs import Inputs, TensorInputs
from mnfpn_cli.external.target import InputSpec, Target
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.files import parse_json
from mnfpn_cli.settings.input import NetworkInput, Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError, describe

Seconds = Annotated[float, Field(strict=True, ge=1e-12, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:_-]{0,40}$")]
"""The name of a runtime, a device, a dtype: nothing else comes into the titles of tables."""


class Model(BaseModel):
    """A part of a result file; keys that are not compared are left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class RecordedTensor(Model):
    """The shape of a tensor, and its element type where one was said."""

    shape: Annotated[tuple[Positive, ...], Field(min_length=1)]
    dtype: Word | None = None


class RecordedInput(Model):
    """A batch of images, or tensors of given shapes."""

    batch: Positive
    channels: Positive | None
    height: Positive | None
    width: Positive | None
    shapes: tuple[RecordedTensor, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if None in (self.channels, self.height, self.width) and not self.shapes:
            raise PydanticCustomError("input", "must have channels, height and width, or shapes")
        return self

    @property
    def inputs(self) -> Inputs:
        """What it says as the rest of the program has it."""
        if self.channels and self.height and self.width:
            return NetworkInput(self.batch, self.channels, Size(self.height, self.width))
        return TensorInputs(tuple(InputSpec(one.shape, one.dtype) for one in self.shapes))


class RecordedModel(Model):
    """A network that others wrote."""

    target: str
    arguments: Mapping[str, Any]

    @property
    def as_target(self) -> Target:
        """The same as the rest of the program has it."""
        place, _, attribute = self.target.rpartition(":")
        return Target(self.target, place, attribute, tuple(self.arguments.items()))


class RecordedLatency(Model):
    """Samples in seconds."""

    samples: Annotated[tuple[Seconds, ...], Field(min_length=1)]


class RecordedRun(Model):
    """A timed row."""

    runtime: Word
    device: Word
    device_name: str | None = None
    dtype: Word
    input: RecordedInput
    threads: Positive
    train: bool = False
    cold_cache: bool = False
    max_difference: float | None = None
    failure: str | None = None
    latency_s: RecordedLatency

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same row in two files."""
        return (self.device, *self.key_anywhere)

    @property
    def key_anywhere(self) -> tuple[object, ...]:
        """What makes it the same row on two devices of a kind."""
        kind = self.device.partition(":")[0]
        return (self.runtime, kind, self.dtype, self.input, self.train, self.cold_cache)

    @property
    def name(self) -> str:
        """The row in words."""
        extra = ", training" * self.train + ", cold caches" * self.cold_cache
        size = self.input.inputs.size
        return f"{self.runtime} on {self.device}, batch {self.input.batch}, {size}, {self.dtype}{extra}"


class RecordedCost(Model):
    """What the network costs."""

    parameters: Whole
    macs: Whole
    model_bytes: Whole
    activation_bytes: Whole


class RecordedSize(Model):
    """What it costs at one size."""

    height: Positive | None
    width: Positive | None
    cost: RecordedCost


class RecordedWarning(Model):
    """What was wrong with the machine."""

    kind: str
    cause: str
    helps: str = ""


class Recorded(Model):
    """A result file; ``cost`` is that of ``input``, the first of all. It has settings or a model."""

    settings: NetworkSettings | None
    model: RecordedModel | None = None
    complete: bool = True
    input: RecordedInput
    cost: RecordedCost
    sizes: tuple[RecordedSize, ...] = ()
    runs: Annotated[tuple[RecordedRun, ...], Field(min_length=1)]
    warnings: tuple[RecordedWarning, ...] = ()
    environment: Mapping[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _rows_in_full(cls, values: Any) -> Any:
        """In the first files of this version, which had no ``complete``, rows had neither runtime nor input."""
        if not isinstance(values, Mapping) or "complete" in values or not isinstance(values.get("runs"), list):
            return values
        rows = [_in_full(run, values.get("input")) if isinstance(run, Mapping) else run for run in values["runs"]]
        return {**values, "runs": rows}

    def figures(self, run: RecordedRun) -> dict[str, int]:
        """What the network costs for the input of a row."""
        size = (run.input.height, run.input.width)
        cost = next((one.cost for one in self.sizes if (one.height, one.width) == size), self.cost)
        return {**cost.model_dump(), "activation_bytes": cost.activation_bytes * run.input.batch // self.input.batch}


def _in_full(run: Mapping[str, Any], input: Any) -> dict[str, Any]:
    return {"runtime": "channels-last" if run.get("channels_last") else "eager", "input": input, **run}


MAX_BYTES = 100_000_000
"""More is no result of a benchmark: a million samples are 20 MB."""

SHOWN_PROBLEMS = 5


def read_result(path: Path) -> Recorded:
    """Read what `mnfpn bench --output` wrote.

    Raises:
        UsageError: where it is no such file, or a newer mnfpn's.
        MnfpnError: where it cannot be read.
    """
    document = _document(path)
    if not isinstance(document, dict) or not {"format_version", "command"} <= document.keys():
        raise UsageError(f"{path}: must be a result of mnfpn bench, as --output writes it in JSON")
    version, command = document["format_version"], document["command"]
    if version != FORMAT_VERSION:
        by = f", of mnfpn {document['mnfpn_version']}" if "mnfpn_version" in document else ""
        raise UsageError(
            f"{path}: must be of format_version {FORMAT_VERSION}, which this mnfpn reads, got {version!r}{by}"
        )
    if command != "bench":
        raise UsageError(f"{path}: must be a result of mnfpn bench, got one of mnfpn {command}")
    try:
        recorded = Recorded.model_validate(document)
        if recorded.settings:
            plan_outline(recorded.settings)
    except SettingsError as error:
        raise UsageError(f"{path}: settings.{error}") from None
    except ValidationError as error:
        problems = [f"{path}: {problem}" for problem in describe(error)]
        raise UsageError("\n".join(problems[:SHOWN_PROBLEMS])) from None
    if recorded.settings is None and recorded.model is None:
        raise UsageError(f"{path}: settings: must be there where there is no model, got None")
    return recorded


def _document(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)  # not by its size: a pipe has none, and a device no end
    except FileNotFoundError:
        raise UsageError(f"{path}: must be a file, but there is none of that name") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: must be a file, but it is a folder") from None
    except OSError as error:
        raise MnfpnError(f"{path}: could not be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: a result file must have at most {MAX_BYTES / 1e6:g} MB")
    try:
        return parse_json(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must be JSON, but byte {error.start} is no text") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: must be JSON: {_reason(error)}") from None
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise UsageError(f"{path}: must be JSON: {reason}") from None


def _reason(error: json.JSONDecodeError) -> str:
    """What is wrong with the text; most often it was cut off."""
    if not error.doc.strip():
        return "it is empty"
    rest = len(error.doc.rstrip()) - error.pos
    cut = error.msg.startswith("Unterminated") or (error.msg != "Extra data" and rest < len("false"))
    end = " (the file ends too early)" if cut else ""
    return f"{error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}, column {error.colno}{end}"
