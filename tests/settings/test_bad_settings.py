"""Each way in which settings can be wrong, with its message: where, the rule, the value."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnfpn_cli.errors import UsageError
from mnfpn_cli.plan.rules import resolve
from mnfpn_cli.settings.files import MAX_BYTES, parse_settings, read_config
from mnfpn_cli.settings.overrides import parse_override, parse_stages
from mnfpn_cli.settings.sources import Source
from tests.tiers import at_most

FILES: list[tuple[str, str]] = [
    ('{"width_mult": ', "line 1, column 16: must be JSON: expecting value (it ends too early)"),
    ('{\n  "width_mult" 1\n}', "line 2, column 16: must be JSON: expecting ':' delimiter"),
    ("", "must be JSON: it is empty"),
    ("[" * 100_000, "must be JSON: nested too deeply"),
    ('{"width_mult": 1, "width_mult": 2}', "must be JSON: the key 'width_mult' is given twice in one object"),
    ("3", "must be an object of settings or a list of stages, got 3"),
    ("null", "must be an object of settings or a list of stages, got null"),
    ('{"chanels": 3}', "chanels: unknown key; did you mean 'pyramid.channels'?"),
    ('{"smooth": "conv"}', "smooth: unknown key; did you mean 'pyramid.smooth'?"),
    ('{"pyramid": {"chanels": 3}}', "pyramid.chanels: unknown key; did you mean 'pyramid.channels'?"),
    ('{"stages": [{"expansion": 6, "channels": 24, "repeats": 2, "strid": 2}]}', "stages[0].stride: is required"),
    ('{"zzz": 3}', "zzz: unknown key"),
    ('{"width-mult": 3}', "width-mult: unknown key; did you mean 'width_mult'?"),
    ('[{"expansion_factor": 6, "width_factor": 24, "m": 2, "n": 2, "stride": 2}]', "stages[0].m: unknown key"),
    ("[[6, 24, 2, 2.0]]", "stages[0].stride: must be a whole number, got 2.0"),
    ("[[6, 24, 2, true]]", "stages[0].stride: must be a whole number, got true"),
    ('{"a.b": 3}', '"a.b": unknown key'),
    ('{"": 3}', '"": unknown key'),
    ('{"pyramid": {"\\u0000": 3}}', 'pyramid."\\u0000": unknown key'),
    ('{"pyramid.channels": 3}', '"pyramid.channels": unknown key; nest it: "pyramid": {"channels": …}'),
    (
        '{"head": {"kind": "ssd", "anchors.scales": 3}}',
        'head."anchors.scales": unknown key; nest it: "anchors": {"scales": …}',
    ),
    ('{"pyramid-channels": 3}', "pyramid-channels: unknown key; did you mean 'pyramid.channels'?"),
    ('{"stages": [{"expansion": 6, "channel": 24, "repeats": 2, "stride": 2}]}', "stages[0].channels: is required"),
    ('{"in_channels": "3"}', "in_channels: must be a whole number, got '3'"),
    ('{"in_channels": 3.5}', "in_channels: must be a whole number, got 3.5"),
    ('{"in_channels": true}', "in_channels: must be a whole number, got true"),
    ('{"in_channels": 0}', "in_channels: must be at least 1, got 0"),
    ('{"stem_channels": -8}', "stem_channels: must be at least 1, got -8"),
    ('{"in_channels": 100000}', "in_channels: must be at most 65536, got 100000"),
    ('{"width_mult": NaN}', "width_mult: must be a finite number, got NaN"),
    ('{"width_mult": 1e999}', "width_mult: must be a finite number, got Infinity"),
    ('{"width_mult": 0}', "width_mult: must be greater than 0, got 0"),
    ('{"width_mult": 1e300}', "width_mult: must be at most 100, got 1e+300"),
    ('{"width_mult": "wide"}', "width_mult: must be a number, got 'wide'"),
    ('{"rounding": "up"}', "rounding: must be 'nearest8', 'ceil8' or 'truncate', got 'up'"),
    (
        '{"rounding": "truncate", "width_mult": 0.01}',
        "width_mult: stem_channels must be 1 to 65536 channels after scaling (truncate), got 32 × 0.01 = 0",
    ),
    ('{"pyramid": 3}', "pyramid: must be an object, got 3"),
    ('{"pyramid": {"smooth": "yes"}}', "pyramid.smooth: must be 'conv', 'separable' or 'none', got 'yes'"),
    (
        '{"pyramid": {"levels": "p3-p9"}}',
        "pyramid.levels: must be among the levels that the stages give (p2, p3, p4, p5), got p6, p7, p8, p9; "
        "did you mean 'p5'?",
    ),
    ('{"pyramid": {"levels": ["p3", "p3"]}}', "pyramid.levels: must name at least one level, and each once, got p3,p3"),
    ('{"pyramid": {"levels": []}}', "pyramid.levels: must name at least one level, and each once, got none"),
    (
        '{"pyramid": {"levels": "p5-p3"}}',
        "pyramid.levels: must be 'all', a range as p3-p5, or a list of levels, got 'p5-p3'",
    ),
    (
        '{"pyramid": {"levels": [7]}}',
        "pyramid.levels: must be 'all', a range as p3-p5, or a list of levels, got [7]; did you mean 'p7'?",
    ),
    ('{"padding": "valid"}', "padding: must be 'torch' or 'same', got 'valid'"),
    ('{"norm_eps": 0}', "norm_eps: must be greater than 0, got 0"),
    ('{"head": {"kind": "retinanet", "norm": "layer"}}', "head.norm: must be 'none', 'batch' or 'group', got 'layer'"),
    ('{"head": {"kind": "retinanet", "depth": 33}}', "head.depth: must be at most 32, got 33"),
    ('{"head": {"kind": "retinanet", "activation": "none"}}', "head.activation: must be 'relu' or 'relu6', got 'none'"),
    ('{"head": {"kind": "rpn", "anchors": {"scales": []}}}', "head.anchors.scales: must have at least 1 item, got []"),
    (
        '{"head": {"kind": "rpn", "anchors": {"ratios": [1, 0]}}}',
        "head.anchors.ratios[1]: must be greater than 0, got 0",
    ),
    (
        '{"head": {"kind": "ssd", "anchors": {"ratios": [2, 3]}}}',
        "head.anchors.ratios[0]: must be a list, got 2",
    ),
    (
        '{"head": {"kind": "fcos"}, "postprocess": {"score_threshold": 2}}',
        "postprocess.score_threshold: must be at most 1, got 2",
    ),
    ('{"head": {"kind": "fcos"}, "postprocess": {"topk": 0}}', "postprocess.topk: must be at least 1, got 0"),
    ('{"head": {"kind": "fcos"}, "preprocess": {"std": [0]}}', "preprocess.std[0]: must be greater than 0, got 0"),
    ("[]", "stages: must have at least 1 item, got []"),
    ('{"stages": 7}', "stages: must be a list, got 7"),
    ('{"stages": [null]}', "stages[0]: must be an object or a row of four numbers, got null"),
    ("[[6, 24, 2, 3]]", "stages[0].stride: must be 1 or 2, got 3"),
    ("[[6, 24, 2]]", "stages[0]: must be four numbers (expansion, channels, repeats, stride), got [6, 24, 2]"),
    ("[[6, 0, 2, 2]]", "stages[0].channels: must be at least 1, got 0"),
    (
        "[[6, 24, 2, 1]]",
        "stages: must have a stage of stride 2: each one gives the pyramid a level, got none",
    ),
    ("[[1, 8, 600, 2], [1, 8, 600, 2]]", "stages: must have at most 1000 blocks in all, got 1200"),
]


@pytest.mark.parametrize(("text", "message"), FILES, ids=[message[:50] for _, message in FILES])
def test_a_bad_file_is_refused_with_place_rule_and_value(text: str, message: str) -> None:
    """The message begins with the file's name; nothing else is reported first."""
    with pytest.raises(UsageError) as caught:
        resolve([Source("my.json", parse_settings("my.json", text.encode()))])
    assert str(caught.value).splitlines()[0] == f"my.json: {message}"


@pytest.mark.parametrize("depth", [300, 900, 980])
@pytest.mark.parametrize("place", ["stages", "in_channels", "pyramid", "zzz"])
def test_deep_nesting_is_refused_at_every_depth(place: str, depth: int) -> None:
    """Also deep enough for this code to recurse too far, but not for the JSON reader to refuse it."""
    nested = f"{'[' * depth}{']' * depth}"
    with pytest.raises(UsageError, match=r"my\.json: "):
        resolve([Source("my.json", parse_settings("my.json", f'{{"{place}": {nested}}}'.encode()))])
    with pytest.raises(UsageError, match=f"^set {place}: "):
        resolve([parse_override(f"{place}={nested}")])


KEYS = st.sampled_from(["stages", "pyramid", "levels", "channels", "width_mult", "n", "stride"]) | st.text(max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@at_most(300)
@given(JSON, KEYS, JSON)
def test_any_json_gives_settings_or_a_usage_error(file: object, key: str, value: object) -> None:
    """Nothing else is ever raised: a traceback is a bug."""
    with contextlib.suppress(UsageError):
        text = json.dumps(file).encode()
        resolve([Source("my.json", parse_settings("my.json", text)), parse_override(f"{key}={json.dumps(value)}")])


def test_a_stage_that_mixes_spellings_is_refused() -> None:
    """Nothing is silently dropped."""
    stage = {"expansion": 6, "channels": 24, "width_factor": 32, "n": 2, "stride": 2}
    with pytest.raises(UsageError, match=r"stages\[0\]: must not mix 'expansion' with the spelling expansion_factor"):
        resolve([Source("my.json", {"stages": [stage]})])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6,24,2", "stages: a row must be t,c,n,s (expansion, channels, repeats, stride), got '6,24,2'"),
        ("6,24,2,x", "stages: a row must be four whole numbers t,c,n,s, got '6,24,2,x'"),
    ],
)
def test_bad_rows_on_the_command_line_are_refused(text: str, message: str) -> None:
    """The row is shown as it was written."""
    with pytest.raises(UsageError) as caught:
        parse_stages(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pyramid", "set: must be key=value with a dotted key, as pyramid.smooth=separable, got 'pyramid'"),
        ("=3", "set: must be key=value with a dotted key, as pyramid.smooth=separable, got '=3'"),
        ("stages.9.channels=8", "set stages.9.channels: the index must be 0 to 6, got '9'"),
        ("stages.x=8", "set stages.x: the index must be 0 to 6, got 'x'"),
        ("width_mult.x=8", 'set width_mult.x: width_mult: must be a number, got {"x": 8}'),
        ("pyramid.smoth=none", "set pyramid.smoth: unknown key; did you mean 'pyramid.smooth'?"),
        ("stages.٣.stride=1", "set stages.٣.stride: the index must be 0 to 6, got '٣'"),
        ("$x=1", "set $x: unknown key"),
        ("stages=[]", "set stages: must have at least 1 item, got []"),
    ],
)
def test_a_bad_override_is_refused(text: str, message: str) -> None:
    """The message names the option and its key."""
    with pytest.raises(UsageError) as caught:
        resolve([parse_override(text)])
    assert str(caught.value) == message


def test_text_that_is_not_utf8_is_refused() -> None:
    """With the index of the first byte that is not."""
    with pytest.raises(UsageError, match=r"my\.json: must be UTF-8 text, but byte 15 is not"):
        parse_settings("my.json", b'{"width_mult": \xff}')


def test_a_file_that_cannot_be_settings_is_not_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A checkpoint given by mistake is refused by its size, without reading it."""
    path = tmp_path_factory.mktemp("big") / "weights.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(UsageError, match=r"must have at most 1 MB, got 100\.0 MB"):
        read_config(str(path))
    assert MAX_BYTES == 1_000_000


def test_a_missing_file_and_a_folder_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    """By name."""
    folder = tmp_path_factory.mktemp("settings")
    with pytest.raises(UsageError, match=r"none\.json: no such file"):
        read_config(str(folder / "none.json"))
    with pytest.raises(UsageError, match="must be a file, but it is a folder"):
        read_config(str(folder))
