"""The document of `mnfpn runtimes`: what this machine's processor computes in, and what each runtime runs here."""

from typing import Literal

from pydantic import Field

from mnfpn_cli.documents.base import Document, Message, Record, Word
from mnfpn_cli.settings.input import DType

Support = Literal["native", "emulated"]
"""Whether a CPU has instructions for a dtype; else libraries convert to another one, or compose several instructions.
"""


class SupportRecord(Record):
    """How the processor computes in a dtype, by a library that heeds the cap of oneDNN."""

    dtype: DType = Field(description="The element type.")
    support: Support | None = Field(
        description="native: by instructions of its own; emulated: by other instructions, or in float32; null: unknown."
    )
    why_emulated: str | None = Field(description="Why it is emulated; null where it is not.")


class ProcessorRecord(Record):
    """The CPU of this machine, and the instruction sets that decide which dtypes it computes in."""

    name: str = Field(description="Name of the CPU.")
    instructions: tuple[str, ...] | None = Field(
        description="Instruction sets found that matter for dtypes; null where the system does not show them."
    )
    usable: tuple[str, ...] | None = Field(description="Those of them that oneDNN may use, as torch and OpenVINO do.")
    cap: str | None = Field(
        description="The environment variable that forbids the others, with its value; null where none does."
    )
    dtypes: tuple[SupportRecord, ...] = Field(description="Each dtype.")


class AbilityRecord(Record):
    """Whether a runtime runs on a device in a dtype."""

    device: Word = Field(description="The device.")
    dtype: DType = Field(description="The element type.")
    support: Support | None = Field(
        description="How the device computes in the dtype by this runtime; null where that is unknown, as of a GPU."
    )
    no_inference: Message | None = Field(description="Why it does not run inference; null where it does.")
    no_training: Message | None = Field(description="Why it does not run training; null where it does.")


class RuntimeRecord(Record):
    """A runtime, and what it can do on this machine."""

    name: Word = Field(description="Name of the runtime.")
    package: str = Field(description="The package that executes networks.")
    version: str | None = Field(description="Version of that package; null where it is not installed.")
    any_network: bool = Field(description="Whether it runs external networks too, or those from settings only.")
    installs: tuple[str, ...] = Field(description="Commands that install what is missing here.")
    abilities: tuple[AbilityRecord, ...] = Field(description="Each device and dtype.")


class RuntimesDocument(Document):
    """What this machine runs networks by: the result of `mnfpn runtimes`."""

    command: Literal["runtimes"] = Field("runtimes", description="The command that made the document.")
    processor: ProcessorRecord = Field(description="The CPU of this machine.")
    devices: tuple[Word, ...] = Field(description="The devices that were asked about.")
    runtimes: tuple[RuntimeRecord, ...] = Field(description="The runtimes, eager first.")
