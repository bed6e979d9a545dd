"""What this machine runs networks by: each runtime on each device, in which dtypes, and what is missing."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

import torch

from mnfpn_cli.devices.instructions import Instructions, processor_name, this_processor
from mnfpn_cli.documents.runtimes import (
    AbilityRecord,
    ProcessorRecord,
    RuntimeRecord,
    RuntimesDocument,
    SupportRecord,
)
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.runtimes.runtime import Runtime, load_runtime
from mnfpn_cli.settings.input import ITEM_BYTES, DType
from mnfpn_cli.settings.measuring import LITERT, runtime_names
from mnfpn_cli.text import first_line

PACKAGES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **dict.fromkeys(("eager", "channels-last", "compiled", "cuda-graph", "fused"), ("torch",)),
        "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
        "litert": ("ai-edge-litert",),
    }
)
"""The packages of a runtime, of which one is installed; of any other runtime the package has its name."""

BY_ONEDNN = frozenset(("eager", "channels-last", "compiled", "fused", "openvino"))
"""The runtimes whose convolutions on the CPU are oneDNN's, which heeds its cap; the others have kernels of their own.
"""

INSTALLS = re.compile(r"pip install (?:'[^']+'|[\w\[\],.-]*\w)")
"""The command in a reason: ``not installed: pip install 'mnfpn[onnx]'``."""


def runtimes_document(devices: Iterable[torch.device]) -> RuntimesDocument:
    """Return what each runtime can do on some devices of this machine. Nothing is run, and little is imported."""
    found, processor = tuple(devices), this_processor()
    return RuntimesDocument(
        settings=None,
        model=None,
        processor=_processor(processor),
        devices=tuple(map(str, found)),
        runtimes=tuple(_runtime(name, found, processor) for name in (*runtime_names(), LITERT)),
    )


def _processor(processor: Instructions) -> ProcessorRecord:
    return ProcessorRecord(
        name=processor_name(),
        instructions=processor.found,
        usable=processor.usable,
        cap=processor.cap,
        dtypes=tuple(
            SupportRecord(dtype=dtype, support=processor.support(dtype), why_emulated=processor.why_emulated(dtype))
            for dtype in ITEM_BYTES
        ),
    )


def _runtime(name: str, devices: Sequence[torch.device], processor: Instructions) -> RuntimeRecord:
    runtime = load_runtime(name)
    abilities = [_ability(name, runtime, device, dtype, processor) for device in devices for dtype in ITEM_BYTES]
    package, installed = _installed(PACKAGES.get(name, (name,)))
    return RuntimeRecord(
        name=name,
        package=package,
        version=installed,
        any_network=runtime.ANY_NETWORK,
        installs=tuple(dict.fromkeys(_installs(abilities))),
        abilities=tuple(abilities),
    )


def _ability(name: str, runtime: Runtime, device: torch.device, dtype: DType, processor: Instructions) -> AbilityRecord:
    on_cpu = device.type == "cpu"
    return AbilityRecord(
        device=str(device),
        dtype=dtype,
        support=processor.support(dtype, capped=name in BY_ONEDNN) if on_cpu else None,
        no_inference=_reason(runtime, device, dtype, train=False),
        no_training=_reason(runtime, device, dtype, train=True),
    )


def _reason(runtime: Runtime, device: torch.device, dtype: DType, train: bool) -> str | None:
    try:
        return runtime.unavailable_reason(device, dtype, train)
    except (MnfpnError, ImportError, OSError) as error:  # a package that is installed, and does not work
        return first_line(error)


def _installed(packages: Sequence[str]) -> tuple[str, str | None]:
    """Return the package that is installed, with its version; the first, without a version, where none is."""
    for package in packages:
        try:
            return package, version(package)
        except PackageNotFoundError:
            continue
    return packages[0], None


def _installs(abilities: Iterable[AbilityRecord]) -> Iterator[str]:
    """Yield the commands that reasons name."""
    for ability in abilities:
        for reason in (ability.no_inference, ability.no_training):
            yield from INSTALLS.findall(reason or "")
