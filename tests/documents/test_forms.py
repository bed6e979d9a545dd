"""The forms of a document: its text, its `repr`, its rows and its data frame."""

import doctest
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

import pytest

from mnfpn_cli.accuracy.presets import presets_document
from mnfpn_cli.documents.base import Document, to_json
from mnfpn_cli.documents.render import TABLES
from mnfpn_cli.documents.schema import DOCUMENTS, records, schema
from mnfpn_cli.errors import MnfpnError
from mnfpn_cli.plan.network import plan_network
from mnfpn_cli.plan.rules import network_input
from mnfpn_cli.plan.shapes import network_shapes, shapes_document
from mnfpn_cli.settings.input import Size
from mnfpn_cli.settings.network import NetworkSettings
from tests.needs import needs


def commands() -> Iterator[str]:
    """Every command that has a document."""
    for name in DOCUMENTS:
        whole: Mapping[str, Any] = schema(name)
        for _, form in records(whole, whole["$defs"]):
            yield form["properties"]["command"]["const"]


def shapes(**settings: Any) -> Document:
    """The maps of a network."""
    of = NetworkSettings(**settings)
    return shapes_document(
        of, [network_shapes(plan_network(of), network_input(of, Size(64, 96)))], "float32", False, None
    )


def test_every_document_has_tables_but_data_and_what_is_not_printed() -> None:
    """The functions that make them are found by their names."""
    assert set(commands()) - TABLES.keys() == {"runs export", "worker request", "worker response"}
    assert TABLES.keys() <= set(commands())
    assert all(callable(resolve_name(where)) for where in TABLES.values())


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (presets_document(), "PresetsDocument(command='settings presets')"),
        (shapes(), "ShapesDocument(command='shapes', settings='defaults')"),
        (shapes(width_mult=0.5), "ShapesDocument(command='shapes', settings='width_mult 0.5')"),
    ],
)
def test_repr_is_a_line(document: Document, words: str) -> None:
    """With the command, and with what the network is: a prompt would be flooded by all keys."""
    assert repr(document) == words


def test_repr_is_a_line_however_many_settings_there_are() -> None:
    """They are cut off; an external network is named by its target."""
    stages = [{"expansion": 6, "channels": 24, "repeats": 2, "stride": 2} for _ in range(5)]
    words = repr(shapes(stages=stages, pyramid={"levels": "p2-p5"}))
    assert len(words) < 120
    assert "…" in words
    model = {"target": "package.module:Net", "arguments": {}}
    external = type(shapes()).model_validate({**shapes().model_dump(), "settings": None, "model": model})
    assert repr(external) == "ShapesDocument(command='shapes', model='package.module:Net')"


def test_json_is_what_the_command_prints() -> None:
    """To the last line break."""
    assert shapes().to_json() == to_json(shapes())


@pytest.mark.parametrize("method", [Document.to_json, pytest.param(Document.to_pandas, marks=needs("pandas"))])
def test_the_example_of_a_method_runs(method: Callable[[Document], object]) -> None:
    """It prints what it says."""
    (example,) = doctest.DocTestFinder().find(method, method.__name__, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_without_pandas_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MnfpnError, match=r"^to_pandas\(\): needs pandas, .*: pip install 'mnfpn\[pandas\]'$"):
        shapes().to_pandas()


def test_a_document_imports_its_tables_when_it_is_printed() -> None:
    """Not before: what measures has no need of them."""
    program = (
        "import sys; from mnfpn_cli.accuracy.presets import presets_document; made = presets_document()\n"
        "def found(): return sorted(name for name in sys.modules if name.startswith('mnfpn_cli.report'))\n"
        "before = found(); repr(made); made.to_json(); assert found() == before == [], before\n"
        "str(made); print(found())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert "mnfpn_cli.report.terminal.settings" in done.stdout
    assert "mnfpn_cli.report.terminal.bench" not in done.stdout
