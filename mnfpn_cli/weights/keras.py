"""Read the weights of Keras's MobileNetV2 out of HDF5, as a state dict in torch's shapes.

Three ways of storing them are known: a whole model (``.h5``, under ``model_weights``), weights alone as Keras 2 wrote
them (``.h5``), and as Keras 3 does (``.weights.h5``, also in a ``.keras`` archive). Of the file only the groups, the
names of layers and the numbers are read: the configuration, from which Keras would build objects, is not.
"""

import io
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnfpn_cli.errors import MnfpnError, Problem, UnavailableError, UsageError
from mnfpn_cli.text import few, first_line

if TYPE_CHECKING:
    import h5py

MAX_FILE_OBJECTS = 100_000
"""The most groups and datasets of a file that are looked at; MobileNetV2 with its optimiser has about 3,000."""

MAX_WEIGHT_BYTES = 2**30
"""The most bytes of weights that are read; a dataset may claim more than its file holds."""

MAX_ARCHIVED_BYTES = 4 * MAX_WEIGHT_BYTES
"""The most bytes of an archive's file of weights: an optimiser has two or three times those of the network."""

LARGEST_ITEM = 8
"""The bytes of the largest numbers that torch has."""

IN_ARCHIVE = "model.weights.h5"
"""The entry of a ``.keras`` archive that has the weights."""

OPTIMISER = re.compile(r"(?:optimizer|optimizer_weights)(?:/|$)")
NUMBERED = re.compile(r"(?P<place>(?:.*/)?)(?P<kind>[^/]+?)(?:_(?P<number>\d+))?/vars/(?P<index>\d+)")
"""A variable of Keras 3: its layer is named by its class, and counted where there are several."""

NAMED = re.compile(r"(?:.*/)?(?P<layer>[^/]+)/(?P<variable>[a-z_]+)(?::0)?")
"""A variable of Keras 2, and of whole models."""

ORDER = {
    "conv2d": ("kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "dense": ("kernel", "bias"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""The variables of Keras's layers in the order in which Keras 3 numbers them."""

LEAVES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""What torch calls the variables of a layer."""

BACKBONE = re.compile(r"(?:bn_)?Conv1|Conv_1(?:_bn)?|(?:expanded_conv|block_\d+)_(?:expand|depthwise|project)(?:_BN)?")
"""The layers of Keras's MobileNetV2 that hold weights, without its classifier."""

CLASSIFIER = "predictions"
"""Keras's name for MobileNetV2's dense layer; those of users have others."""


@dataclass(frozen=True)
class Variable:
    """A variable of a layer.

    Attributes:
        layer: the name of the layer.
        name: Keras's name of the variable, as ``moving_mean``; its number where it has no known name.
        dataset: with its numbers, which are not read yet.
    """

    layer: str
    name: str
    dataset: "h5py.Dataset"


def is_keras_archive(path: Path) -> bool:
    """Return whether a zip file is a model that Keras 3 saved.

    Raises:
        zipfile.BadZipFile: where it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        return IN_ARCHIVE in archive.namelist()


def read_keras(path: Path, archive: bool = False) -> dict[str, Tensor]:
    """Read the weights of a MobileNetV2, under keys of the layout ``Keras``.

    Args:
        path: of an HDF5 file, or of a ``.keras`` archive that has one.
        archive: whether it is an archive.

    Raises:
        UsageError: where it is not Keras's, not a MobileNetV2, or damaged.
        UnavailableError: where h5py is not installed.
    """
    try:
        with _opened(path, archive) as file:
            variables = list(_variables(path, file))
            _check_is_mobilenet(path, variables)
            size = sum(one.dataset.nbytes for one in variables)
            if size > MAX_WEIGHT_BYTES:
                rule = f"must hold at most {MAX_WEIGHT_BYTES:,} bytes of weights"
                raise UsageError(Problem(str(path), rule, f"{size:,}"))
            return _state_dict(path, variables)
    except (MnfpnError, MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - h5py passes on HDF5's errors in classes of many kinds
        reason = (first_line(error) or type(error).__name__).strip("'")  # a KeyError's message is in quotes
        rule = f"must be a whole checkpoint, but it is damaged: {reason:.200}"
        raise UsageError(Problem(str(path), rule)) from None


def _opened(path: Path, archive: bool) -> AbstractContextManager["h5py.File"]:
    try:
        import h5py
    except ImportError:
        rule = "reading HDF5 needs h5py, which is not installed: pip install 'mnfpn[keras]'"
        raise UnavailableError(Problem(str(path), rule)) from None
    opened: AbstractContextManager[h5py.File] = h5py.File(_entry(path) if archive else path, "r", locking=False)
    return opened


def _entry(path: Path) -> io.BytesIO:
    """Return the weights in a ``.keras`` archive."""
    with zipfile.ZipFile(path) as files:
        size = files.getinfo(IN_ARCHIVE).file_size
        if size > MAX_ARCHIVED_BYTES:
            rule = f"must hold a {IN_ARCHIVE} of at most {MAX_ARCHIVED_BYTES:,} bytes"
            raise UsageError(Problem(str(path), rule, f"{size:,}"))
        return io.BytesIO(files.read(IN_ARCHIVE))


def _variables(path: Path, file: "h5py.File") -> Iterator[Variable]:
    """Yield the variables of all layers.

    Links are not followed, neither to other places nor to other files, and each object is visited once.
    """
    datasets, names = _datasets(path, file)
    numbered = {name: found for name in datasets if (found := NUMBERED.fullmatch(name))}
    layers = _layers_in_order(numbered.values())
    for name, dataset in datasets.items():
        if dataset.is_virtual or dataset.external:
            raise UsageError(Problem(f"{path}: {name}", "must hold its own numbers, but they are in other files"))
        if found := numbered.get(name):
            group, index = name.rpartition("/")[0], int(found["index"])
            order = ORDER.get(found["kind"], ())
            layer = names.get(group) or layers.get(group) or group.removesuffix("/vars").rpartition("/")[2]
            yield Variable(layer, order[index] if index < len(order) else str(index), dataset)
        elif found := NAMED.fullmatch(name):
            yield Variable(found["layer"], found["variable"], dataset)


def _datasets(path: Path, file: "h5py.File") -> tuple[dict[str, "h5py.Dataset"], dict[str, str]]:
    """Return all datasets but an optimiser's, and the names of layers that groups carry, both by path."""
    import h5py

    datasets: dict[str, h5py.Dataset] = {}
    names: dict[str, str] = {}
    seen = 0

    def visit(name: str | bytes, item: Any) -> str | None:
        nonlocal seen
        seen += 1
        name = name if isinstance(name, str) else name.decode(errors="replace")  # not UTF-8: none of Keras's
        if isinstance(item, h5py.Dataset) and not OPTIMISER.match(name):
            datasets[name] = item
        elif name.endswith("/vars") and isinstance(layer := item.attrs.get("name"), str):
            names[name] = layer
        return name if seen > MAX_FILE_OBJECTS else None

    if file.visititems(visit) is not None:
        raise UsageError(Problem(str(path), f"must hold at most {MAX_FILE_OBJECTS:,} groups and datasets"))
    return datasets, names


def _layers_in_order(found: Iterable[re.Match[str]]) -> dict[str, str]:
    """Return the layer of a MobileNetV2 of each group in a file without names of layers: they are in their order."""
    places: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for one in found:
        places[one["place"]][one["kind"]].add(int(one["number"] or 0))
    layers = {}
    for place, numbers in places.items():
        for kind, names in _names_by_kind(len(numbers["depthwise_conv2d"])).items():
            for number, name in zip(sorted(numbers[kind]), names, strict=False):
                layers[f"{place}{kind}{f'_{number}' if number else ''}/vars"] = name
    return layers


def _names_by_kind(blocks: int) -> dict[str, list[str]]:
    """Return Keras's names of the layers of a MobileNetV2 of some blocks, by the class of the layer."""
    if not blocks:
        return {}
    parts = ["expanded_conv_depthwise", "expanded_conv_project"]
    for k in range(1, blocks):
        parts += [f"block_{k}_{part}" for part in ("expand", "depthwise", "project")]
    return {
        "depthwise_conv2d": [name for name in parts if name.endswith("_depthwise")],
        "conv2d": ["Conv1", *(name for name in parts if not name.endswith("_depthwise")), "Conv_1"],
        "batch_normalization": ["bn_Conv1", *(f"{name}_BN" for name in parts), "Conv_1_bn"],
    }


def _check_is_mobilenet(path: Path, variables: Sequence[Variable]) -> None:
    """Check that the layers are those of one MobileNetV2, and each variable is there once.

    Raises:
        UsageError: where they are not.
    """
    layers = list(dict.fromkeys(one.layer for one in variables))
    if not layers:
        raise UsageError(Problem(str(path), "must hold weights of Keras, but this HDF5 file has no layers"))
    lacking = [name for name in ("Conv1", "expanded_conv_depthwise") if name not in layers]
    if lacking:
        rule = f"must hold a MobileNetV2 of Keras, but it has no layer {lacking[0]}; it has {few(layers)}"
        raise UsageError(Problem(str(path), rule))
    seen: dict[tuple[str, str], str] = {}
    for one in variables:
        other = seen.setdefault((one.layer, one.name), one.dataset.name)
        if other != one.dataset.name and BACKBONE.fullmatch(one.layer):
            rule = f"must hold one MobileNetV2, but {one.layer} is in it twice: {other} and {one.dataset.name}"
            raise UsageError(Problem(str(path), rule))


def _state_dict(path: Path, variables: Sequence[Variable]) -> dict[str, Tensor]:
    """Return the tensors by layer and torch's name of the variable, as ``Conv1.weight``.

    The dense layer of a classifier is ``predictions``, whatever its name in the file. Where more layers than one follow
    the backbone, their names are behind that: ``predictions.dense_1``, and no classifier of ours has them.
    """
    head = {one.layer for one in variables if not BACKBONE.fullmatch(one.layer)}
    behind = {(one.name, one.dataset.ndim) for one in variables if one.layer in head}
    is_classifier = len(head) == 1 and behind == {("kernel", 2), ("bias", 1)}
    tensors = {}
    for one in variables:
        layer = one.layer
        if layer in head:
            own = re.sub(r"\W", "_", layer)
            layer = CLASSIFIER if is_classifier else f"{CLASSIFIER}.{own}"
        tensors[f"{layer}.{LEAVES.get(one.name, one.name)}"] = _tensor(path, one)
    return tensors


def _tensor(path: Path, variable: Variable) -> Tensor:
    """Read a variable; kernels in torch's order: output channels first, then input channels, height and width."""
    dataset = variable.dataset
    if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > LARGEST_ITEM:
        raise UsageError(Problem(f"{path}: {dataset.name}", "must hold numbers", f"{dataset.dtype}"))
    array = dataset[()]
    tensor = torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    if "kernel" not in variable.name:
        return tensor
    if tensor.dim() == 2:
        return tensor.T.contiguous()
    if tensor.dim() == 4:  # height, width, input channels, and output channels: of a depthwise layer for each input
        depthwise = variable.name == "depthwise_kernel" or variable.layer.endswith("_depthwise")
        return tensor.permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)).contiguous()
    return tensor
