"""Whose a checkpoint is, what of it goes where, and when it is another network's."""

import re
from collections.abc import Iterable, Sequence

import pytest
import torch
from torch import Tensor

from mnfpn_cli.documents.records import WeightsRecord
from mnfpn_cli.errors import UsageError
from mnfpn_cli.network.network import build_meta, build_network
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.weights.checkpoint import Checkpoint
from mnfpn_cli.weights.load import check_weights, load_weights
from tests.golden.cases import CASES, Case

REFERENCES = {case.file: case for case in CASES}


def tensors_of(file: str) -> dict[str, Tensor]:
    """The entries of a reference's state dict, without values."""
    entries = REFERENCES[file].reference()["state_dict"]
    return {key: torch.empty(shape, dtype=None if shape else torch.int64, device="meta") for key, shape in entries}


def check(
    tensors: dict[str, Tensor], overrides: Sequence[str] = (), case: Case | None = None, partial: str | None = None
) -> WeightsRecord:
    """Check tensors against a network on the meta device: of a reference's settings, or the default's."""
    settings = case.settings() if case else resolve([parse_override(text) for text in overrides])
    return check_weights(build_meta(plan_network(settings)), settings, Checkpoint("a.pth", tensors), partial)


def modules(keys: Iterable[str]) -> set[str]:
    """The modules that keys belong to."""
    return {key.rpartition(".")[0] for key in keys}


@pytest.mark.parametrize(
    ("file", "layout"),
    [
        ("torchvision_w1", "torchvision"),
        ("tonylins_w075", "tonylins"),
        ("timm_w05", "timm"),
        ("resnet_fpn_2222", "pytorch-fpn"),
        ("retina_fpn_2222", "pytorch-fpn RetinaFPN"),
        ("dynamic_fpn_w1", "MobileNetV2 dynamic FPN"),
        ("seed_classifier", "MobileNetV2 plain classifier"),
    ],
)
def test_the_layout_is_recognised_from_the_keys(file: str, layout: str) -> None:
    """Nothing else says whose a checkpoint is."""
    case = REFERENCES[file]
    tensors = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in tensors_of(file).items()}
    assert check(tensors, case=case).layout == layout


def test_a_classifiers_checkpoint_goes_into_a_backbone_with_a_pyramid() -> None:
    """The last convolution and the classifier are ignored, the pyramid is missing; both are said."""
    loaded = check(tensors_of("torchvision_w1"))
    assert loaded.matched == 306
    assert modules(loaded.ignored) == {"features.18.0", "features.18.1", "classifier.1"}
    assert {key.rpartition(".")[0] for key in loaded.missing} == {
        f"pyramid.{part}.p{k}" for part in ("lateral", "smooth") for k in (2, 3, 4, 5)
    }


def test_stages_that_no_level_needs_are_ignored() -> None:
    """With p2 to p4 the checkpoint's last stages have no place, and that is no error."""
    loaded = check(tensors_of("torchvision_w1"), ("pyramid.levels=p2-p4",))
    ignored = {".".join(key.split(".")[:2]) for key in loaded.ignored}
    assert ignored == {*(f"features.{n}" for n in (14, 15, 16, 17, 18)), "classifier.1"}


def test_a_pyramids_checkpoint_goes_into_a_classifier() -> None:
    """Its pyramid is ignored, the head is missing."""
    loaded = check(tensors_of("torchvision_fpn_p6p7_w1"), ("head.kind=classifier",))
    assert {key.split(".")[0] for key in loaded.ignored} == {"fpn"}
    assert modules(loaded.missing) == {"head.last.conv", "head.last.norm", "head.dense"}


def test_a_detectors_prefix_and_older_names_are_read() -> None:
    """`backbone.body`, and the pyramid's convolutions without the index that torchvision 0.13 put before them."""
    renamed = {f"backbone.{key}": tensor for key, tensor in tensors_of("torchvision_fpn_w1").items()}
    renamed = {re.sub(r"(_blocks\.\d+)\.0\.", r"\1.", key): tensor for key, tensor in renamed.items()}
    assert {"backbone.body.0.0.weight", "backbone.fpn.inner_blocks.0.weight"} < renamed.keys()
    case = REFERENCES["torchvision_fpn_w1"]
    assert check(renamed, case=case).matched == len(renamed)


def test_counters_of_batches_may_be_missing() -> None:
    """Checkpoints of before torch 0.4.1 have none, and none is needed."""
    tensors = {key: t for key, t in tensors_of("torchvision_w1").items() if "num_batches" not in key}
    assert not any("num_batches" in key for key in check(tensors).missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features.5.conv.0.0.weight": None},
            r"\(it has 305 of its 322 names, in torchvision layout\).* it lacks features\.5",
        ),
        ({"neck.weight": (3,)}, r"but the network has no place for neck\.weight"),
        ({"features.0.0.weight": (32, 3, 5, 5)}, r"features\.0\.0\.weight is 32×3×5×5, not 32×3×3×3"),
        ({"features.0.1.weight": ()}, r"features\.0\.1\.weight is a single number, not 32"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(change: dict[str, tuple[int, ...] | None], message: str) -> None:
    """With the first keys that do not fit."""
    tensors = tensors_of("torchvision_w1")
    for key, shape in change.items():
        if shape is None:
            del tensors[key]
        else:
            tensors[key] = torch.empty(shape, device="meta")
    with pytest.raises(UsageError, match=message):
        check(tensors)


NARROW = getattr(torch, "float4_e2m1fn_x2", torch.float8_e4m3fn)  # torch 2.8 has the first


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool, torch.float8_e5m2, NARROW])
def test_a_type_that_holds_no_weights_is_refused(dtype: torch.dtype) -> None:
    """Integers are not rounded weights, and what cannot be copied must not stop half way."""
    tensors = tensors_of("torchvision_w1") | {"features.0.0.weight": torch.empty(32, 3, 3, 3, dtype=dtype)}
    with pytest.raises(UsageError, match=r"must have types that .*features\.0\.0\.weight is \w+, not float32$"):
        check(tensors)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(dtype: torch.dtype) -> None:
    """To that of the network, also those of counts, which people convert with the rest."""
    settings = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}})
    trained, network = build_network(settings, seed=1), build_network(settings)
    converted = {key: tensor.to(dtype) for key, tensor in trained.state_dict().items()}
    load_weights(network, settings, Checkpoint("a.pth", converted))
    for key, tensor in network.state_dict().items():
        assert tensor.dtype in (torch.float32, torch.int64)
        assert torch.equal(tensor, converted[key].to(tensor.dtype))


def test_a_count_too_large_for_half_precision_is_none() -> None:
    """Infinity is no count."""
    settings = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}})
    network = build_network(settings)
    state = {key: torch.full_like(one, 1).to(torch.float16) for key, one in network.state_dict().items()}
    counts = [key for key in state if key.endswith("num_batches_tracked")]
    state[counts[0]] = torch.tensor(1e6).to(torch.float16)
    load_weights(network, settings, Checkpoint("a.pth", state))
    assert [int(network.state_dict()[key]) for key in counts] == [0] + [1] * (len(counts) - 1)


@pytest.mark.parametrize("file", ["resnet_fpn_2222", "seed_classifier", "timm_w05"])
def test_another_networks_checkpoint_names_keys(file: str) -> None:
    """Of a ResNet, of another classifier, of another width."""
    with pytest.raises(UsageError, match=r"a\.pth: must (be a checkpoint of|have) this network.*\.weight"):
        check(tensors_of(file))


def test_keys_that_nobody_knows_are_refused() -> None:
    """Not one fits."""
    with pytest.raises(UsageError, match=r"none of its keys is known: a, b, c and 1 more"):
        check({key: torch.zeros(1) for key in "abcd"})


def test_half_a_pyramid_is_refused() -> None:
    """A part is there, or it is not."""
    tensors = tensors_of("torchvision_fpn_w1")
    del tensors["fpn.layer_blocks.2.0.bias"]
    with pytest.raises(UsageError, match=r"lacks fpn\.layer_blocks\.2\.0\.bias"):
        check(tensors, case=REFERENCES["torchvision_fpn_w1"])


def test_nothing_is_half_loaded() -> None:
    """The last tensor has a wrong shape: the first is as it was."""
    settings = NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "pyramid": {"channels": 8}})
    network = build_network(settings)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    theirs = {key: tensor + 1 for key, tensor in before.items()}
    theirs["pyramid.smooth.p2.bias"] = torch.zeros(9)
    with pytest.raises(UsageError, match=r"pyramid\.smooth\.p2\.bias is 9, not 8"):
        load_weights(network, settings, Checkpoint("a.pth", theirs))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_of_keys_that_share_a_layer_the_last_counts_and_differences_are_said() -> None:
    """As torch's own `load_state_dict` does, which does not say so."""
    case = REFERENCES["dynamic_fpn_w1"]
    settings = case.settings()
    network = build_network(settings)
    tensors = {key: torch.zeros(t.shape, dtype=t.dtype) for key, t in tensors_of(case.file).items()}
    same = load_weights(network, settings, Checkpoint("a.pth", tensors))
    assert same.overridden == ()
    tensors["smooth_layers.4.bias"] = torch.ones(256)
    loaded = load_weights(network, settings, Checkpoint("a.pth", tensors))
    assert loaded.overridden == tuple(f"smooth_layers.{k}.bias" for k in range(4))
    assert network.get_parameter("pyramid.smooth.shared.bias").sum() == 256


OTHER_CLASSES = ("head.kind=classifier", "head.classes=7")


@pytest.mark.parametrize("part", ["head", "head.dense"])
def test_all_but_the_layers_of_a_part_that_do_not_fit_are_loaded(part: str) -> None:
    """A classifier of other classes keeps its dense layer, and has the last convolution of the file."""
    tensors = tensors_of("torchvision_w1")
    found = check(tensors, OTHER_CLASSES, partial=part)
    assert found.skipped == ("head.dense.weight", "head.dense.bias")
    assert (found.matched, found.ignored, found.missing) == (len(tensors) - 2, (), ())
    with pytest.raises(UsageError, match=r"classifier\.1\.weight is 10×1280, not 7×1280"):
        check(tensors, OTHER_CLASSES, partial="stages")


def test_a_layer_is_loaded_as_a_whole_or_not_at_all() -> None:
    """Where one of its tensors has another shape, or is not there, the others are left out too."""
    settings = ("head.kind=classifier", "head.classes=10")
    tensors = tensors_of("torchvision_w1")
    tensors["features.18.1.running_mean"] = torch.empty(7, device="meta")
    found = check(tensors, settings, partial="head")
    assert modules(found.skipped) == {"head.last.norm"}
    assert len(found.skipped) == 5
    del tensors["features.18.1.running_mean"]
    found = check(tensors, settings, partial="head")
    assert (modules(found.skipped), found.missing) == ({"head.last.norm"}, ("head.last.norm.running_mean",))


def test_what_a_part_lacks_or_has_too_many_of_is_allowed_there_alone() -> None:
    """A head of other layers; the backbone must fit as ever."""
    tensors = tensors_of("torchvision_w1")
    bare = (*OTHER_CLASSES, "head.bare_last=true")
    with pytest.raises(UsageError, match=r"lacks features\.18\.0\.bias.*; try weights_partial head to load all else$"):
        check(tensors, bare)
    found = check(tensors, bare, partial="head")
    assert found.missing == ("head.last.bias",)
    assert modules(found.skipped) == {"head.last", "head.dense"}
    assert modules(found.ignored) == {"features.18.1"}
    del tensors["features.5.conv.0.0.weight"]
    with pytest.raises(UsageError, match=r"lacks features\.5\.conv\.0\.0\.weight$"):
        check(tensors, OTHER_CLASSES, partial="head.dense")


def test_a_part_that_the_network_lacks_is_refused() -> None:
    """With those that it has."""
    with pytest.raises(UsageError) as caught:
        check(tensors_of("torchvision_w1"), partial="head")
    rule = "must be a part of the network, which has stem, stages, pyramid, or a path in one"
    assert str(caught.value) == f"weights_partial: {rule}, got 'head'"


def test_skipped_layers_keep_their_values() -> None:
    """The others are those of the file."""
    head = {"kind": "classifier", "last_channels": None}
    ours, theirs = (
        NetworkSettings.model_validate({"stages": [(2, 8, 1, 2)], "head": head | {"classes": classes}})
        for classes in (3, 5)
    )
    network, trained = build_network(ours), build_network(theirs, seed=1)
    dense = network.get_parameter("head.dense.weight").clone()
    found = load_weights(network, ours, Checkpoint("a.pth", trained.state_dict()), "head")
    assert found.skipped == ("head.dense.weight", "head.dense.bias")
    assert torch.equal(network.get_parameter("head.dense.weight"), dense)
    state, source = network.state_dict(), trained.state_dict()
    assert all(torch.equal(state[key], source[key]) for key in state if key not in found.skipped)


DETECTOR = {"stages": [(2, 8, 1, 2), (2, 16, 1, 2)], "pyramid": {"channels": 64}}


@pytest.mark.parametrize("kind", ["retinanet", "fcos", "ssd", "ssdlite"])
def test_a_detector_of_other_classes_loads_all_but_its_last_layers_of_classes(kind: str) -> None:
    """Those of boxes are loaded, and those of classes keep their values."""
    ours, theirs = (
        NetworkSettings.model_validate(DETECTOR | {"head": {"kind": kind, "classes": classes}}) for classes in (3, 5)
    )
    network, trained = build_network(ours), build_network(theirs, seed=1)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    checkpoint = Checkpoint("a.pth", trained.state_dict())
    with pytest.raises(UsageError, match=r"it has 5 classes: try set head\.classes=5, or weights_partial head to l"):
        load_weights(network, ours, checkpoint)
    found = load_weights(network, ours, checkpoint, "head")
    assert found.skipped
    assert all("cls_logits" in key for key in found.skipped)
    assert (found.ignored, found.missing) == ((), ())
    state, source = network.state_dict(), trained.state_dict()
    assert all(torch.equal(state[key], (before if key in found.skipped else source)[key]) for key in state)


def test_a_detectors_checkpoint_of_ours_goes_into_a_network_without_its_head() -> None:
    """Its head is ignored; one of another depth is refused, and can be left out."""
    detector, plain, deeper = (
        NetworkSettings.model_validate(DETECTOR | more)
        for more in (
            {"head": {"kind": "retinanet", "depth": 1}},
            {},
            {"head": {"kind": "retinanet", "depth": 2}},
        )
    )
    tensors = build_network(detector).state_dict()
    found = load_weights(build_network(plain), plain, Checkpoint("a.pth", tensors))
    assert {key.split(".")[0] for key in found.ignored} == {"head"}
    assert found.missing == ()
    other = build_network(deeper)
    with pytest.raises(UsageError, match=r"lacks head\.cls\.shared\.tower\.1\.conv\.weight.*; try weights_partial h"):
        load_weights(other, deeper, Checkpoint("a.pth", tensors))
    found = load_weights(other, deeper, Checkpoint("a.pth", tensors), "head")
    assert modules(found.missing) == {"head.cls.shared.tower.1.conv", "head.box.shared.tower.1.conv"}
    with pytest.raises(UsageError, match=r"no place for head\.cls\.shared\.tower\.1\.conv\.weight.*; try weights_pa"):
        load_weights(build_network(detector), detector, Checkpoint("a.pth", other.state_dict()))
