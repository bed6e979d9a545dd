"""What the page's script is given, as the records that its JSON is written from."""

from pydantic import ConfigDict, JsonValue
from pydantic.alias_generators import to_camel

from mnfpn_cli.documents.base import Record

Number = int | float
PageValue = str | Number | None
TextIndex = int
"""The index of a text in `PageData.texts`."""

Phrase = tuple[TextIndex, ...]
"""A text as its words, which single spaces join."""

Lines = tuple[TextIndex, ...]
"""A text as its lines."""

Bar = tuple[TextIndex, TextIndex, float]
"""The name of a bar, its part, and the time in seconds."""


class Diagram(Record):
    """The diagram of a network of the frontier; ``title``: its text for screen readers."""

    name: str
    title: str
    svg: Lines


class ColumnData(Record):
    """A column of the table.

    Attributes:
        title: its heading.
        kind: its classes in the style sheet.
        number: whether it holds numbers.
        values: the value of each run to sort by, of a column whose texts do not sort; else None.
        words: the text of each run.
    """

    title: str
    kind: str
    number: bool
    values: tuple[Number | None, ...] | None
    words: tuple[TextIndex, ...]


class RunsData(Record):
    """What the page knows of each run, besides the columns of the table.

    Attributes:
        status, runtime, device, size, batch, passes, worker: the fields to filter by.
        frontier: 1 where the run is on a frontier.
        title: its name in lists.
        command: the command line that measures it.
        key: its key.
        hover: the lines at its point in plots; none where it has no time.
    """

    status: tuple[TextIndex, ...]
    runtime: tuple[TextIndex, ...]
    device: tuple[TextIndex, ...]
    size: tuple[TextIndex, ...]
    batch: tuple[TextIndex, ...]
    passes: tuple[TextIndex, ...]
    worker: tuple[TextIndex, ...]
    frontier: tuple[int, ...]
    title: tuple[Phrase, ...]
    command: tuple[Phrase, ...]
    key: tuple[str, ...]
    hover: tuple[Lines, ...]


class TimesData(Record):
    """The time of each run and the ends of its interval, in milliseconds; None where the run has no time."""

    middle: tuple[Number | None, ...]
    low: tuple[Number | None, ...]
    high: tuple[Number | None, ...]


class AxisData(Record):
    """What latency can be plotted against.

    Attributes:
        key: its name in the page.
        word: its name on a button.
        title: the title of the axis.
        logarithmic: whether equal ratios are equal distances.
        values: the value of each run; None where it has none.
        errors: the standard error of each value; None where no value has one.
    """

    key: str
    word: str
    title: str
    logarithmic: bool
    values: tuple[Number | None, ...]
    errors: tuple[Number, ...] | None


class ProfileData(Record):
    """The time of each part and each layer of a run, and of a whole pass (``measured``), in seconds."""

    measured: float
    advice: str
    parts: tuple[Bar, ...]
    layers: tuple[Bar, ...]


class FigureData(Record):
    """The plots, in plotly's JSON. Traces of runs are without numbers, which the script looks up."""

    frontier: JsonValue
    sizes: JsonValue
    parts: JsonValue


class PageData(Record):
    """All data of the page.

    ``profiles`` are by the index of a run; ``places`` are where each run is along x of the plot by size.
    """

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)

    texts: tuple[str, ...]
    runs: RunsData
    columns: tuple[ColumnData, ...]
    sort_by: int
    filters: tuple[tuple[str, str], ...]
    axes: tuple[AxisData, ...]
    times: TimesData
    places: tuple[Number | None, ...]
    figures: FigureData | None
    profiles: dict[str, ProfileData]
    part_colours: dict[str, str]
    diagrams: tuple[Diagram, ...]
