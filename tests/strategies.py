"""Random valid settings, and sizes that they can take, for the property tests."""

from hypothesis import strategies as st
from pydantic import ValidationError

from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.models import NetworkSettings

ROUNDINGS = ("nearest8", "ceil8", "truncate")


@st.composite
def network_settings(draw: st.DrawFn) -> NetworkSettings:
    """Small networks of every kind: up to five stages, every rounding, resize, smoothing and choice of levels."""
    rows = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(1, 3), st.sampled_from((1, 2)))
    stages = draw(st.lists(rows, min_size=1, max_size=5).filter(lambda table: any(row[3] == 2 for row in table)))
    levels = 1 + sum(row[3] == 2 for row in stages)
    names = [f"p{k}" for k in range(2, levels + 1)]
    choice = st.lists(st.sampled_from(names), min_size=1, unique=True)
    values = {
        "in_channels": draw(st.integers(1, 4)),
        "stem_channels": draw(st.integers(8, 40)),
        "width_mult": draw(st.floats(0.25, 2.0)),
        "rounding": draw(st.sampled_from(ROUNDINGS)),
        "stages": stages,
        "pyramid": {
            "channels": draw(st.integers(1, 48)),
            "upsample": draw(st.sampled_from(("bilinear", "nearest"))),
            "smooth": draw(st.sampled_from(("conv", "separable", "none"))),
            "levels": draw(st.just("all") | choice),
        },
    }
    try:
        return NetworkSettings.model_validate(values)
    except ValidationError:  # a small width can truncate a layer away; if anything else is wrong, it still is
        return NetworkSettings.model_validate(values | {"rounding": "nearest8"})


@st.composite
def settings_and_size(draw: st.DrawFn) -> tuple[NetworkSettings, Size]:
    """Settings with a size from the smallest that they can take, odd sizes among them."""
    settings = draw(network_settings())
    sides = st.integers(settings.max_stride, settings.max_stride + 70)
    return settings, Size(draw(sides), draw(sides))
