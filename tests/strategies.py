"""Random valid settings, and sizes that they can take, for the property tests."""

from hypothesis import strategies as st

from mnfpn_cli.plan.levels import plan_levels
from mnfpn_cli.plan.rules import plan_outline
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from mnfpn_cli.settings.problems import SettingsError

ROUNDINGS = ("nearest8", "ceil8", "truncate")


@st.composite
def network_settings(draw: st.DrawFn) -> NetworkSettings:
    """Small networks of every kind: both backbones, every pyramid that the settings can say, every head."""
    backbone, strides = draw(st.one_of(mobilenets(), resnets()))
    head = draw(st.sampled_from(("none", "none", "classifier", "level_classifiers", "dense", "dense")))
    pyramid = draw(pyramids(strides)) if head != "classifier" else None
    if pyramid and head == "dense":
        pyramid["top"] = "lateral"
    values = {
        **backbone,
        "in_channels": draw(st.integers(1, 4)),
        "stem_channels": draw(st.integers(4, 40)),
        "width_mult": draw(st.floats(0.25, 2.0)),
        "rounding": draw(st.sampled_from(ROUNDINGS)),
        "padding": draw(st.sampled_from(("torch", "same"))),
        "norm_eps": draw(st.sampled_from((1e-5, 1e-3))),
        "head": draw(dense_heads() if head == "dense" else HEADS[head]),
    }
    if pyramid:
        values["pyramid"] = pyramid
    settings = NetworkSettings.model_validate(values)
    try:
        plan_outline(settings)
        return settings
    except SettingsError:  # a small width can truncate a layer away; if anything else is wrong, it still is
        return NetworkSettings.model_validate(values | {"rounding": "nearest8"})


@st.composite
def mobilenets(draw: st.DrawFn) -> tuple[dict[str, object], list[int]]:
    """Settings of a MobileNetV2 of up to five stages, and its stages' strides."""
    rows = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 3), st.sampled_from((1, 2)))
    stages = draw(st.lists(rows, min_size=1, max_size=5).filter(lambda table: any(row[3] == 2 for row in table)))
    switches = {name: draw(st.booleans()) for name in ("expand_at_1", "conv_bias", "bare_stem")}
    return {"backbone": {"kind": "mobilenet_v2", **switches}, "stages": stages}, [row[3] for row in stages]


@st.composite
def resnets(draw: st.DrawFn) -> tuple[dict[str, object], list[int]]:
    """Settings of a ResNet of up to three stages, and its stages' strides."""
    blocks = draw(st.lists(st.integers(1, 2), min_size=1, max_size=3))
    return {"backbone": {"kind": "resnet", "blocks": blocks}}, [2] * len(blocks)


@st.composite
def pyramids(draw: st.DrawFn, strides: list[int]) -> dict[str, object]:
    """A pyramid of every kind that makes sense on stages of these strides."""
    top = draw(st.sampled_from(("lateral", "pool"))) if 2 in strides[:-1] else "lateral"
    merge = draw(st.sampled_from(("add", "concat")))
    extra = draw(st.sampled_from(("none", "maxpool", "conv", "separable"))) if top == "lateral" else "none"
    coarsest = 1 + sum(stride == 2 for stride in (strides if top == "lateral" else strides[:-1]))
    names = [f"p{k}" for k in range(2, coarsest + 1)]
    levels = draw(st.just("all") | st.lists(st.sampled_from(names), min_size=1, unique=True))
    if extra != "none" and levels != "all":
        beyond = draw(st.integers(0, 3))
        levels = [*{*levels, names[-1]}, *(f"p{coarsest + k}" for k in range(1, beyond + 1))]
    return {
        "channels": draw(st.integers(1, 48)),
        "scaled": draw(st.booleans()),
        "levels": levels,
        "taps": draw(st.sampled_from(("last", "first"))),
        "top": top,
        "merge": merge,
        "upsample": draw(st.sampled_from(("bilinear", "nearest"))),
        "smooth": draw(st.sampled_from(("conv", "separable", "none")[: 2 if merge == "concat" else 3])),
        "smooth_levels": draw(st.sampled_from(("all", "merged"))),
        "smooth_shared": merge == "add" and draw(st.booleans()),
        "extra": extra,
        "extra_from": "map" if extra == "maxpool" else draw(st.sampled_from(("map", "tap"))),
        "extra_relu": draw(st.booleans()),
        "top_down": draw(st.sampled_from(("merged", "smoothed"))),
        "last_channels": draw(st.none() | st.integers(8, 40)) if top == "lateral" else None,
        "norm": draw(st.sampled_from(("none", "batch"))),
        "activation": draw(st.sampled_from(("none", "relu", "relu6"))),
    }


@st.composite
def dense_heads(draw: st.DrawFn) -> dict[str, object]:
    """The head of a detector, of every kind; its anchors fit any number of levels."""
    kind = draw(st.sampled_from(("retinanet", "fcos", "ssd", "ssdlite", "rpn")))
    groups, norm = draw(st.integers(1, 3)), draw(st.sampled_from(("none", "batch", "group")))
    depth = draw(st.integers(0, 2))
    head: dict[str, object] = {
        "kind": kind,
        "depth": depth,
        "channels": groups * draw(st.integers(2, 8)) if depth else None,
        "shared": draw(st.booleans()),
        "one_tower": draw(st.booleans()),
        "separable": draw(st.booleans()),
        "norm": norm,
        "norm_groups": groups,
        "conv_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from(("relu", "relu6"))),
    }
    head["norm_shared"] = not head["shared"] or norm == "none" or not depth or draw(st.booleans())
    head["depthwise_norm"] = bool(head["norm_shared"]) and norm != "group" and draw(st.booleans())
    if kind != "rpn":
        head["classes"] = draw(st.integers(2, 5))
    numbers = st.lists(st.sampled_from((0.5, 1.0, 2.0, 3.0)), min_size=1, max_size=2)
    if kind in ("retinanet", "rpn"):
        head["anchors"] = {"scales": draw(numbers), "ratios": draw(numbers)}
    elif kind in ("ssd", "ssdlite"):
        head["anchors"] = {"ratios": [draw(numbers)]}
    return head


CLASSES = st.integers(1, 7)
HEADS: dict[str, st.SearchStrategy[dict[str, object]]] = {
    "none": st.just({"kind": "none"}),
    "classifier": st.fixed_dictionaries(
        {"kind": st.just("classifier"), "classes": CLASSES, "dense": st.sampled_from(("linear", "conv"))},
    ).flatmap(
        lambda head: (
            st.just(head | {"last_channels": None})
            | st.builds(
                lambda n, bare: head | {"last_channels": n, "bare_last": bare}, st.integers(8, 60), st.booleans()
            )
        )
    ),
    "level_classifiers": st.fixed_dictionaries(
        {"kind": st.just("level_classifiers"), "classes": CLASSES, "pool": st.sampled_from(("none", "average"))}
    ),
}


@st.composite
def settings_and_size(draw: st.DrawFn) -> tuple[NetworkSettings, Size]:
    """Settings with a size from the smallest that they can take, odd sizes among them."""
    settings = draw(network_settings())
    stride = plan_levels(settings).stride
    sides = st.integers(stride, stride + 70)
    size = Size(draw(sides), draw(sides))
    return settings.at(size), size
