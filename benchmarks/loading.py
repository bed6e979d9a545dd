"""Time loading a checkpoint, beside reading the same file with torch or safetensors and copying it once.

The networks are built before; what is timed is the way from the file to weights in a network. Formats, networks and the
two ways alternate in one run.

    python benchmarks/loading.py --rounds 15
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file, save_file

from mnfpn_cli.network.build import build_network
from mnfpn_cli.network.network import Network
from mnfpn_cli.settings.files import read_preset
from mnfpn_cli.settings.models import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.sources import resolve
from mnfpn_cli.weights.files import read_checkpoint
from mnfpn_cli.weights.load import load_weights

NETWORKS = {
    "mobilenetv2-fpn": ("mobilenetv2-fpn",),
    "resnet-fpn 3-4-6-3": ("resnet-fpn", "backbone.blocks=[3,4,6,3]"),
    "fpn-classifier, 64 classes": ("fpn-classifier", "head.classes=64", "head.size=600x900"),
}


def settings_of(preset: str, *overrides: str) -> NetworkSettings:
    """A preset with overrides."""
    return resolve([read_preset(preset), *map(parse_override, overrides)])


def baseline(network: Network, path: Path) -> None:
    """Read the file and copy each of its tensors once, into a network whose keys are the file's."""
    theirs = load_file(path) if path.suffix == ".safetensors" else torch.load(path, mmap=True, weights_only=True)
    state = network.state_dict()
    for key, tensor in theirs.items():
        state[key].copy_(tensor)


def ours(network: Network, settings: NetworkSettings, path: Path) -> None:
    """The same with mnfpn: recognise the layout, check every shape, copy."""
    load_weights(network, settings, read_checkpoint(path))


def seconds(run: Callable[[], None]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    with torch.no_grad():
        run()
    return time.perf_counter() - start


def alternate(settings: NetworkSettings, network: Network, path: Path, rounds: int) -> list[tuple[float, float]]:
    """Seconds of the two ways, round by round; the first round, which fills the caches, is left out."""
    pairs = [
        (seconds(partial(baseline, network, path)), seconds(partial(ours, network, settings, path)))
        for _ in range(rounds + 1)
    ]
    return pairs[1:]


def main() -> None:
    """Write the files, then alternate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"{'network':28}{'file':14}{'MB':>8}{'read and copy':>16}{'mnfpn':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for name, words in NETWORKS.items():
            settings = settings_of(*words)
            network = build_network(settings)
            for suffix, save in ((".pth", torch.save), (".safetensors", save_file)):
                path = Path(folder) / f"weights{suffix}"
                save(network.state_dict(), path)
                pairs = alternate(settings, network, path, rounds)
                copied, loaded = (median(times) for times in zip(*pairs, strict=True))
                ratio = median(after / before for before, after in pairs)
                size = path.stat().st_size / 1e6
                print(f"{name:28}{suffix:14}{size:8.1f}{copied * 1e3:13.1f} ms{loaded * 1e3:9.1f} ms{ratio:8.2f}")
                path.unlink()


if __name__ == "__main__":
    main()
