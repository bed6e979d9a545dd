"""What the code of a network keeps outside of its modules has values after a pass: the network works as before."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from mnfpn_cli.trace.code_state import restore_code
from mnfpn_cli.trace.passes import Input, Mode, run_pass

GRIDS: dict[int, Tensor] = {}
"""A cache of grids, as many a detector has."""

LAST: Tensor | None = None
"""A cache of one grid."""


def made(x: Tensor) -> Tensor:
    """Return a grid with the width of a map."""
    return torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)


def from_globals(x: Tensor) -> Tensor:
    """Keep grids in a global dictionary."""
    if x.shape[-1] not in GRIDS:
        GRIDS[x.shape[-1]] = made(x)
    return GRIDS[x.shape[-1]]


def from_one_global(x: Tensor) -> Tensor:
    """Keep a grid in a global variable."""
    global LAST
    if LAST is None:
        LAST = made(x)
    return LAST


def from_new_global(x: Tensor) -> Tensor:
    """Keep a grid in a global variable that is not there before."""
    global NEW
    if "NEW" not in globals():
        NEW = made(x)  # type: ignore[name-defined]
    return NEW  # type: ignore[name-defined, no-any-return]


def from_a_closure() -> Callable[[Tensor], Tensor]:
    """Return a function that keeps a grid in a variable around it."""
    grid: Tensor | None = None

    def found(x: Tensor) -> Tensor:
        nonlocal grid
        if grid is None:
            grid = made(x)
        return grid

    return found


def from_a_default(x: Tensor, grids: list[Tensor] = []) -> Tensor:  # noqa: B006 - as users do
    """Keep a grid in the default of an argument."""
    if not grids:
        grids.append(made(x))
    return grids[0]


def from_a_function(x: Tensor) -> Tensor:
    """Keep a grid in an attribute of a function."""
    if not hasattr(from_a_function, "grid"):
        from_a_function.grid = made(x)  # type: ignore[attr-defined]
    return from_a_function.grid  # type: ignore[attr-defined, no-any-return]


@lru_cache
def of_width(width: int, device: torch.device) -> Tensor:
    """Keep grids by functools."""
    return torch.arange(width, device=device, dtype=torch.float32)


class Store:
    """An object of a user's class that keeps grids."""

    def __init__(self) -> None:
        self.grids: dict[int, Tensor] = {}

    def get(self, x: Tensor) -> Tensor:
        """Return the grid of a map."""
        return self.grids.setdefault(x.shape[-1], made(x))


STORE = Store()
SPACE = SimpleNamespace(grids={})

other = ModuleType("other")
other.__dict__["made"] = made
exec(  # a Python module whose function is called as other.grid
    "GRIDS = {}\ndef grid(x):\n    return GRIDS.setdefault(x.shape[-1], made(x))", other.__dict__
)


class Adds(nn.Module):
    """Adds a grid to its maps."""

    kept: ClassVar[dict[int, Tensor]] = {}
    last: Tensor | None = None

    def __init__(self, grid: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.one, self.grid = nn.Conv2d(3, 4, 1), grid

    def forward(self, x: Tensor) -> Tensor:
        """Add it."""
        y: Tensor = self.one(x)
        return y + self.found(y)

    def found(self, y: Tensor) -> Tensor:
        """Return the grid."""
        assert self.grid is not None
        return self.grid(y)


class InDictOfClass(Adds):
    """Keeps grids in a dictionary of its class."""

    def found(self, y: Tensor) -> Tensor:
        """Return the grid."""
        return self.kept.setdefault(y.shape[-1], made(y))


class InClass(Adds):
    """Keeps a grid in an attribute of its class, and another in one that is not there before."""

    def found(self, y: Tensor) -> Tensor:
        """Return the grid."""
        kind: Any = type(self)
        if kind.last is None:
            kind.last = made(y)
        if not hasattr(kind, "further"):
            kind.further = made(y)
        return kind.last + kind.further  # type: ignore[no-any-return]


class InMethod(Adds):
    """Keeps grids by functools, of a method."""

    @lru_cache  # noqa: B019 - as users do
    def of_width(self, width: int, device: torch.device) -> Tensor:
        """Return the grid of a width."""
        return torch.arange(width, device=device, dtype=torch.float32)

    def found(self, y: Tensor) -> Tensor:
        """Return the grid."""
        return self.of_width(y.shape[-1], y.device) + self.of_width(y.shape[-1], torch.device("cpu"))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a global dictionary": partial(Adds, from_globals),
    "a global": partial(Adds, from_one_global),
    "a new global": partial(Adds, from_new_global),
    "a closure": lambda: Adds(from_a_closure()),
    "a default": partial(Adds, from_a_default),
    "an attribute of a function": partial(Adds, from_a_function),
    "an object": lambda: Adds(lambda x: STORE.get(x)),
    "a namespace": lambda: Adds(lambda x: SPACE.grids.setdefault(x.shape[-1], made(x))),
    "functools": lambda: Adds(lambda x: of_width(x.shape[-1], torch.device("cpu"))),
    "another Python module": lambda: Adds(lambda x: other.grid(x)),
    "a dictionary of a class": InDictOfClass,
    "a class": InClass,
    "functools, of a method": InMethod,
}
"""Networks that keep grids, by where."""


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    """No test finds what another kept."""
    for kept in (GRIDS, STORE.grids, other.__dict__["GRIDS"], Adds.kept, from_a_default.__defaults__[0], SPACE.grids):  # type: ignore[index]
        kept.clear()
    for cache in (of_width, InMethod.of_width):
        cache.cache_clear()
    globals().update(LAST=None)
    globals().pop("NEW", None)
    vars(from_a_function).clear()
    InClass.last = None
    if "further" in vars(InClass):
        del InClass.further  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["meta", "fake"])
@pytest.mark.parametrize("place", NETWORKS)
def test_a_network_that_keeps_tensors_works_after_a_pass(place: str, mode: Mode) -> None:
    """None that the pass made is left where the next pass would find it."""
    network = NETWORKS[place]()
    run_pass(network, [Input((1, 3, 8, 8))], mode)
    with torch.no_grad():
        assert type(network(torch.zeros(1, 3, 8, 8)).sum().item()) is float


def test_what_was_kept_before_a_pass_is_kept() -> None:
    """A cache of grids with values keeps them."""
    GRIDS[4] = torch.arange(4.0)
    before = dict(GRIDS)
    run_pass(Adds(from_globals), [Input((1, 3, 8, 8))], "meta")
    assert before == GRIDS


COUNTS = Counter[str]()


def test_what_else_a_pass_changes_stays() -> None:
    """Counts, which another thread may have changed, and a Python module that was imported."""
    seen: list[int] = []

    def grid(x: Tensor) -> Tensor:
        global LATER
        LATER = ModuleType("later")  # type: ignore[name-defined]
        COUNTS["passes"] += 1
        seen.append(x.shape[-1])
        return made(x)

    run_pass(Adds(grid), [Input((1, 3, 8, 8))], "meta")
    assert COUNTS["passes"] == len(seen) > 0
    assert globals().pop("LATER").__name__ == "later"


class Fixed(type):
    """A class of classes whose attributes can be set, but not deleted."""

    def __delattr__(cls, name: str) -> None:
        raise AttributeError("fixed")


class Stubborn(Adds, metaclass=Fixed):
    """Keeps a grid where it cannot be taken out, and fails."""

    def found(self, y: Tensor) -> Tensor:
        """Keep it."""
        type(self).stuck = made(y)  # type: ignore[attr-defined]
        GRIDS[0] = made(y)
        raise ValueError("mine")


def test_the_networks_own_error_is_the_one_that_is_raised() -> None:
    """And what else has no values is taken out."""
    with pytest.raises(ValueError, match="mine"), restore_code([Stubborn()]):
        Stubborn().to("meta")(torch.zeros(1, 3, 8, 8, device="meta"))
    assert not GRIDS
