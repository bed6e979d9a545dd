"""Train a detector of digits on scenes made of scikit-learn's digits, and write how well it finds those held out.

    python examples/digits/train.py --config examples/digits/settings.json --size 64 --output scores.json

`mnfpn sweep --score-command` runs it for each network. The same network, size and seed give the same scores on the same
machine.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import interpolate

import mnfpn_cli.api as mnfpn
from mnfpn_cli.detection.boxes import overlaps

SIDE = 128
"""Height and width of a scene in pixels; the detector resizes it to the size of its network."""

SHARES = (0.18, 0.45)
"""The least and the largest side of a digit, over that of its scene."""

HELD_OUT = 360
"""The last digits of scikit-learn's 1,797 are in no scene that is trained on."""

CLASSES = 11
"""A background, as torchvision's detectors have it, and ten digits: digit d has the label d + 1."""

OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
"""The overlaps (IoU) from which a box counts as found; mAP is the mean over them (Lin et al. 2014, "COCO")."""


@dataclass(frozen=True)
class Digits:
    """Digits of 8×8 pixels.

    Attributes:
        images: of shape (n, 8, 8), 0 to 1.
        labels: of shape (n,), 1 to 10.
    """

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Scene:
    """An image and what is in it.

    Attributes:
        image: of shape (1, 128, 128), 0 to 1.
        boxes: of shape (n, 4): left, top, right, bottom in pixels.
        labels: of shape (n,), 1 to 10.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor


def read_digits() -> tuple[Digits, Digits]:
    """Return the digits to train on, and those held out."""
    images, labels = load_digits(return_X_y=True)
    pixels, classes = torch.tensor(images).float().view(-1, 8, 8) / 16, torch.tensor(labels) + 1
    return Digits(pixels[:-HELD_OUT], classes[:-HELD_OUT]), Digits(pixels[-HELD_OUT:], classes[-HELD_OUT:])


def scenes(digits: Digits, seed: int) -> Iterator[Scene]:
    """Make scenes without end: one to four digits of any side and brightness on an uneven, noisy ground."""
    generator = torch.Generator().manual_seed(seed)

    def number(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    while True:
        ground = interpolate(torch.rand(1, 1, 5, 5, generator=generator), (SIDE, SIDE), mode="bilinear")[0]
        image = 0.4 * ground + 0.08 * torch.randn(1, SIDE, SIDE, generator=generator)
        boxes, labels = torch.empty(0, 4), list[Tensor]()
        for _ in range(int(number(1, 5))):
            index, side = int(number(0, len(digits.labels))), int(SIDE * number(*SHARES))
            left, top = int(number(0, SIDE - side)), int(number(0, SIDE - side))
            ink = interpolate(digits.images[index][None, None], (side, side), mode="bilinear")[0, 0].clamp(0, 1)
            rows, columns = (torch.where((ink > 0.25).any(dim=axis))[0] for axis in (1, 0))
            edges = [columns[0] + left, rows[0] + top, columns[-1] + left + 1, rows[-1] + top + 1]
            box = torch.tensor([[float(edge) for edge in edges]])
            if (overlaps(box, boxes) > 0.05).any():
                continue  # it would hide another digit
            image[:, top : top + side, left : left + side] += number(0.3, 0.7) * ink
            boxes, labels = torch.cat((boxes, box)), [*labels, digits.labels[index]]
        yield Scene(image.clamp(0, 1), boxes, torch.stack(labels))


def train(model: nn.Module, digits: Digits, steps: int, batch: int, seed: int) -> None:
    """Train a detector on new scenes at each step, and leave it in eval mode."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps, pct_start=0.2)
    source = scenes(digits, seed)
    model.train()
    for _ in range(steps):
        drawn = [next(source) for _ in range(batch)]
        losses = model([scene.image for scene in drawn], [{"boxes": s.boxes, "labels": s.labels} for s in drawn])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    model.eval()


@torch.inference_mode()
def evaluate(model: nn.Module, digits: Digits, count: int, batch: int = 50) -> float:
    """Return the mAP of a detector on scenes of digits that it was not trained on: the same ones for each detector."""
    source = scenes(digits, seed=2**31)
    truth = [next(source) for _ in range(count)]
    found = [one for first in range(0, count, batch) for one in model([s.image for s in truth[first : first + batch]])]
    precisions = [
        average_precision(*matches(truth, found, label, overlap)) for label in range(1, CLASSES) for overlap in OVERLAPS
    ]
    return sum(precisions) / len(precisions)


def matches(
    truth: list[Scene], found: list[dict[str, Tensor]], label: int, overlap: float
) -> tuple[list[tuple[float, bool]], int]:
    """Match the boxes that were found of one digit with those that are there, the best scores first.

    Returns:
        For each box found its score, and whether it has a digit of its own; and how many digits there are.
    """
    judged, total = list[tuple[float, bool]](), 0
    for scene, one in zip(truth, found, strict=True):
        wanted, given = scene.boxes[scene.labels == label], one["labels"] == label
        total += len(wanted)
        shared = overlaps(one["boxes"][given], wanted)
        for row, score in zip(shared, one["scores"][given].tolist(), strict=True):  # torchvision's are sorted
            is_found = len(wanted) > 0 and float(row.max()) >= overlap
            if is_found:
                shared[:, row.argmax()] = -1.0  # found once
            judged.append((score, is_found))
    return judged, total


def average_precision(judged: list[tuple[float, bool]], total: int) -> float:
    """Return the area under the curve of precision over recall; at each recall the best precision from there on."""
    if not judged:
        return 0.0
    is_found = torch.tensor([hit for _, hit in sorted(judged, key=lambda one: -one[0])], dtype=torch.float64)
    precision = is_found.cumsum(0) / torch.arange(1, len(is_found) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    return float((best * is_found).sum() / total)


def weights_file(folder: Path, network: mnfpn.NetworkSettings, size: str) -> Path:
    """Return the file of trained weights: named by the width, the size, and the hash of all settings."""
    settings = hashlib.sha256(network.model_dump_json().encode()).hexdigest()[:8]
    return folder / f"width{network.width_mult:g}-size{size}-{settings}.pt"


def main() -> None:
    """Train and evaluate the network of a settings file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, type=Path, help="the network's settings, a JSON file")
    parser.add_argument("--size", required=True, help="what scenes are resized to, as 64 or 64x64")
    parser.add_argument("--output", required=True, type=Path, help='where {"map": 0.5} is written')
    parser.add_argument("--weights-folder", type=Path, help="where the trained weights are kept (default: nowhere)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and scenes (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of training (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="scenes of a step (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of torch; another number rounds otherwise (default: 1)")
    parser.add_argument("--scenes", type=int, default=300, help="to evaluate on (default: %(default)s)")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)

    start = time.process_time()
    try:
        network = mnfpn.settings(config=given.config)
        model = mnfpn.detector(network, seed=given.seed, size=given.size)
    except mnfpn.MnfpnError as error:
        parser.exit(1, f"error: {error}\n")
    classes = getattr(network.head, "classes", None)
    if classes != CLASSES:
        parser.exit(1, f"error: head.classes must be {CLASSES}, a background and ten digits, got {classes}\n")
    to_train, held_out = read_digits()
    train(model, to_train, given.steps, given.batch, given.seed)
    trained = time.process_time()
    score = evaluate(model, held_out, given.scenes)
    if given.weights_folder:
        given.weights_folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), weights_file(given.weights_folder, network, given.size))
    given.output.write_text(json.dumps({"map": round(score, 4)}) + "\n", encoding="utf-8")
    seconds = f"{trained - start:.0f} s to train, {time.process_time() - trained:.0f} s to evaluate"
    print(f"width {network.width_mult:g}, size {given.size}: mAP {score:.4f}; {seconds}, of a processor's time")


if __name__ == "__main__":
    main()
