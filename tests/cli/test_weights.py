"""`--weights` on the commands: what is said of a checkpoint, and where its settings come from."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mnfpn_cli.network.network import Network, build_network
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.weights.checkpoint import Checkpoint, read_checkpoint
from mnfpn_cli.weights.header import SETTINGS_KEY
from tests.conftest import Mnfpn

SMALL = NetworkSettings.model_validate({"stages": [(2, 8, 2, 2), (2, 16, 1, 2)], "pyramid": {"channels": 8}})
ROWS = ("--stages", "2,8,2,2 2,16,1,2", "--pyramid-channels", "8")
RUN = ("--size", "64", "--passes", "1", "--warmup", "0", "--device", "cpu")


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """The state dict of a small network, no tensor of it as any seed would make it."""
    network = build_network(SMALL, seed=5)
    return {key: tensor + 1 for key, tensor in network.state_dict().items()}


def means_of_passes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The mean of a weight of the network, for each pass to come."""
    seen: list[float] = []
    real = Network.forward

    def forward(network: Network, images: Tensor) -> tuple[Tensor, ...] | Tensor:
        seen.append(network.get_parameter("stem.norm.weight").mean().item())
        return real(network, images)

    monkeypatch.setattr(Network, "forward", forward)
    return seen


@pytest.fixture
def ours(weights: dict[str, Tensor], tmp_path: Path) -> Path:
    """A checkpoint that carries its settings."""
    path = tmp_path / "ours.safetensors"
    save_file(weights, path, {SETTINGS_KEY: SMALL.model_dump_json()})
    return path


def test_our_own_checkpoint_needs_no_other_settings(mnfpn: Mnfpn, ours: Path) -> None:
    """`summary --weights ours.safetensors` shows that network."""
    result = json.loads(mnfpn("summary", "--weights", str(ours), "--json").out)
    assert result["settings"] == SMALL.model_dump(mode="json")
    weights = result["weights"]
    assert (weights["layout"], weights["ignored"], weights["missing"]) == ("mnfpn", [], [])
    assert weights["matched"] == len(build_network(SMALL).state_dict())


@pytest.mark.parametrize("command", [("summary",), ("audit",), ("shapes",), ("shapes", "--verify")], ids=" ".join)
def test_commands_that_look_at_a_network_take_the_same_checkpoints(
    mnfpn: Mnfpn, ours: Path, command: tuple[str, ...]
) -> None:
    """Settings come out of it, text and JSON say how it fits, and one of another network is refused."""
    arguments = (*command, "--weights", str(ours), "--size", "64")
    matched = len(build_network(SMALL).state_dict())
    document = json.loads(mnfpn(*arguments, "--json").out)
    assert document["settings"] == SMALL.model_dump(mode="json")
    assert document["weights"] == {
        "file": str(ours),
        "layout": "mnfpn",
        "matched": matched,
        "ignored": [],
        "missing": [],
        "skipped": [],
        "overridden": [],
        "settings_differ": [],
    }
    assert f"Weights of {ours}: {matched} tensors matched, mnfpn layout." in mnfpn(*arguments).out.splitlines()
    other = mnfpn(*arguments, "--preset", "mobilenetv2-fpn")
    assert (other.code, other.out) == (2, "")
    assert "ours.safetensors: must be a checkpoint of this network" in other.err
    assert json.loads(mnfpn(*command, *ROWS, "--size", "64", "--json").out)["weights"] is None


def test_what_is_verified_has_the_weights(mnfpn: Mnfpn, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For every size."""
    seen = means_of_passes(monkeypatch)
    assert mnfpn("shapes", "--verify", "--weights", str(ours), "--size", "32,64").code == 0
    assert seen == [2.0, 2.0]


@pytest.mark.parametrize("command", ["summary", "audit", "shapes"])
def test_a_network_of_others_takes_no_checkpoint(mnfpn: Mnfpn, ours: Path, command: str) -> None:
    """Its own code loads what it needs."""
    outcome = mnfpn(command, "--model", "torch.nn:Identity", "--weights", str(ours))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: --weights: cannot be used with --model")


def test_options_go_on_top_of_carried_settings_and_a_preset_takes_their_place(mnfpn: Mnfpn, ours: Path) -> None:
    """One changes what it names; the other is another network, and the checkpoint does not fit."""
    changed = mnfpn("summary", "--weights", str(ours), "--set", "pyramid.smooth=none", "--json")
    assert json.loads(changed.out)["settings"]["pyramid"]["smooth"] == "none"
    assert any("pyramid.smooth.p2" in key for key in json.loads(changed.out)["weights"]["ignored"])
    other = mnfpn("summary", "--weights", str(ours), "--preset", "mobilenetv2-fpn")
    assert (other.code, other.out) == (2, "")
    assert "ours.safetensors: must be a checkpoint of this network" in other.err


def test_a_checkpoint_beside_a_drawing_is_checked_too(mnfpn: Mnfpn, ours: Path) -> None:
    """`--tree` draws the settings that it carries, and says whether it fits others."""
    drawn = mnfpn("summary", "--tree", "--weights", str(ours), "--size", "64")
    assert drawn.code == 0
    assert f"Weights of {ours}: " in drawn.out
    other = mnfpn("summary", "--tree", "--weights", str(ours), "--preset", "mobilenetv2-fpn")
    assert (other.code, other.out) == (2, "")
    assert "ours.safetensors: must be a checkpoint of this network" in other.err


def test_carried_settings_are_checked_like_any_others(mnfpn: Mnfpn, weights: dict[str, Tensor], tmp_path: Path) -> None:
    """A file is no more trusted than a person."""
    path = tmp_path / "bad.safetensors"
    save_file(weights, path, {SETTINGS_KEY: '{"width_mult": -1}'})
    outcome = mnfpn("summary", "--weights", str(path))
    assert (outcome.code, outcome.err) == (
        2,
        f"error: {path}: {SETTINGS_KEY}: width_mult: must be greater than 0, got -1\n",
    )


def test_settings_that_differ_from_the_carried_ones_are_said(mnfpn: Mnfpn, ours: Path, tmp_path: Path) -> None:
    """Where the tensors fit all the same: nothing else tells that the network is another one."""
    config = tmp_path / "other.json"
    other = SMALL.model_dump(mode="json")
    other["pyramid"] |= {"upsample": "nearest", "extra": "maxpool"}
    config.write_text(json.dumps(other))
    arguments = ("summary", "--weights", str(ours))
    changed = mnfpn(*arguments, "--config", str(config))
    assert "Made with settings that differ from these in pyramid.upsample, pyramid.extra." in changed.out.splitlines()
    document = json.loads(mnfpn(*arguments, "--config", str(config), "--json").out)
    assert document["weights"]["settings_differ"] == ["pyramid.upsample", "pyramid.extra"]
    for same in ((), ROWS, ("--preset", "mobilenetv2-fpn", *ROWS)):
        assert json.loads(mnfpn(*arguments, *same, "--json").out)["weights"]["settings_differ"] == []
        assert "Made with" not in mnfpn(*arguments, *same).out


def test_carried_settings_that_are_none_matter_only_where_they_are_used(
    mnfpn: Mnfpn, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """A file of a later version loads where its settings are given."""
    path = tmp_path / "later.safetensors"
    for text in ('{"attention": true}', "no JSON", '{"pyramid": {"levels": "p3-p7"}}'):
        save_file(weights, path, {SETTINGS_KEY: text})
        assert mnfpn("summary", "--weights", str(path)).code == 2
        outcome = mnfpn("summary", "--weights", str(path), "--preset", "mobilenetv2-fpn", *ROWS, "--json")
        assert json.loads(outcome.out)["weights"]["settings_differ"] == []


def test_a_head_that_is_made_for_the_commands_size_does_not_differ(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """Whether the settings in the file say the size or leave it to the command."""
    head = {"kind": "level_classifiers", "classes": 2}
    settings = NetworkSettings.model_validate(SMALL.model_dump() | {"head": head})
    made, path = settings.at(Size(32, 48)), tmp_path / "head.safetensors"
    for carried in (settings, made):
        save_file(build_network(made).state_dict(), path, {SETTINGS_KEY: carried.model_dump_json()})
        config = ("--preset", "fpn-classifier", "--config", str(tmp_path / "own.json"))
        (tmp_path / "own.json").write_text(settings.model_dump_json())
        outcome = mnfpn("summary", "--weights", str(path), *config, "--size", "32x48", "--json")
        assert json.loads(outcome.out)["weights"]["settings_differ"] == []


def test_a_benchmark_runs_with_the_weights(mnfpn: Mnfpn, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the network that is timed, and in the JSON."""
    seen = means_of_passes(monkeypatch)
    outcome = mnfpn("bench", "--weights", str(ours), *RUN, "--json")
    assert set(seen) == {2.0}
    assert json.loads(outcome.out)["weights"]["file"] == str(ours)


def test_what_matched_is_ignored_and_missing_is_said(mnfpn: Mnfpn, weights: dict[str, Tensor], tmp_path: Path) -> None:
    """On summary and on bench, as text."""
    path = tmp_path / "backbone.pth"
    tensors = {key: tensor for key, tensor in weights.items() if not key.startswith("pyramid.")}
    torch.save(tensors | {"head.dense.bias": torch.zeros(3)}, path)
    for command in (("summary",), ("bench", *RUN)):
        outcome = mnfpn(*command, *ROWS, "--weights", str(path))
        assert f"Weights of {path}: {len(tensors)} tensors matched, mnfpn layout." in outcome.out
        assert "Ignored, the network has no use for them: head.dense (1 tensor)." in outcome.out
        assert "Missing, left as initialised: pyramid.lateral, pyramid.smooth (8 tensors)." in outcome.out


@pytest.mark.parametrize(
    "command", [("summary",), ("audit",), ("shapes",), ("bench", *RUN)], ids=lambda command: command[0]
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"\x80\x04."], ids=["empty", "zip", "pickle"])
def test_a_bad_checkpoint_is_a_usage_error(mnfpn: Mnfpn, command: list[str], content: bytes, tmp_path: Path) -> None:
    """Exit code 2, one line, no result and nothing written."""
    path, out = tmp_path / "bad.pth", tmp_path / "out.json"
    path.write_bytes(content)
    outcome = mnfpn(*command, "--weights", str(path), "--output", str(out))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {path}: must ")
    assert outcome.err.count("\n") == 1
    assert not out.exists()


def test_names_out_of_a_file_do_not_steer_the_terminal(
    mnfpn: Mnfpn, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """A key can be any text."""
    path = tmp_path / "a.pth"
    torch.save(weights | {"pyramid.extra.\x1b[31mred": torch.zeros(1)}, path)
    outcome = mnfpn("summary", *ROWS, "--weights", str(path))
    assert "\x1b" not in outcome.out + outcome.err


def test_weights_are_read_once(mnfpn: Mnfpn, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many devices there are."""
    calls: list[Path] = []

    def read(path: Path, key: str | None) -> Checkpoint:
        calls.append(path)
        return read_checkpoint(path, key)

    monkeypatch.setattr("mnfpn_cli.weights.load.read_checkpoint", read)
    mnfpn("bench", "--weights", str(ours), *RUN, "--device", "cpu")
    assert calls == [ours]


def test_options_of_a_checkpoint_require_one(mnfpn: Mnfpn) -> None:
    """A key or a part alone would do nothing."""
    outcome = mnfpn("shapes", "--weights-key", "ema", "--weights-partial", "head")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --weights-key, --weights-partial: requires --weights\n"


@pytest.mark.parametrize("command", [("summary",), ("shapes",), ("bench", *RUN)], ids=lambda command: command[0])
def test_a_key_and_a_part_reach_the_checkpoint(
    mnfpn: Mnfpn, command: tuple[str, ...], weights: dict[str, Tensor], tmp_path: Path
) -> None:
    """On every command; what keeps its values is in the text and in the JSON."""
    path = tmp_path / "nested.pth"
    torch.save({"step": 1, "ema": weights | {"pyramid.smooth.p2.bias": torch.zeros(9)}}, path)
    arguments = (*command, *ROWS, "--weights", str(path), "--weights-key", "ema")
    refused = mnfpn(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "pyramid.smooth.p2.bias is 9, not 8" in refused.err
    found = mnfpn(*arguments, "--weights-partial", "pyramid.smooth")
    assert "Of other shapes in the file, left as initialised: pyramid.smooth (2 tensors)." in found.out.splitlines()
    document = json.loads(mnfpn(*arguments, "--weights-partial", "pyramid", "--json").out)
    assert document["weights"]["skipped"] == ["pyramid.smooth.p2.weight", "pyramid.smooth.p2.bias"]


def test_settings_that_fit_are_options(mnfpn: Mnfpn, tmp_path: Path) -> None:
    """As they can be typed, and then they do fit."""
    path = tmp_path / "wide.pth"
    wide = NetworkSettings(width_mult=1.4)
    torch.save(build_network(wide).state_dict(), path)
    arguments = ("shapes", "--size", "64", "--weights", str(path))
    assert mnfpn(*arguments).err.endswith("; it has 48 channels in the stem: try --width-mult 1.4\n")
    assert mnfpn(*arguments, "--width-mult", "1.4").code == 0


def test_a_side_of_a_comparison_takes_them(mnfpn: Mnfpn, weights: dict[str, Tensor], tmp_path: Path) -> None:
    """Each for itself."""
    path = tmp_path / "nested.pth"
    torch.save({"ema": weights}, path)
    side = f"--stages '2,8,2,2 2,16,1,2' --pyramid-channels 8 --weights {path} --weights-key"
    outcome = mnfpn("compare", "--a", f"{side} ema", "--b", f"{side} emma", *RUN)
    assert (outcome.code, outcome.out) == (2, "")
    assert "--weights-key: must be a key of" in outcome.err
