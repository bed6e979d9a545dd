"""Time loading a checkpoint, beside reading the same file with torch or safetensors and copying it once.

Checkpoints in our own layout, and in others', whose keys have to be mapped. The networks are built before; what is
timed is the way from the file to weights in a network, on one thread. The two ways alternate, network by network.

    python benchmarks/loading.py --rounds 25
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file, save_file

from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.weights.checkpoint import read_checkpoint
from mnfpn_cli.weights.layouts import LAYOUTS, OURS, Layout
from mnfpn_cli.weights.load import load_weights
from mnfpn_cli.weights.match import weighted_layers

NETWORKS = {
    "mobilenetv2-fpn": ("mobilenetv2-fpn",),
    "mobilenetv2-classifier": ("mobilenetv2-classifier",),
    "resnet-fpn 3-4-6-3": ("resnet-fpn", "backbone.blocks=[3,4,6,3]"),
    "fpn-classifier, 64 classes": ("fpn-classifier", "head.classes=64", "head.size=600x900"),
}
THEIRS = {
    "mobilenetv2-fpn": "torchvision",
    "mobilenetv2-classifier": "tonylins",
    "resnet-fpn 3-4-6-3": "pytorch-fpn",
}
"""A foreign layout for each network that has one; the others are stored in our own alone."""


def settings_of(preset: str, *overrides: str) -> NetworkSettings:
    """A preset with overrides."""
    return resolve([read_preset(preset), *map(parse_override, overrides)])


def names_in(layout: Layout, settings: NetworkSettings, keys: Sequence[str]) -> list[str]:
    """What a layout calls each of our keys."""
    modules = {
        place.path: layout.name_of(place.role, place.path, place.variables)
        for place in weighted_layers(plan_network(settings))
    }
    parts = [key.rpartition(".") for key in keys]
    return [f"{modules.get(module, module)}.{leaf}" for module, _, leaf in parts]


def baseline(network: Network, keys: Sequence[str], path: Path) -> None:
    """Read the file and copy each of its tensors once; which belongs where is known."""
    theirs = load_file(path) if path.suffix == ".safetensors" else torch.load(path, mmap=True, weights_only=True)
    for tensor, key in zip(network.state_dict().values(), keys, strict=True):
        tensor.copy_(theirs[key])


def ours(network: Network, settings: NetworkSettings, path: Path) -> None:
    """The same with mnfpn: recognise the layout, check every shape, copy."""
    load_weights(network, settings, read_checkpoint(path))


def seconds(run: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    with torch.no_grad():
        run()
    return time.perf_counter() - start


def alternate(first: Callable[[], None], second: Callable[[], None], rounds: int) -> list[tuple[float, float]]:
    """Seconds of the two ways, round by round; the first round, which fills the caches, is left out."""
    return [(seconds(first), seconds(second)) for _ in range(rounds + 1)][1:]


def compare(settings: NetworkSettings, layout: Layout, folder: Path, rounds: int) -> Iterator[str]:
    """One line for each format of file."""
    network = build_network(settings)
    keys = names_in(layout, settings, list(network.state_dict()))
    for suffix, save in ((".pth", torch.save), (".safetensors", save_file)):
        path = folder / f"weights{suffix}"
        save(dict(zip(keys, network.state_dict().values(), strict=True)), path)
        pairs = alternate(partial(baseline, network, keys, path), partial(ours, network, settings, path), rounds)
        copied, loaded = (median(times) for times in zip(*pairs, strict=True))
        ratio = median(after / before for before, after in pairs)
        size = path.stat().st_size / 1e6
        yield f"{layout.name:13}{suffix:14}{size:8.1f}{copied * 1e3:13.1f} ms{loaded * 1e3:9.1f} ms{ratio:8.2f}"
        path.unlink()


def main() -> None:
    """Write the files, then alternate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    by_name = {layout.name: layout for layout in LAYOUTS}
    print(f"{'network':28}{'layout':13}{'file':14}{'MB':>8}{'read and copy':>16}{'mnfpn':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, words in NETWORKS.items():
            for layout in (OURS, *([by_name[THEIRS[name]]] if name in THEIRS else [])):
                for line in compare(settings_of(*words), layout, Path(folder), rounds):
                    print(f"{name:28}{line}")


if __name__ == "__main__":
    main()
