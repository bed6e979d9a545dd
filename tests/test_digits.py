"""The example of digits: its scenes, its metric, and that its training learns, the same way each time."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch

from mnfpn_cli import api
from tests.needs import needs

pytest.importorskip("sklearn")

from examples.digits.train import SIDE, Scene, average_precision, matches, read_digits, scenes, weights_file

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "digits"


def train(folder: Path, *options: str, config: Path = EXAMPLE / "settings.json") -> subprocess.CompletedProcess[str]:
    """Run the example's script as a sweep does, at size 48 on few scenes; its scores are in ``scores.json``."""
    words = [
        sys.executable,
        str(EXAMPLE / "train.py"),
        "--config",
        str(config),
        "--output",
        str(folder / "scores.json"),
    ]
    words += ["--size", "48", "--scenes", "40", *options]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


def score(folder: Path, *options: str, config: Path) -> float:
    """The mAP that the script writes."""
    done = train(folder, *options, config=config)
    assert done.returncode == 0, done.stderr
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert list(scores) == ["map"]
    return float(scores["map"])


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    """The settings of the example, at a quarter of the width."""
    settings = json.loads((EXAMPLE / "settings.json").read_text(encoding="utf-8"))
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings | {"width_mult": 0.25}), encoding="utf-8")
    return file


def one_scene(*boxes: list[float]) -> Scene:
    """A black scene with digits 0 in boxes."""
    return Scene(torch.zeros(1, SIDE, SIDE), torch.tensor(boxes), torch.ones(len(boxes), dtype=torch.long))


def found(*scored: tuple[float, list[float]]) -> dict[str, torch.Tensor]:
    """What a detector found: digits 0, the best first."""
    return {
        "boxes": torch.tensor([box for _, box in scored]),
        "scores": torch.tensor([score for score, _ in scored]),
        "labels": torch.ones(len(scored), dtype=torch.long),
    }


def test_scenes_are_of_their_own_digits_and_the_same_for_the_same_seed() -> None:
    """Every box lies in its scene, no two hide each other, and none of the held-out digits is trained on."""
    to_train, held_out = read_digits()
    assert (len(to_train.labels), len(held_out.labels)) == (1437, 360)
    first, again = (list(islice(scenes(to_train, seed=1), 30)) for _ in range(2))
    for scene, same in zip(first, again, strict=True):
        assert torch.equal(scene.image, same.image)
        assert torch.equal(scene.boxes, same.boxes)
        assert 1 <= len(scene.boxes) == len(scene.labels) <= 4
        assert scene.boxes.min() >= 0
        assert scene.boxes.max() <= SIDE
        assert (scene.boxes[:, 2:] - scene.boxes[:, :2]).min() > 4
    assert {int(label) for scene in first for label in scene.labels} == set(range(1, 11))
    assert not torch.equal(first[0].image, next(scenes(to_train, seed=2)).image)


def test_a_digit_is_found_once() -> None:
    """A second box on it is wrong, and so is one beside it; boxes of another label do not count."""
    box, beside = [10.0, 10.0, 30.0, 30.0], [60.0, 60.0, 80.0, 80.0]
    judged, total = matches([one_scene(box)], [found((0.9, box), (0.8, box), (0.7, beside))], label=1, overlap=0.5)
    assert ([hit for _, hit in judged], total) == ([True, False, False], 1)
    assert matches([one_scene(box)], [found((0.9, box))], label=2, overlap=0.5) == ([], 0)


def test_a_box_must_overlap_enough() -> None:
    """Half of the height is an overlap of 0.5."""
    half = found((0.9, [10.0, 10.0, 30.0, 20.0]))
    scene = one_scene([10.0, 10.0, 30.0, 30.0])
    assert matches([scene], [half], label=1, overlap=0.5)[0][0][1]
    assert not matches([scene], [half], label=1, overlap=0.55)[0][0][1]


@pytest.mark.parametrize(
    ("hits", "total", "precision"),
    [
        ([True, True], 2, 1.0),
        ([True, True], 4, 0.5),
        ([False, True], 1, 0.5),
        ([True, False, True], 2, 0.5 * 1 + 0.5 * 2 / 3),
        ([False, False], 3, 0.0),
        ([], 3, 0.0),
    ],
)
def test_the_average_precision(hits: list[bool], total: int, precision: float) -> None:
    """Worked out by hand; the order of scores counts, not that of the list."""
    judged = [(1 - 0.1 * rank, hit) for rank, hit in enumerate(hits)]
    assert average_precision(judged[::-1], total) == pytest.approx(precision)


@pytest.mark.slow
@needs("torchvision")
def test_its_training_learns_and_is_the_same_each_time(tmp_path: Path, smallest: Path) -> None:
    """150 steps find digits that one step does not; the weights are a checkpoint of the network."""
    untrained = score(tmp_path, "--steps", "1", config=smallest)
    kept = tmp_path / "weights"
    trained = score(tmp_path, "--steps", "150", "--weights-folder", str(kept), config=smallest)
    assert trained > untrained + 0.02
    assert score(tmp_path, "--steps", "150", config=smallest) == trained
    network = api.settings(config=smallest)
    file = weights_file(kept, network, "48")
    assert api.load_weights(api.build_network(network), network, file).missing == ()


@pytest.mark.slow
@needs("torchvision")
def test_a_network_of_other_classes_is_refused(tmp_path: Path, smallest: Path) -> None:
    """In a line, before it is trained; nothing is written."""
    settings = json.loads(smallest.read_text(encoding="utf-8"))
    settings["head"]["classes"] = 5
    smallest.write_text(json.dumps(settings), encoding="utf-8")
    done = train(tmp_path, config=smallest)
    assert (done.returncode, done.stderr) == (
        1,
        "error: head.classes must be 11, a background and ten digits, got 5\n",
    )
    assert not (tmp_path / "scores.json").exists()
