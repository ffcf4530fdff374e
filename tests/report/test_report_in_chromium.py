"""The report in a real browser: it loads nothing, and works by key, on a phone, in the dark, on paper."""

import pytest
from matplotlib.colors import to_rgb

from agscl.experiments.records import read_runs
from agscl.figures.palette import LOOKS
from agscl.report import page
from report.browser import PATH, chromium
from report.made_up import PLAIN, experiment, write_run

pytestmark = pytest.mark.skipif(PATH is None, reason="chromium is not installed (Debian package chromium)")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A page on two methods with three seeds, and a run that did not finish."""
    folder = tmp_path_factory.mktemp("report")
    for seed in range(3):
        write_run(folder / "runs" / f"ags-{seed}", experiment(seed=seed))
        write_run(folder / "runs" / f"plain-{seed}", experiment(PLAIN, seed=seed))
    write_run(folder / "runs" / "broken-off", experiment(seed=7), complete=False)
    return written(folder)


@pytest.fixture(scope="module")
def long_report(tmp_path_factory):
    """A page on fifty tasks."""
    folder = tmp_path_factory.mktemp("long")
    layers = {"conv1": 64, "conv2": 128, "fc": 400}
    write_run(folder / "runs" / "one", experiment(), tasks=50, layers=layers)
    return written(folder)


def written(folder):
    file = folder / "report.html"
    file.write_bytes(page(read_runs([folder / "runs"])))
    return file


def settle(browser):
    """Errors since the last call."""
    found, browser.errors = browser.errors, []
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1200, 390])
def test_nothing_fails_and_nothing_is_wider_than_the_screen(browser, report, width, dark):
    browser.open(report, width=width, dark=dark)
    assert settle(browser) == []
    assert browser.value("document.documentElement.scrollWidth") == width
    assert browser.value("document.querySelectorAll('svg[role=img]').length") > 10


def test_nothing_is_loaded_from_anywhere(browser, report):
    browser.open(report)
    assert browser.value("performance.getEntriesByType('resource').length") == 0


def test_text_can_be_read_on_light_and_on_dark_paper(browser, report):
    lightness = "{0}(getComputedStyle(document.body).{1}.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))"
    for dark in (False, True):
        browser.open(report, dark=dark)
        paper, ink = (browser.value(lightness.format("", name)) for name in ("backgroundColor", "color"))
        assert (ink > paper) == dark
        assert abs(ink - paper) > 500


def test_a_method_has_the_colour_that_it_has_in_figures(browser, report):
    """On light and on dark paper."""
    colour = (
        "[...document.querySelectorAll('.key li')].filter(li => li.textContent == '{}')"
        ".flatMap(li => [...li.querySelectorAll('path')].map(path => getComputedStyle(path).color))"
    )
    for look in (LOOKS["ags-cl"], LOOKS["fine-tuning"]):
        for dark, shade in ((False, look.shade.light), (True, look.shade.dark)):
            browser.open(report, dark=dark)
            red, green, blue = (round(255 * part) for part in to_rgb(shade))
            assert set(browser.value(colour.format(look.title))) == {f"rgb({red}, {green}, {blue})"}


def test_without_scripts_the_page_is_complete(browser, report):
    browser.open(report, script=False)
    shown = (
        "[...document.querySelectorAll('.nodemap .cells svg')].every(svg => svg.getBoundingClientRect().height > 10)"
    )
    assert browser.value(shown)
    assert browser.value("document.querySelector('.slider').hidden")
    assert browser.value("document.querySelectorAll('.cells path[data-task]').length") > 10


def visible_tasks(browser):
    cells = "document.querySelector('.cells svg').querySelectorAll('[data-task]:not(.off)')"
    return browser.value(f"[...{cells}].map(path => Number(path.dataset.task))")


def test_the_slider_goes_back_in_time_by_key(browser, report):
    browser.open(report)
    assert visible_tasks(browser) == [0, 1, 2, 3, 4]
    browser.value("document.querySelector('.slider input').focus()")
    browser.press("Home")
    assert visible_tasks(browser) == [0]
    assert browser.value("document.querySelector('output').textContent") == "1: digits 0 1"
    browser.press("ArrowRight")
    assert visible_tasks(browser) == [0, 1]
    assert settle(browser) == []


def test_the_arrow_keys_tell_what_each_node_is(browser, report):
    browser.open(report)
    browser.value("document.querySelector('.cells svg').focus()")
    told = "document.querySelector('.readout').textContent"
    assert browser.value(told).startswith("trunk.0, node 0: ")
    browser.press("ArrowRight")
    browser.press("ArrowDown")
    assert browser.value(told).startswith("trunk.0, node 41: ")
    browser.press("ArrowLeft")
    browser.press("ArrowUp")
    browser.press("ArrowUp")  # there is no row above
    assert browser.value(told).startswith("trunk.0, node 0: ")
    assert settle(browser) == []


STOPS = """[...document.querySelectorAll('[tabindex="0"], a, summary, input')]
    .filter(stop => !stop.classList.contains('skip') && stop.checkVisibility())
    .map(stop => stop.getBoundingClientRect()).filter(box => box.width * box.height < 100).length"""


def test_every_stop_of_the_tab_key_can_be_seen(browser, report):
    browser.open(report)
    assert browser.value(STOPS) == 0


OVERLAPS = """[...document.querySelectorAll('figure > svg')].map(svg => [...svg.querySelectorAll('.tick')]
    .filter(tick => /^[0-9]+$/.test(tick.textContent) && tick.getAttribute('text-anchor') == 'middle')
    .map(tick => tick.getBoundingClientRect())
    .filter((box, i, all) => i && all[i - 1].top == box.top && all[i - 1].right > box.left).length)"""

SIDES = """[...document.querySelectorAll('.cells svg')]
    .map(svg => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""


def test_fifty_tasks_fit_a_phone(browser, long_report):
    browser.open(long_report, width=390)
    assert settle(browser) == []
    assert browser.value("document.documentElement.scrollWidth") == 390
    assert set(browser.value(OVERLAPS)) == {0}
    assert min(browser.value(SIDES)) > 4  # pixels of a node


def test_a_phone_shows_method_and_accuracy_without_scrolling(browser, report, long_report):
    ends = "[...document.querySelectorAll('#b1-measures {}')].map(cell => cell.getBoundingClientRect().right)"
    for shown in (report, long_report):
        browser.open(shown, width=390)
        for cells in ("tbody th", "tbody td:nth-child(3)", "caption"):  # method, average accuracy, what they are
            assert max(browser.value(ends.format(cells))) <= 390
        assert browser.value("document.querySelector('#b1-measures thead th:nth-child(3)').textContent").startswith(
            "average"
        )


def test_it_prints_on_white_paper_no_wider_than_the_sheet(browser, report):
    browser.open(report, width=718, dark=True, media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.value("document.documentElement.scrollWidth") == 718
    assert browser.pdf().startswith(b"%PDF-")
    assert settle(browser) == []
