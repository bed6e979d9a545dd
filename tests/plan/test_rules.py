"""Settings that contradict each other are refused with the reason; presets accept every other backbone and head."""

import json

import pytest

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import choose_size, network_input, resolve
from mnfpn_cli.settings.files import parse_settings, preset_names, read_preset
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override
from mnfpn_cli.settings.problems import SettingsError
from mnfpn_cli.settings.sources import Source

RESNET = "backbone.kind=resnet"
CLASSIFIER = "head.kind=classifier"
RETINANET = "head.kind=retinanet"
SEPARABLE = ("head.separable=true", "head.depthwise_norm=true")
REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("backbone.kind=vgg",), "set backbone.kind: must be 'mobilenet_v2' or 'resnet', got 'vgg'"),
    (("backbone=resnet",), "set backbone: must be an object, got 'resnet'"),
    (("backbone.blocks=[3,4]",), "set backbone.blocks: is a key of backbone.kind 'resnet', not of 'mobilenet_v2'"),
    ((RESNET, "backbone.conv_bias=true"), "is a key of backbone.kind 'mobilenet_v2', not of 'resnet'"),
    ((RESNET, "backbone.blocks=[]"), "set backbone.blocks: must have at least 1 item, got []"),
    ((RESNET, "backbone.blocks=[0]"), "set backbone.blocks: backbone.blocks[0]: must be at least 1, got 0"),
    ((RESNET, "backbone.blocks=[999,2]"), "backbone.blocks: must have at most 1000 blocks in all, got 1001"),
    ((RESNET, "backbone.blok=[1]"), "set backbone.blok: unknown key; did you mean 'backbone.blocks'?"),
    ((RESNET, "stages=[[6,24,2,2]]"), "must be null with backbone.kind 'resnet', whose stages are in backbone.blocks"),
    (("backbone.bare_stem=1",), "set backbone.bare_stem: must be true or false, got 1"),
    (
        ("head.classes=10",),
        "a key of head.kind 'classifier', 'level_classifiers', 'retinanet', 'fcos', 'ssd' and 'ssdlite', not of 'none'",
    ),
    (
        (CLASSIFIER, "head.pool=average"),
        "set head.pool: is a key of head.kind 'level_classifiers', not of 'classifier'",
    ),
    ((CLASSIFIER, "head.dropout=1"), "set head.dropout: must be less than 1, got 1"),
    ((CLASSIFIER, "head.classes=0"), "set head.classes: must be at least 1, got 0"),
    (
        (CLASSIFIER, "pyramid.channels=8"),
        "must be null with head.kind 'classifier', which takes the backbone's last map",
    ),
    ((CLASSIFIER, "head.last_channels=60000", "width_mult=2"), "width_mult: head.last_channels must be 1 to 65536"),
    (("pyramid=null",), "set pyramid: must not be null with head.kind 'none': the network would have no output"),
    (
        ("head.kind=level_classifiers", "pyramid=null"),
        "must not be null with head.kind 'level_classifiers': it takes the pyramid's levels",
    ),
    (("head.kind=level_classifiers", "head.size=0x3"), "set head.size: each side must be 1 to 65536 pixels"),
    (("head.kind=level_classifiers", "head.size=3,4"), "set head.size: must be HxW in pixels"),
    (("head.kind=level_classifiers", "head.pool=average", "head.size=64"), "head.size: must be null with head.pool"),
    (
        ("head.kind=level_classifiers", "head.size=8"),
        "set head.size: must have sides of at least 32 pixels, the stride of the backbone's last map, got 8x8",
    ),
    (
        ("head.kind=level_classifiers", "head.size=4", "pyramid.levels=p2-p3"),
        "set head.size: must have sides of at least 8 pixels, the stride of p3, got 4x4",
    ),
    (("pyramid.merge=concat", "pyramid.smooth=none"), "smoothing brings the concatenated maps back to the pyramid's"),
    (("pyramid.merge=concat", "pyramid.smooth_shared=true"), "pyramid.smooth_shared: must be false with pyramid.merge"),
    (
        ("pyramid.extra=maxpool", "pyramid.extra_from=tap"),
        "pooling keeps a tap's channels, which are not the pyramid's",
    ),
    (
        ("pyramid.top=pool", "pyramid.extra=conv"),
        "must be 'none' with pyramid.top 'pool': a 1×1 map cannot be downsampled",
    ),
    (("pyramid.top=pool", "stages=[[1,8,1,1],[1,8,1,2]]"), "pyramid.top: must not be 'pool' where it leaves no level"),
    (("pyramid.levels=p3-p7",), "must be among the levels that the stages give (p2, p3, p4, p5), got p6, p7"),
    (("pyramid.levels=p3-p4,p6", "pyramid.extra=conv"), "pyramid.levels: must be 'all', a range as p3-p5, or a list"),
    (("pyramid.levels=p3,p6", "pyramid.extra=conv"), "must hold p5 and no gap after it"),
    (("pyramid.levels=p5,p7", "pyramid.extra=conv"), "must hold p5 and no gap after it"),
    (("pyramid.levels=p5-p17", "pyramid.extra=conv"), "must end at p16, which the largest image fills, got p17"),
    (("pyramid.top=pool", "pyramid.last_channels=64"), "pyramid.last_channels: must be null with pyramid.top 'pool'"),
    ((RETINANET, "pyramid=null"), "must not be null with head.kind 'retinanet': it takes the pyramid's levels"),
    (
        ("head.kind=rpn", "pyramid.top=pool"),
        "set pyramid.top: must be 'lateral' with head.kind 'rpn': a 1×1 map of the whole image has no cells, got 'po",
    ),
    ((RETINANET, "head.classes=0"), "set head.classes: must be at least 1, got 0"),
    (("head.kind=ssd", "head.classes=1"), "set head.classes: must be at least 2, got 1"),
    (("head.kind=rpn", "head.classes=2"), "and 'ssdlite', not of 'rpn'"),
    (
        ("head.kind=fcos", "head.anchors.scales=[1.0]"),
        "head.anchors: is a key of head.kind 'retinanet', 'ssd', 'ssdlite' and 'rpn', not of 'fcos'",
    ),
    (
        (RETINANET, "head.norm=group", "head.norm_groups=24"),
        "set head.norm_groups: must divide the channels that are normalised, 256",
    ),
    (
        ("pyramid.channels=80", "head.kind=fcos", "head.channels=64", *SEPARABLE, "head.norm_groups=32"),
        "set head.norm_groups: must divide the channels that are normalised, 80",
    ),
    (
        (RETINANET, "head.norm_shared=false"),
        "set head.norm_shared: must be true with head.norm 'none': it is about the norms of convolutions that levels s",
    ),
    (
        ("head.kind=ssdlite", "head.norm_shared=false"),
        "set head.norm_shared: must be true with head.shared false: it is about the norms of convolutions that levels",
    ),
    (
        ("head.kind=ssd", "head.channels=64"),
        "set head.channels: must be null with head.depth 0: there is no convolution before the last ones, got 64",
    ),
    (
        ("head.kind=retinanet", "head.depth=0", "head.norm=batch", "head.norm_shared=false"),
        "set head.norm_shared: must be true with head.depth 0",
    ),
    (
        ("head.kind=ssd", "head.anchors.min_scale=0.95"),
        "set head.anchors.min_scale: must be at most head.anchors.max_scale, 0.9, got 0.95",
    ),
    (
        (RETINANET, "head.norm=batch", "head.norm_shared=false", *SEPARABLE),
        "set head.depthwise_norm: must be false with head.norm_shared false: a level's own norms are behind whole conv",
    ),
    (("preprocess.mean=[0.5]",), "preprocess: must be null with head.kind 'none', which detects nothing"),
    (
        (RETINANET, "preprocess.mean=[0.5,0.5]"),
        "set preprocess.mean: must have one value, or one for each of in_channels, 3, got 2",
    ),
    (
        (RETINANET, "in_channels=4", "preprocess.std=[0.5,0.5,0.5]"),
        "set preprocess.std: must have one value, or one for each of in_channels, 4, got 3",
    ),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_settings_without_a_network_are_refused_with_the_reason(words: tuple[str, ...], message: str) -> None:
    """The message begins with the parameter that gave the value."""
    with pytest.raises(UsageError) as caught:
        resolve([parse_override(text) for text in words])
    assert str(caught.value).startswith("set ")
    assert message in str(caught.value)
    assert not str(caught.value).endswith("got null")


ACCEPTED = (
    ("head.kind=fcos", "head.channels=96", "pyramid.channels=80"),
    ("head.kind=fcos", "head.depth=0", "pyramid.channels=80"),
    (RETINANET, "head.norm=batch", "head.norm_shared=false", "head.separable=true"),
    (RETINANET, "preprocess.mean=[0.5]", "preprocess.std=[0.5]", "in_channels=4"),
)


@pytest.mark.parametrize("words", ACCEPTED, ids=" ".join)
def test_rules_of_detectors_refuse_no_more_than_they_say(words: tuple[str, ...]) -> None:
    """Channels that no norm follows, norms of each level behind separable convolutions, one mean for all channels."""
    assert plan_network(resolve([parse_override(text) for text in words])).head


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("word", ["backbone.kind=resnet", "backbone.kind=mobilenet_v2"])
def test_any_preset_takes_the_other_backbone(preset: str, word: str) -> None:
    """Keys that only the backbone of the preset has are dropped; its pyramid and its head stay."""
    given, changed = resolve([read_preset(preset)]), resolve([read_preset(preset), parse_override(word)])
    assert f"backbone.kind={changed.backbone.kind}" == word
    assert (changed.pyramid, changed.head.kind) == (given.pyramid, given.head.kind)
    plan_network(changed.at(Size(224, 224)))


@pytest.mark.parametrize("preset", preset_names())
@pytest.mark.parametrize("kind", ["none", "classifier", "level_classifiers"])
def test_any_preset_takes_any_head(preset: str, kind: str) -> None:
    """Classes are kept where both heads have them."""
    given = resolve([read_preset(preset), parse_override(f"head.kind={kind}")])
    assert given.head.kind == kind
    assert (given.pyramid is None) == (kind == "classifier")
    plan_network(given.at(Size(224, 224)))


def test_settings_made_in_python_are_refused_where_they_are_planned() -> None:
    """Each value is valid by itself; the plan refuses the combination."""
    settings = NetworkSettings.model_validate({"pyramid": {"merge": "concat", "smooth": "none"}})
    with pytest.raises(
        SettingsError, match=r"^pyramid\.smooth: must not be 'none' with pyramid\.merge 'concat'"
    ) as caught:
        plan_network(settings)
    assert caught.value.problem.path == ("pyramid", "smooth")
    assert caught.value.exit_code == 2
    beyond = NetworkSettings.model_validate({"pyramid": {"levels": "p3-p7"}})
    with pytest.raises(SettingsError, match=r"^pyramid\.levels: must be among the levels that the stages give"):
        network_input(beyond, Size(600, 900))


def test_a_file_that_contradicts_itself_is_refused() -> None:
    """Values are only dropped where another source overrides the kind that they belong to."""
    with pytest.raises(UsageError, match=r"my\.json: stages: must be null with backbone\.kind 'resnet'"):
        resolve([Source("my.json", {"backbone": {"kind": "resnet"}, "stages": [[6, 24, 2, 2]]})])


def test_defaults_follow_the_kind() -> None:
    """A resnet's stem has 64 channels and its classifier no last convolution; a classifier has no pyramid."""
    resnet = NetworkSettings.model_validate({"backbone": {"kind": "resnet"}, "head": {"kind": "classifier"}})
    assert (resnet.stem_channels, resnet.stages, resnet.pyramid) == (64, None, None)
    assert resnet.head.model_dump()["last_channels"] is None
    assert NetworkSettings.model_validate({"backbone": {}, "head": {}, "stages": None}) == NetworkSettings()


@pytest.mark.parametrize("preset", preset_names())
def test_the_settings_of_a_preset_read_back_from_json(preset: str) -> None:
    """Including nulls."""
    settings = resolve([read_preset(preset)])
    text = json.dumps(settings.model_dump(mode="json"))
    assert resolve([Source("shown", parse_settings("shown", text.encode()))]) == settings


def test_a_head_on_flattened_maps_is_made_for_one_size() -> None:
    """For the size of the command, or for `head.size`, with which another size is refused."""
    free = resolve([read_preset("fpn-classifier")])
    made, size = choose_size(free, "224")
    assert (made.made_for, size) == (Size(224, 224), Size(224, 224))
    with pytest.raises(UsageError, match=r"head\.size: must be given, as 600x900"):
        plan_network(free)
    tied = resolve([read_preset("fpn-classifier"), parse_override("head.size=128x192")])
    assert choose_size(tied, None)[1] == Size(128, 192)
    with pytest.raises(UsageError, match=r"^size: must be 128x192, which the head's dense layers are made for"):
        network_input(*choose_size(tied, "224"))


def test_a_head_on_averages_takes_any_size() -> None:
    """The size does not change its settings."""
    free = resolve([read_preset("fpn-classifier"), parse_override("head.pool=average")])
    assert choose_size(free, "224")[0] is free
    assert plan_network(free).outputs == ("logits",)
