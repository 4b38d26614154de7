"""The page in a real browser: a headless Chromium on the PATH, or the one that PORTBEV_CHROMIUM names.

Its rules of access are axe-core's, where PORTBEV_AXE names the file ``axe.min.js`` of that npm package.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from handmade import NPU, losses, make
from pages import write_page

pytest.importorskip("fcntl", reason="a browser is driven over inherited pipes, which needs POSIX")
from chromium import Chromium, find_chromium

WIDTHS = (390, 800, 1280)

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on the PATH, and PORTBEV_CHROMIUM names none"
)


@pytest.fixture(scope="module")
def browser():
    with Chromium(find_chromium()) as found:
        yield found


def device(name, device_name):
    return {"backend": {"name": name, "label": name, "device_type": "cuda", "device_name": device_name}}


def seeded(root, side, seed):
    score = 0.25 + 1e-3 * seed + (2e-4 * seed**2 if side == "npu" else 0.0)
    metrics = {"mean_ap": score, "mean_dist_aps": {"car": 0.1 * seed}}
    sets = ["optimizer.lr=0.1", f"train.seed={seed}"]
    return make(root / f"{side}-{seed}", meta=NPU if side == "npu" else None, metrics=metrics, sets=sets, steps=5)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A report with everything in it: a run a device, published figures, differing losses, an emulated device; and a
    second group of several seeds."""
    root = tmp_path_factory.mktemp("page")
    other = {"mean_ap": 0.26, "nd_score": 0.30, "tp_errors": {"vel_err": 0.91}, "inference": {"fps": 3.0}}
    long = "a-run-with-a-name-that-is-longer-than-a-phone-is-wide-and-has-nowhere-to-break"
    paths = [
        make(root / "cpu"),
        make(root / "cuda", meta=device("cuda", "NVIDIA A100"), metrics={"mean_ap": 0.24}, sets=["train.seed=1"]),
        make(root / "npu", meta=NPU, metrics=other, curve=lambda s: {**losses(s), "total": 3.0 / (s + 1) + 1e-7 * s}),
        make(root / "rocm", meta=device("rocm", "AMD MI300X"), metrics={"nd_score": 0.33}),
        make(root / long, sets=["optimizer.lr=0.1"], meta={"warnings": ["x" * 200]}),
        *(seeded(root, side, seed) for side in ("cpu", "npu") for seed in (1, 2, 3, 4)),
    ]
    write_page(paths, root / "out", published=["matrixvt_ascend_modelzoo"])
    return (root / "out" / "report.html").as_uri()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_errors_no_requests_and_nothing_wider_than_the_screen(browser, url, width):
    page = browser.open(url, width=width)
    assert page.evaluate("document.querySelectorAll('table').length") > 5
    assert page.problems() == []
    assert page.requests() == [url]
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_a_phone_shows_cards_with_the_headline_first(browser, url):
    page = browser.open(url, width=390)
    row = "document.querySelector('.cards tbody tr')"
    assert page.evaluate(f"getComputedStyle({row}).display") == "grid"
    assert page.evaluate(f"getComputedStyle({row}.querySelector('td'), '::before').content") == '"mAP"'
    # Side by side below the run's name, larger than the rest.
    places = page.evaluate(f"[...{row}.cells].slice(1, 4).map(one => one.getBoundingClientRect().top)")
    assert places[0] == places[1] < places[2]
    sizes = page.evaluate(f"[...{row}.cells].slice(1, 4).map(one => parseFloat(getComputedStyle(one).fontSize))")
    assert sizes[0] == sizes[1] > sizes[2]
    assert page.evaluate("document.querySelector('.contents details').open") is False


def first_column(page):
    rows = "[...document.querySelector('table.sortable').tBodies[0].rows]"
    return page.evaluate(f"{rows}.map(row => row.cells[0].textContent.trim().slice(0, 3))")


def test_tables_are_sorted_by_keyboard_and_go_back(browser, url):
    page = browser.open(url, width=1280)
    assert first_column(page) == ["cpu", "cud", "npu", "roc"]
    page.evaluate("document.querySelector('table.sortable th:nth-child(2) button').focus()")
    seen = []
    for _ in range(3):
        page.press("Enter", 13, "\r")
        way = page.evaluate("document.querySelector('table.sortable th:nth-child(2)').getAttribute('aria-sort')")
        seen.append((way, first_column(page)))
    assert seen == [
        ("descending", ["npu", "cpu", "roc", "cud"]),
        ("ascending", ["cud", "cpu", "roc", "npu"]),
        (None, ["cpu", "cud", "npu", "roc"]),
    ]


def test_without_script_the_page_reads_the_same(browser, url, tmp_path):
    with_script = browser.open(url, width=1280).evaluate("document.querySelector('main').innerText")
    text = Path(url.removeprefix("file://")).read_text()
    start, end = text.index("<script>"), text.index("</script>")
    plain = tmp_path / "plain.html"
    plain.write_text(text[:start] + "<script>" + text[end:])
    without = browser.open(plain.as_uri(), width=1280).evaluate("document.querySelector('main').innerText")
    assert without.split() == with_script.split()


def test_every_scroll_box_and_control_is_reached_by_the_keyboard(browser, url):
    page = browser.open(url, width=1280)
    reached = set()
    for _ in range(400):
        page.press("Tab", 9)
        place = page.evaluate(
            "(e => e === document.body ? null : [...document.querySelectorAll('*')].indexOf(e))(document.activeElement)"
        )
        if place is None or place in reached:
            break
        reached.add(place)
    wanted = "[...document.querySelectorAll('a, button, summary, .scroll')].filter(e => e.checkVisibility())"
    assert set(page.evaluate(f"{wanted}.map(e => [...document.querySelectorAll('*')].indexOf(e))")) <= reached


@pytest.mark.skipif("PORTBEV_AXE" not in os.environ, reason="PORTBEV_AXE names no axe.min.js of axe-core")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(browser, url, width, scheme):
    page = browser.open(url, width=width, scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    page.evaluate(Path(os.environ["PORTBEV_AXE"]).read_text(encoding="utf-8") + "; 0")
    found = page.evaluate(
        "axe.run().then(r => r.violations.map(v => [v.id, v.impact, v.nodes.map(n => n.html.slice(0, 120))]))"
    )
    assert found == []
