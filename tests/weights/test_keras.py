"""Keras's files: three ways of storing one network, what is in none of them, and what a file could do harm with."""

import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError, UnavailableError, UsageError
from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.checkpoint import read_checkpoint
from mnfpn_cli.weights.header import settings_in
from mnfpn_cli.weights.keras import ORDER
from mnfpn_cli.weights.layouts import LAYOUTS
from mnfpn_cli.weights.load import load_weights
from mnfpn_cli.weights.match import weighted_layers
from tests.needs import needs

if TYPE_CHECKING:
    import h5py

needs_h5py = needs("h5py")

BLOCKS = {"stages": [(1, 8, 1, 1), (2, 16, 2, 2)], "stem_channels": 8}
SETTINGS = NetworkSettings.model_validate(BLOCKS | {"head": {"kind": "classifier", "classes": 5, "last_channels": 32}})
VARIABLES = {
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}

Variables = dict[str, dict[str, Any]]
"""The variables of each layer, in the order of the layers in the network."""


def network_of(seed: int) -> Network:
    """A network of random weights, each tensor another."""
    network = build_network(SETTINGS, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return network


def kind_of(layer: str) -> str:
    """The class of a layer, as Keras 3 spells it in files."""
    if layer.endswith(("_BN", "_bn")) or layer.startswith("bn_"):
        return "batch_normalization"
    return "depthwise_conv2d" if layer.endswith("_depthwise") else "dense" if layer == "predictions" else "conv2d"


def as_keras(network: Network) -> Variables:
    """The weights of a network under Keras's names, and in its order of dimensions."""
    layout = next(layout for layout in LAYOUTS if layout.name == "Keras")
    layers: Variables = {}
    for place in weighted_layers(plan_network(SETTINGS)):
        layer = layout.name_of(place.role, place.path, place.variables)
        for leaf, tensor in network.get_submodule(place.path).state_dict().items():
            if leaf != "num_batches_tracked":
                name, array = stored(kind_of(layer), leaf, tensor)
                layers.setdefault(layer, {})[name] = array
    return {
        layer: {name: ours[name] for name in ORDER[kind_of(layer)] if name in ours} for layer, ours in layers.items()
    }


def stored(kind: str, leaf: str, tensor: Tensor) -> tuple[str, Any]:
    """Keras's name and array of a tensor of ours."""
    if kind == "batch_normalization":
        return VARIABLES.get(leaf) or {"weight": "gamma", "bias": "beta"}[leaf], tensor.numpy()
    if leaf == "bias":
        return "bias", tensor.numpy()
    if kind == "depthwise_conv2d":
        return "depthwise_kernel", tensor.permute(2, 3, 0, 1).numpy()
    return "kernel", (tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor.T).numpy()


def write_whole(file: "h5py.File", layers: Variables, root: str = "model_weights/") -> None:
    """As `model.save('a.h5')` of Keras 2 does: under the layer, and again its name."""
    for layer, variables in layers.items():
        file.create_group(f"{root}{layer}").attrs["weight_names"] = [f"{layer}/{name}:0" for name in variables]
        for name, array in variables.items():
            file[f"{root}{layer}/{layer}/{name}:0"] = array
    file.create_group(f"{root}Conv1_relu")
    file["optimizer_weights/adam/Conv1/kernel:0"] = np.zeros(3)
    file.attrs["model_config"] = "no configuration is read"


def write_weights_alone(file: "h5py.File", layers: Variables) -> None:
    """As `model.save_weights('a.h5')` of Keras 2 does."""
    for layer, variables in layers.items():
        for name, array in variables.items():
            file[f"{layer}/{layer}/{name}:0"] = array
    file.attrs["layer_names"] = list(layers)


def write_nested(file: "h5py.File", layers: Variables) -> None:
    """A model in a model, and the user's own dense layer, in Keras 3's `.h5`."""
    for layer, variables in layers.items():
        for name, array in variables.items():
            if layer == "predictions":
                file[f"model_weights/breed/sequential/breed/{name}"] = array
            else:
                file[f"model_weights/mobilenetv2_1.00_160/{layer}/{name.removeprefix('depthwise_')}"] = array


def write_numbered(file: "h5py.File", layers: Variables, names: bool = True, place: str = "layers") -> None:
    """As `model.save_weights('a.weights.h5')` of Keras 3 does: layers are counted by class."""
    counts: dict[str, int] = {}
    for layer, variables in layers.items():
        kind = kind_of(layer)
        number = counts[kind] = counts.get(kind, -1) + 1
        group = file.create_group(f"{place}/{kind}{f'_{number}' if number else ''}/vars")
        if names:
            group.attrs["name"] = layer
        for index, array in enumerate(variables.values()):
            group[str(index)] = array
    file["optimizer/vars/0"] = np.zeros(3)
    file.create_group("layers/re_lu/vars")


def write_without_names(file: "h5py.File", layers: Variables) -> None:
    """As the first releases of Keras 3 did."""
    write_numbered(file, layers, names=False)


def write_backbone_as_a_layer(file: "h5py.File", layers: Variables) -> None:
    """A model whose first layer is the backbone, and which has a dense layer of another name."""
    dense = layers["predictions"]
    backbone = {layer: variables for layer, variables in layers.items() if layer != "predictions"}
    write_numbered(file, backbone, place="layers/functional/layers")
    group = file.create_group("layers/dense/vars")
    group.attrs["name"] = "breed"
    for index, array in enumerate(dense.values()):
        group[str(index)] = array


WRITERS = [
    write_whole,
    write_weights_alone,
    write_nested,
    write_numbered,
    write_without_names,
    write_backbone_as_a_layer,
]


def saved(path: Path, write: Callable[["h5py.File", Variables], None], layers: Variables) -> Path:
    """A file of some layers."""
    import h5py

    with h5py.File(path, "w") as file:
        write(file, layers)
    return path


@needs_h5py
@pytest.mark.parametrize("write", WRITERS)
def test_a_network_is_read_however_keras_stores_it(
    write: Callable[["h5py.File", Variables], None], tmp_path: Path
) -> None:
    """Every tensor at its place, in torch's order of dimensions; by what is in the file, whatever its name."""
    network, source = build_network(SETTINGS), network_of(1)
    path = saved(tmp_path / "keras.bin", write, as_keras(source))
    found = load_weights(network, SETTINGS, read_checkpoint(path))
    assert (found.layout, found.ignored, found.missing, found.skipped) == ("Keras", (), (), ())
    state = source.state_dict()
    for key, tensor in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(tensor, state[key]), key
    assert settings_in(path) is None


@needs_h5py
def test_a_keras_archive_is_read(tmp_path: Path) -> None:
    """It is a zip file, as torch's are, with the weights in one of its entries."""
    inner = saved(tmp_path / "a.weights.h5", write_numbered, as_keras(network_of(1)))
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{")
        archive.write(inner, "model.weights.h5")
    found, expected = read_checkpoint(path).tensors, read_checkpoint(inner).tensors
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


@needs_h5py
@pytest.mark.parametrize("write", [write_whole, write_numbered, write_without_names])
def test_a_backbone_alone_is_read(write: Callable[["h5py.File", Variables], None], tmp_path: Path) -> None:
    """`include_top=False`: the dense layer is missing, and all else is there."""
    layers = as_keras(network_of(1))
    del layers["predictions"]
    found = load_weights(build_network(SETTINGS), SETTINGS, read_checkpoint(saved(tmp_path / "a.h5", write, layers)))
    assert found.missing == ("head.dense.weight", "head.dense.bias")
    pyramid = NetworkSettings.model_validate(BLOCKS | {"pyramid": {"channels": 8}})
    found = load_weights(build_network(pyramid), pyramid, read_checkpoint(tmp_path / "a.h5"))
    assert {key.split(".")[0] for key in found.missing} == {"pyramid"}
    assert {key.split(".")[0] for key in found.ignored} == {"Conv_1", "Conv_1_bn"}


@needs_h5py
def test_a_head_of_several_layers_is_for_no_classifier_of_ours(tmp_path: Path) -> None:
    """It says so, and how to load all else; a pyramid has no use for it."""
    layers = as_keras(network_of(1))
    layers["breeds"] = {"kernel": np.zeros((5, 3), "f"), "bias": np.zeros(3, "f")}
    checkpoint = read_checkpoint(saved(tmp_path / "a.h5", write_whole, layers))
    assert "predictions.breeds.weight" in checkpoint.tensors
    with pytest.raises(
        UsageError, match=r"no place for predictions\.breeds\.\w+,.*; try weights_partial head to load all else$"
    ):
        load_weights(build_network(SETTINGS), SETTINGS, checkpoint)
    found = load_weights(build_network(SETTINGS), SETTINGS, checkpoint, "head")
    assert found.missing == ("head.dense.weight", "head.dense.bias")


@needs_h5py
@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">f8"])
def test_other_types_of_numbers_are_converted(dtype: str, tmp_path: Path) -> None:
    """Of half or double precision, and of the other byte order."""
    layers = as_keras(network_of(1))
    layers["Conv1"]["kernel"] = layers["Conv1"]["kernel"].astype(dtype)
    path = saved(tmp_path / "a.h5", write_whole, layers)
    network = build_network(SETTINGS)
    load_weights(network, SETTINGS, read_checkpoint(path))
    kernel = torch.from_numpy(layers["Conv1"]["kernel"].astype("f")).permute(3, 2, 0, 1)
    assert torch.equal(network.get_parameter("stem.conv.weight"), kernel)


def changed(change: Callable[["h5py.File"], None]) -> Callable[["h5py.File", Variables], None]:
    """A writer of a file in which something is wrong."""

    def write(file: "h5py.File", layers: Variables) -> None:
        write_whole(file, layers)
        change(file)

    return write


KERNEL = "model_weights/Conv1/Conv1/kernel:0"


def linked(file: "h5py.File") -> None:
    """A link to another file, in place of a dataset."""
    import h5py

    del file[KERNEL]
    file[KERNEL] = h5py.ExternalLink("/etc/passwd", "/")


def elsewhere(file: "h5py.File") -> None:
    """A dataset with its numbers in another file."""
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 3, 8), "f", external=[("/etc/passwd", 0, 864)])


def virtual(file: "h5py.File") -> None:
    """A dataset that is a view of another file's."""
    import h5py

    del file[KERNEL]
    layout = h5py.VirtualLayout((3, 3, 3, 8), "f")
    layout[:] = h5py.VirtualSource("other.h5", "a", (3, 3, 3, 8))
    file.create_virtual_dataset(KERNEL, layout)


def huge(file: "h5py.File") -> None:
    """A dataset of terabytes, none of which is stored."""
    del file[KERNEL]
    file.create_dataset(KERNEL, (3, 3, 2**20, 2**20), "f", chunks=(3, 3, 64, 64))


def words(file: "h5py.File") -> None:
    """Text in place of numbers."""
    del file[KERNEL]
    file[KERNEL] = ["no", "numbers"]


def twice(file: "h5py.File") -> None:
    """Two models in one file."""
    file["model_weights/other/Conv1/kernel:0"] = np.zeros((3, 3, 3, 8), "f")


def renamed(file: "h5py.File") -> None:
    """A ResNet's first layer."""
    file.move("model_weights/Conv1", "model_weights/conv1_conv")
    file.move("model_weights/conv1_conv/Conv1", "model_weights/conv1_conv/conv1_conv")


def emptied(file: "h5py.File") -> None:
    """A file of HDF5 that has no layers."""
    for name in list(file):
        del file[name]
    file["measurements"] = np.zeros(3)


def in_a_circle(file: "h5py.File") -> None:
    """A group that holds itself, and no layers."""
    emptied(file)
    file.create_group("a")
    file["a/a"] = file["a"]


BAD: list[tuple[Callable[["h5py.File"], None], str]] = [
    (linked, r"a\.h5: must hold a MobileNetV2 of Keras, but it has no layer Conv1; it has \w+, .* and \d+ more$"),
    (elsewhere, r"Conv1/kernel:0: must hold its own numbers, but they are in other files$"),
    (virtual, r"Conv1/kernel:0: must hold its own numbers, but they are in other files$"),
    (huge, r"a\.h5: must hold at most 1,073,741,824 bytes of weights, got 39,582,\d\d\d,\d\d\d,\d\d\d$"),
    (words, r"a\.h5: /model_weights/Conv1/Conv1/kernel:0: must hold numbers, got object$"),
    (twice, r"a\.h5: must hold one MobileNetV2, but Conv1 is in it twice: /model_weights/Conv1.* and /model_weights/o"),
    (renamed, r"a\.h5: must hold a MobileNetV2 of Keras, but it has no layer Conv1; it has \w+, .* and \d+ more$"),
    (emptied, r"a\.h5: must hold weights of Keras, but this HDF5 file has no layers$"),
    (in_a_circle, r"a\.h5: must hold weights of Keras, but this HDF5 file has no layers$"),
]


@needs_h5py
@pytest.mark.parametrize(("change", "message"), BAD, ids=[change.__name__ for change, _ in BAD])
def test_a_bad_file_is_refused(change: Callable[["h5py.File"], None], message: str, tmp_path: Path) -> None:
    """With the place, the rule and the value; no other file is read, and no more than a network has."""
    path, network = saved(tmp_path / "a.h5", changed(change), as_keras(network_of(1))), build_network(SETTINGS)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(UsageError, match=message):
        load_weights(network, SETTINGS, read_checkpoint(path))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


@needs_h5py
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    """At every twentieth of its length."""
    data = saved(tmp_path / "a.h5", write_numbered, as_keras(network_of(1))).read_bytes()
    cut = tmp_path / "cut.h5"
    for part in range(20):
        cut.write_bytes(data[: len(data) * part // 20])
        with pytest.raises(UsageError, match=r"cut\.h5: must be a "):
            read_checkpoint(cut)


@needs_h5py
def test_a_file_of_too_many_objects_is_not_searched_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HDF5 can hold more than a person waits for."""
    path = saved(tmp_path / "a.h5", write_whole, as_keras(network_of(1)))
    monkeypatch.setattr("mnfpn_cli.weights.keras.MAX_FILE_OBJECTS", 20)
    with pytest.raises(UsageError, match=r"a\.h5: must hold at most 20 groups and datasets$"):
        read_checkpoint(path)


@needs_h5py
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is unpacked."""
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\0" * 100_000)
    monkeypatch.setattr("mnfpn_cli.weights.keras.MAX_ARCHIVED_BYTES", 99_999)
    with pytest.raises(UsageError, match=r"must hold a model\.weights\.h5 of at most 99,999 bytes, got 100,000$"):
        read_checkpoint(path)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be a good one; its settings, of which it has none, need no h5py."""
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert settings_in(path) is None
    with pytest.raises(UnavailableError) as caught:
        read_checkpoint(path)
    assert isinstance(caught.value, MnfpnError)
    needed = "reading HDF5 needs h5py, which is not installed: pip install 'mnfpn[keras]'"
    assert str(caught.value) == f"{path}: {needed}"
