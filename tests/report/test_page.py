"""The page of a report in a real browser: it draws, sorts, filters and copies, and loads no other file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mnfpn_cli.sweep.command_lines import measure_command
from tests.report.browser import Watched, browser, opened
from tests.report.pages import Parsed, page_of
from tests.report.stores import FRONTIER, SAMPLE, Made, run_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator

pytest.importorskip("plotly")
pytest.importorskip("jinja2")
expect = pytest.importorskip("playwright.sync_api").expect

CIRCLES = "#plot-frontier .scatterlayer .trace .points path"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all of these tests."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of nine runs, one failed and one pending, whose baseline run moved."""
    return page_of(tmp_path_factory.mktemp("page"), SAMPLE, moved=True)


@pytest.fixture(scope="module")
def open_page(chromium: Browser, sample: Path) -> Iterator[Watched]:
    """That page in a browser, opened once: loading it takes seconds."""
    with opened(chromium, sample) as watched:
        yield watched


@pytest.fixture
def watched(open_page: Watched) -> Watched:
    """That page, reset to its first state; its console is clean so far."""
    page = open_page.page
    page.locator("#reset").click()
    page.evaluate("sorted = { column: data.sortBy, down: false }; setTheme(false); drawTable()")
    for first in ("axis", "detail"):
        page.locator(f"input[name={first}]").first.check(force=True)
    page.mouse.move(0, 0)
    assert open_page.messages == []
    return open_page


def column(watched: Watched, title: str) -> list[str]:
    """The texts of a column of the table, from top to bottom."""
    titles = watched.page.locator("#table thead th").all_inner_texts()
    place = [one.strip(" ▲▼") for one in titles].index(title) + 1
    return watched.page.locator(f"#table tbody tr td:nth-child({place})").all_inner_texts()


@pytest.mark.slow
def test_every_measured_run_is_a_point_of_both_plots(watched: Watched) -> None:
    """Each has an error bar; those on the frontier have a ring."""
    assert watched.count("#plot-frontier .errorbar") == 7
    watched.page.locator("#plot-sizes").scroll_into_view_if_needed()
    expect(watched.page.locator("#plot-sizes .errorbar")).to_have_count(7)
    assert watched.count("#plot-frontier .scatterlayer .js-line") == 1
    rings = "document.getElementById('plot-frontier').data.find((one) => one.meta.kind === 'frontier').x.length"
    assert watched.number(rings) == len(FRONTIER)
    assert watched.count("#plot-parts .bars .point") == 3


@pytest.mark.slow
def test_the_cost_can_be_switched(watched: Watched) -> None:
    """From MACs to parameters to memory, by keyboard too."""
    first = "document.getElementById('plot-frontier').data[0].x[0]"
    macs = watched.number(first)
    watched.page.get_by_text("Parameters", exact=True).first.click()
    assert watched.number(first) < macs
    watched.page.keyboard.press("ArrowRight")
    expect(watched.page.locator("#plot-frontier .xtitle")).to_contain_text("MiB")


@pytest.mark.slow
def test_no_line_joins_the_frontier_along_another_axis(watched: Watched) -> None:
    """It would zigzag: there are rings alone, and the line comes back with the first axis."""
    line = watched.page.locator("#plot-frontier .scatterlayer .js-line")
    watched.page.get_by_text("Memory", exact=True).first.click()
    expect(line).to_have_count(0)
    watched.page.get_by_text("MACs", exact=True).first.click()
    expect(line).to_have_count(1)


def first_of_the_sample(watched: Watched) -> Locator:
    """The circle of the sample's first run, with the pointer on it; circles are in the order of the runs' keys."""
    for circle in watched.page.locator(CIRCLES).all():
        circle.hover(force=True)
        try:
            expect(watched.page.locator("#plot-frontier .hoverlayer")).to_contain_text("5.000 ms", timeout=2000)
        except AssertionError:
            continue
        return circle
    raise AssertionError("no circle shows the run")


@pytest.mark.slow
def test_hovering_shows_the_run(watched: Watched) -> None:
    """Settings, time and cost."""
    first_of_the_sample(watched)
    text = watched.page.locator("#plot-frontier .hoverlayer").text_content() or ""
    for word in ("width_mult 0.35", "64x64, batch 1, channels-last", "cpu on here", "5.000 ms", "MACs", "frontier"):
        assert word in text


@pytest.mark.slow
def test_click_copies_the_command_that_measures_the_run_again(watched: Watched) -> None:
    """It is in the clipboard, and in a message."""
    first_of_the_sample(watched).click(force=True)
    command = measure_command(run_of(SAMPLE[0]))
    expect(watched.page.locator("#toast")).to_have_text(f"Copied: {command}")
    assert watched.page.evaluate("navigator.clipboard.readText()") == command


@pytest.mark.slow
def test_each_row_has_a_button_that_copies(watched: Watched) -> None:
    """It works by keyboard."""
    button = watched.page.locator("#table tbody tr").first.get_by_role("button")
    button.focus()
    watched.page.keyboard.press("Enter")
    expect(watched.page.locator("#toast")).to_contain_text("Copied: mnfpn bench --width-mult 0.35")


@pytest.mark.slow
def test_the_table_sorts_by_each_column(watched: Watched) -> None:
    """Up at the first click, down at the second."""
    for title in ("Network", "Runtime", "Status", "±95 %", "MACs", "Parameters", "Memory", "Median"):
        button = watched.page.get_by_role("columnheader", name=title).get_by_role("button")
        button.click()
        up = [one for one in column(watched, title) if one]
        assert watched.page.locator("th[aria-sort=ascending]").inner_text().startswith(title)
        button.click()
        down = [one for one in column(watched, title) if one]
        assert (down[0], down[-1]) == (up[-1], up[0])
        assert sorted(up) == sorted(down)


@pytest.mark.slow
def test_numbers_are_sorted_as_numbers(watched: Watched) -> None:
    """By keyboard too; empty cells come last in either order."""
    assert column(watched, "Median")[:3] == ["5.000 ms", "6.000 ms", "8.000 ms"]
    assert column(watched, "Median")[-3:] == ["25.00 ms", "", ""]
    watched.page.get_by_role("columnheader", name="Median").get_by_role("button").focus()
    watched.page.keyboard.press("Enter")
    assert column(watched, "Median")[0] == "25.00 ms"
    assert column(watched, "Median")[-2:] == ["", ""]
    watched.page.get_by_role("columnheader", name="Size").get_by_role("button").click()
    assert column(watched, "Size") == ["64x64"] * 5 + ["128x128"] * 4


@pytest.mark.slow
def test_filters_work_on_the_table_and_on_the_plots(watched: Watched) -> None:
    """Selects, search and "frontier only" together; Reset clears all."""
    rows, points = "#table tbody tr", "#plot-frontier .errorbar"
    watched.page.get_by_label("Runtime").select_option("channels-last")
    expect(watched.page.locator(rows)).to_have_count(5)
    expect(watched.page.locator(points)).to_have_count(5)
    watched.page.get_by_label("Search").fill("0.35 128X128")
    expect(watched.page.locator(rows)).to_have_count(1)
    expect(watched.page.locator(points)).to_have_count(1)
    expect(watched.page.locator("#matches")).to_have_text("1 of 9 runs")
    watched.page.get_by_label("Search").fill("nothing like this")
    expect(watched.page.locator(rows)).to_have_count(0)
    watched.page.locator("#reset").click()
    expect(watched.page.locator(rows)).to_have_count(9)
    watched.page.get_by_label("frontier only").check()
    expect(watched.page.locator(rows)).to_have_count(len(FRONTIER))
    watched.page.locator("#plot-sizes").scroll_into_view_if_needed()
    expect(watched.page.locator("#plot-sizes .errorbar")).to_have_count(len(FRONTIER))


@pytest.mark.slow
def test_plots_have_no_button_that_sends_them_anywhere(watched: Watched) -> None:
    """Plotly has one that uploads the plot, and may add others."""
    names = watched.page.locator(".modebar-btn").evaluate_all(
        "all => [...new Set(all.map((one) => one.dataset.title))]"
    )
    assert names == ["Download plot as a PNG", "Zoom", "Pan", "Reset axes"]


@pytest.mark.slow
def test_a_failed_run_is_in_the_table_with_its_reason(watched: Watched) -> None:
    """As text, though it looks like markup."""
    watched.page.get_by_label("Status").select_option("failed")
    assert column(watched, "Reason") == ["out of memory <script>alert(1)</script>"]


@pytest.mark.slow
def test_the_times_of_the_chosen_run_are_plotted(watched: Watched) -> None:
    """By part at first, then by layer."""
    names = "#plot-parts .ytick"
    assert sorted(watched.page.locator(names).all_text_contents()) == ["smooth p2", "stages.1", "stem"]
    watched.page.get_by_text("Layers", exact=True).click()
    assert sorted(watched.page.locator(names).all_text_contents()) == ["smooth p2.conv", "stages.1.conv", "stem.conv"]


@pytest.mark.slow
def test_each_network_of_the_frontier_has_a_diagram(watched: Watched) -> None:
    """At each of its sizes, once."""
    assert watched.count("#diagrams-run option") == len(FRONTIER)
    assert watched.number("document.getElementById('diagram').naturalWidth") > 300
    assert "p5 256×2×2" in str(watched.page.locator("#diagram").get_attribute("alt"))


@pytest.mark.slow
def test_drift_is_a_warning_and_corrected_for(watched: Watched) -> None:
    """The last run, at a drift of 1.2, has five sixths of its measured time, which is in a column of its own."""
    expect(watched.page.locator("#warnings")).to_contain_text("20.0 % slower")
    assert column(watched, "Median")[6] == "25.00 ms"
    assert column(watched, "Uncorrected")[6] == "30.00 ms"


@pytest.mark.slow
def test_dark_mode_changes_the_colours(watched: Watched) -> None:
    """The button changes the page, the plots and the diagram."""
    look = """() => [getComputedStyle(document.body).backgroundColor, document.getElementById("diagram").src,
        getComputedStyle(document.querySelector("#plot-frontier .xtick text")).fill]"""
    light = watched.page.evaluate(look)
    watched.page.get_by_role("button", name="light and dark").click()
    assert all(one != other for one, other in zip(light, watched.page.evaluate(look), strict=True))
    watched.page.get_by_role("button", name="light and dark").click()
    assert watched.page.evaluate(look) == light


@pytest.mark.slow
def test_a_phone_shows_all_of_it_without_scrolling_sideways(chromium: Browser, sample: Path) -> None:
    """At 375 pixels; the table scrolls in its box. The page is dark where the system is."""
    with opened(chromium, sample, width=375, height=800, scheme="dark") as watched:
        assert watched.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        assert watched.number("document.documentElement.scrollWidth") == 375
        assert watched.number("document.querySelector('.tall').scrollWidth") > 375
        assert watched.number("document.querySelector('#plot-frontier .main-svg').getBoundingClientRect().width") < 375


@pytest.mark.slow
def test_whatever_a_store_holds_is_text(chromium: Browser, tmp_path: Path) -> None:
    """Workers, reasons and commands with markup are shown as they are, and do nothing."""
    evil = "</script><img src=x onerror=alert(1)><b>&amp;"
    runs = [replace(one, worker=evil, reason=one.reason and evil) for one in SAMPLE]
    page = page_of(tmp_path, tuple(runs), command=evil)
    with opened(chromium, page) as watched:
        assert watched.count("img") == 1
        expect(watched.page.locator("header code")).to_have_text(evil)
        expect(watched.page.locator("#environment td").first).to_have_text(evil)
        watched.page.locator(CIRCLES).first.hover(force=True)
        assert evil in (watched.page.locator("#plot-frontier .hoverlayer").text_content() or "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ((), "no runs yet"),
        (SAMPLE[7:], "No run is measured yet"),
        (SAMPLE[:1], "1 run: 1 done; 1 on the frontier"),
        (SAMPLE[1:2], "mnfpn sweep --by-layer"),
    ],
    ids=["empty", "nothing measured", "one run", "no layers"],
)
def test_a_store_with_few_runs_gives_a_page_that_says_so(
    chromium: Browser, tmp_path: Path, runs: tuple[Made, ...], text: str
) -> None:
    """No empty plots, no errors."""
    page = page_of(tmp_path, runs)
    measured = sum(one.latency_s is not None for one in runs)
    with opened(chromium, page) as watched:
        expect(watched.page.locator("body")).to_contain_text(text)
        assert watched.count("#plot-frontier .errorbar") == measured
        assert watched.count("#table tbody tr") == len(runs)


def test_the_page_says_what_the_metric_is(sample: Path) -> None:
    """And why it was chosen, below the plot."""
    assert "Nothing has a score, so the best run is the one with the most MACs." in Parsed(sample).text


@pytest.mark.slow
def test_scripts_that_are_not_the_pages_own_do_not_run(chromium: Browser, sample: Path, tmp_path: Path) -> None:
    """Even if a text got through as markup, the page's policy would stop it: the check of the console can fail."""
    page = tmp_path / "spoilt.html"
    page.write_text(sample.read_text(encoding="utf-8").replace("<footer>", "<script>window.bad = 1</script><footer>"))
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(chromium, page) as watched:
        assert watched.page.evaluate("window.bad") is None
