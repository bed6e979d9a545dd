"""Settings from presets, files and options: how each is read, and which of them wins."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.backbones import StageSettings
from mnfpn_cli.settings.files import parse_settings, read_preset
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.overrides import parse_override, parse_stages
from mnfpn_cli.settings.sources import Source

STAGE = StageSettings(expansion=6, channels=24, repeats=2, stride=2)


def from_json(value: object) -> Source:
    """A settings file with this value."""
    return Source("my.json", parse_settings("my.json", json.dumps(value).encode()))


@pytest.mark.parametrize(
    "spelling",
    [
        {"expansion": 6, "channels": 24, "repeats": 2, "stride": 2},
        {"expansion_factor": 6, "width_factor": 24, "n": 2, "stride": 2},
        [6, 24, 2, 2],
    ],
    ids=["ours", "original project", "paper's row"],
)
def test_a_stage_is_read_in_each_spelling(spelling: object) -> None:
    """In a whole file, and in a file that is only a list of stages."""
    assert resolve([from_json({"stages": [spelling]})]).stages == (STAGE,)
    assert resolve([from_json([spelling])]).stages == (STAGE,)


def test_later_beats_earlier_and_leaves_the_rest() -> None:
    """A file changes the keys that it has, and an option its own key."""
    file = from_json({"width_mult": 0.5, "pyramid": {"channels": 64}})
    settings = resolve([file, Source("`width_mult`", 0.75, ("width_mult",)), parse_override("pyramid.smooth=none")])
    assert settings.width_mult == 0.75
    assert settings.pyramid
    assert (settings.pyramid.channels, settings.pyramid.smooth, settings.pyramid.upsample) == (64, "none", "bilinear")
    assert settings.stages == NetworkSettings().stages


def test_an_override_reaches_into_a_list_of_rows() -> None:
    """`set stages.0.channels=48` works on a file that wrote rows."""
    settings = resolve([from_json([[6, 24, 2, 2]]), parse_override("stages.0.channels=48")])
    assert settings.stages
    assert settings.stages[0].channels == 48
    original = from_json([{"expansion_factor": 6, "width_factor": 24, "n": 2, "stride": 2}])
    for key in ("stages.0.n", "stages[0].repeats", "stages[0].n"):
        stages = resolve([original, parse_override(f"{key}=5")]).stages
        assert stages
        assert stages[0].repeats == 5


def test_annotations_are_no_settings() -> None:
    """`$schema` and `$comment` are ignored."""
    file = from_json({"$schema": "mnfpn.schema.json", "$comment": "mine", "width_mult": 0.5})
    assert resolve([file]).width_mult == 0.5


def test_a_byte_order_mark_is_ignored() -> None:
    """Windows editors write one."""
    assert parse_settings("my.json", b'\xef\xbb\xbf{"width_mult": 0.5}') == {"width_mult": 0.5}


@given(st.lists(st.tuples(*[st.integers(1, 9)] * 3, st.sampled_from((1, 2))), min_size=1, max_size=9))
def test_stages_on_the_command_line_read_as_rows(rows: list[tuple[int, int, int, int]]) -> None:
    """`"t,c,n,s t,c,n,s"`, separated by spaces or semicolons."""
    for separator in (" ", "  ", ";", "; "):
        text = separator.join(",".join(str(number) for number in row) for row in rows)
        assert parse_stages(text).value == [list(row) for row in rows]


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("pyramid.smooth=separable", ("pyramid", "smooth"), "separable"),
        ("width_mult=0.5", ("width_mult",), 0.5),
        ("stages.3.channels=48", ("stages", 3, "channels"), 48),
        ('pyramid={"channels": 8}', ("pyramid",), {"channels": 8}),
        ("pyramid.levels=p3-p5", ("pyramid", "levels"), "p3-p5"),
    ],
)
def test_an_override_is_a_dotted_key_and_json_or_text(text: str, path: tuple[object, ...], value: object) -> None:
    """JSON where it reads as JSON, text otherwise."""
    source = parse_override(text)
    assert (source.path, source.value) == (path, value)


def test_an_error_names_the_source_that_gave_the_value() -> None:
    """Not the last source, nor one that gave something else."""
    file = from_json({"width_mult": -1, "stages": [[6, 24, 2, 3]]})
    with pytest.raises(UsageError) as caught:
        resolve([file, parse_override("pyramid.channels=0")])
    assert str(caught.value).splitlines() == [
        "my.json: width_mult: must be greater than 0, got -1",
        "my.json: stages[0].stride: must be 1 or 2, got 3",
        "set pyramid.channels: must be at least 1, got 0",
    ]


RESNET, MOBILENET = {"kind": "resnet"}, {"kind": "mobilenet_v2"}
REFUSED_AFTER_A_PRESET: list[tuple[str, dict[str, object], str]] = [
    (
        "resnet-fpn",
        {"stages": [[6, 24, 2, 2]]},
        "stages: must be null with backbone.kind 'resnet', whose stages are in backbone.blocks, got 1 stage",
    ),
    (
        "resnet-fpn",
        {"backbone": {"expand_at_1": True}},
        "backbone.expand_at_1: is a key of backbone.kind 'mobilenet_v2', not of 'resnet'",
    ),
    (
        "mobilenetv2-fpn",
        {"backbone": {"blocks": [3, 4]}},
        "backbone.blocks: is a key of backbone.kind 'resnet', not of 'mobilenet_v2'",
    ),
    (
        "mobilenetv2-classifier",
        {"pyramid": {"channels": 64}},
        "pyramid: must be null with head.kind 'classifier', which takes the backbone's last map, got a pyramid",
    ),
    (
        "mobilenetv2-classifier",
        {"head": {"pool": "average"}},
        "head.pool: is a key of head.kind 'level_classifiers', not of 'classifier'",
    ),
]


@pytest.mark.parametrize(("preset", "file", "message"), REFUSED_AFTER_A_PRESET)
def test_a_key_in_a_file_of_another_kind_than_the_presets_is_refused(
    preset: str, file: dict[str, object], message: str
) -> None:
    """Nothing of a file is dropped where no later source changes the kind."""
    with pytest.raises(UsageError) as caught:
        resolve([read_preset(preset), from_json(file)])
    assert str(caught.value) == f"my.json: {message}"


def test_a_file_changes_keys_that_all_kinds_share() -> None:
    """A resnet has a stem too; the file need not name the kind."""
    assert resolve([read_preset("resnet-fpn"), from_json({"stem_channels": 16})]).stem_channels == 16
    assert resolve([read_preset("resnet-fpn"), from_json({"stem_channels": 32})]).stem_channels == 32


def test_keys_of_a_replaced_kind_are_dropped_from_earlier_sources_only() -> None:
    """Keys in the source that changes the kind stay: a file of a resnet with stages is refused."""
    stages, changed = [[6, 24, 2, 2]], parse_override("backbone.kind=mobilenet_v2")
    for sources in (
        [read_preset("resnet-fpn"), from_json({"backbone": MOBILENET, "stages": stages})],
        [read_preset("resnet-fpn"), from_json({"stages": stages}), changed],
        [from_json({"backbone": RESNET}), from_json({"stages": stages}), changed],
    ):
        assert resolve(sources).stages == (STAGE,)
    with pytest.raises(UsageError, match=r"^my\.json: stages: must be null with backbone\.kind 'resnet'"):
        resolve([read_preset("mobilenetv2-fpn"), from_json({"backbone": RESNET, "stages": stages})])
    replaced = from_json({"backbone": {"kind": ["resnet"]}, "stem_channels": 8})
    assert resolve([replaced, changed]).backbone.kind == "mobilenet_v2"
    with pytest.raises(UsageError, match=r"^stages: must be null with backbone\.kind 'resnet'"):
        resolve([parse_stages("6,24,2,2"), parse_override("backbone.kind=resnet")])


@pytest.mark.parametrize(("values", "stem"), [({}, 64), ({"stem_channels": 32}, 64), ({"stem_channels": 48}, 48)])
def test_default_stem_channels_are_dropped_with_their_backbone(values: dict[str, object], stem: int) -> None:
    """`settings show` prints them for a MobileNetV2 too; any other number was chosen, and stays."""
    assert resolve([from_json(values), parse_override("backbone.kind=resnet")]).stem_channels == stem
    of_resnet = {"backbone": RESNET, "stem_channels": 32}
    assert resolve([from_json(of_resnet), parse_override("backbone.kind=resnet")]).stem_channels == 32


@pytest.mark.parametrize("preset", ["resnet-fpn", "mobilenetv2-plain-classifier", "fpn-classifier"])
@pytest.mark.parametrize(
    "word",
    [
        "backbone.kind=resnet",
        "backbone.kind=mobilenet_v2",
        "head.kind=none",
        "head.kind=classifier",
        "head.kind=level_classifiers",
    ],
)
def test_a_printed_preset_takes_another_kind_as_the_preset_does(preset: str, word: str) -> None:
    """`settings show` prints every key, nulls included; keys of the replaced kind are dropped."""
    shown = from_json(resolve([read_preset(preset)]).model_dump(mode="json"))
    changed = resolve([shown, parse_override(word)])
    part, _, kind = word.partition(".kind=")
    assert getattr(changed, part).kind == kind
    assert (changed.pyramid is None) == (changed.head.kind == "classifier")
