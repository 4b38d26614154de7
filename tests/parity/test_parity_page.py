"""The HTML page as text: what it loads, its structure, and what its marks say."""

from __future__ import annotations

import base64
import hashlib
import re

import numpy as np
import pytest
from handmade import NPU, losses
from pages import Page, write_page

from portbev.parity.assemble import report_on
from portbev.parity.document import Side
from portbev.parity.render import text
from portbev.parity.render.figures import POINTS, gap, lines
from portbev.parity.render.intervals import dots, strips
from portbev.parity.runs import load_runs
from portbev.parity.verdicts import Comparison, Evidence, Gate, SideVerdict

MODELZOO = "matrixvt_ascend_modelzoo"


def compared(key="mean_ap", **changes):
    """A comparison that is equivalent; ``changes`` are what is different."""
    base = {
        "kind": "accuracy", "key": key, "name": key, "side": "npu", "baseline": "cpu", "margin": 0.005,
        "test": "paired", "seeds": 5, "baseline_seeds": 5, "mean": 0.25, "baseline_mean": 0.251, "estimate": -0.001,
        "low": -0.003, "high": 0.001, "confidence": 0.9, "verdict": "equivalent", "says": "it is",
    }  # fmt: skip
    return Comparison(**{**base, **changes})


@pytest.fixture
def two(make_run):
    """A CPU run and one of an emulated device that differs a little."""
    other = {"mean_ap": 0.26, "nd_score": 0.30, "tp_errors": {"trans_err": 0.69, "vel_err": 0.91}}
    return [make_run("cpu"), make_run("npu", meta=NPU, metrics=other, curve=lambda s: {**losses(s), "total": 1.0 / s})]


def test_the_page_loads_nothing_and_its_policy_forbids_it(two, tmp_path):
    html = write_page(two, tmp_path / "out", published=[MODELZOO])
    page = Page(html)
    named = [
        value
        for element in page.all()
        for name, value in element.attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster")
    ]
    assert named and all(value.startswith("#") for value in named)
    assert not re.search(r"@import|url\((?!#)", html)
    (policy,) = [e.attributes["content"] for e in page.all("meta", **{"http-equiv": "Content-Security-Policy"})]
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
    assert not [name for element in page.all() for name in element.attributes if name.startswith("on")]


def test_the_page_is_well_formed_and_every_link_has_its_place(two, tmp_path):
    page = Page(write_page(two, tmp_path / "out", published=[MODELZOO]))
    assert page.unclosed == []
    ids = [element.attributes["id"] for element in page.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = [element.attributes["href"] for element in page.all() if "href" in element.attributes]
    assert {link[1:] for link in links} <= set(ids)
    assert len(page.all("nav")) == len(page.all("main")) == len(page.all("h1")) == 1


def test_tables_have_scope_names_and_boxes_that_a_keyboard_reaches(two, tmp_path):
    page = Page(write_page(two, tmp_path / "out", published=[MODELZOO]))
    heads = page.all("th")
    assert heads and all(head.attributes.get("scope") in ("col", "row") for head in heads)
    assert all(head.text for head in heads)
    boxes = [element for element in page.all("div") if element.has("scroll")]
    assert len(boxes) == len(page.all("table"))
    names = [box.attributes["aria-label"] for box in boxes]
    assert len(names) == len(set(names))
    assert all((box.attributes["tabindex"], box.attributes["role"]) == ("0", "region") for box in boxes)
    for box in boxes:  # as cards, cells say themselves what they are
        cells = [cell for cell in box.all("td") if box.has("cards") and not cell.has("empty")]
        assert all(cell.attributes.get("data-label") for cell in cells)
        assert all(row.attributes["role"] == "row" for row in box.all("tr"))


def test_figures_have_names_and_say_what_they_show(two, tmp_path):
    page = Page(write_page(two, tmp_path / "out"))
    figures = page.all("figure")
    assert figures and all(figure.all("figcaption") for figure in figures)
    charts = [svg for svg in page.all("svg") if "viewbox" in svg.attributes]
    assert len(charts) == 4  # three terms and the difference of one of them
    assert all(svg.attributes["role"] == "img" for svg in charts)
    said = [svg.attributes["aria-label"] for svg in charts]
    assert "total over 60 steps. cpu from 1.6 to 0.1492; npu (emulated) from 1 to 0.01667." in said
    assert any(line.startswith("Absolute difference of total. npu (emulated) from") for line in said)


def test_the_headline_figures_come_first(two, tmp_path):
    page = Page(write_page(two, tmp_path / "out"))
    table = next(t for t in page.all("table") if t.all("th")[0].text == "run")
    assert [head.text for head in table.all("th", scope="col")][:4] == ["run", "mAP", "NDS", "mATE m"]


def deltas(page):
    """Cells' differences as name -> (shape, words)."""
    found = {}
    for cell in page.all("td"):
        for span in cell.all("span"):
            if span.has("delta"):
                effect = next(name for name in ("better", "worse", "same") if span.has(name))
                found.setdefault(cell.attributes["data-label"], (effect, span.text))
    return found


def test_better_and_worse_have_a_shape_and_a_word_and_zero_has_neither(make_run, tmp_path):
    other = {"mean_ap": 0.26, "nd_score": 0.30, "tp_errors": {"trans_err": 0.69, "vel_err": 0.91}}
    page = Page(write_page([make_run("cpu"), make_run("gpu", metrics=other)], tmp_path / "out"))
    found = deltas(page)
    assert found["mAP"] == ("better", "▲ +0.0100 better") and found["NDS"] == ("worse", "▽ -0.0100 worse")
    assert found["mATE"] == ("better", "▲ -0.0100 better") and found["mAVE"] == ("worse", "▽ +0.0100 worse")
    assert found["mASE"] == ("same", "±0") and found["train FPS"] == ("same", "±0")


def test_speed_of_an_emulated_device_is_neither_better_nor_worse(make_run, tmp_path):
    paths = [make_run("cpu"), make_run("npu", meta={**NPU, "training": {"fps": 0.1}})]
    assert deltas(Page(write_page(paths, tmp_path / "out")))["train FPS"] == ("same", "-96 %")


def test_a_slower_real_device_is_worse(make_run, tmp_path):
    paths = [make_run("cpu"), make_run("gpu", meta={"training": {"fps": 0.1}})]
    assert deltas(Page(write_page(paths, tmp_path / "out")))["train FPS"][0] == "worse"


def test_what_rounding_leaves_of_zero_is_neither_better_nor_worse():
    rest = compared(estimate=-2.8e-17, mean=0.2, baseline_mean=0.2)
    assert (text.change(rest, rest.estimate), text.direction(rest)) == ("±0", "same")
    small = compared(estimate=-2.8e-9, mean=0.2, baseline_mean=0.2)
    assert (text.change(small, small.estimate), text.direction(small)) == ("-2.8e-09", "worse")


def test_digests_are_in_small_print_alone(two, tmp_path):
    page = Page(write_page(two, tmp_path / "out"))
    digest = "d" * 64
    assert not any("dddd" in head.text for tag in ("h1", "h2", "h3", "title", "nav") for head in page.all(tag))
    (holder,) = [p for p in page.all("p") if digest in p.text]
    assert holder.has("fine")


def test_operators_that_no_run_calls_are_left_out(make_run, tmp_path):
    kernels = {
        "voxel_pool": {"forward": {"reference": 3}, "backward": {}, "passed_over": []},
        "rotated_iou": {"forward": {}, "backward": {}, "passed_over": [
            {"provider": "mmcv", "reason": "not installed", "times": 0}]},
    }  # fmt: skip
    html = write_page([make_run("a", meta={"kernels": kernels})], tmp_path / "out")
    assert "voxel_pool" in html and "rotated_iou" not in html
    assert "rotated_iou" not in (tmp_path / "out" / "report.md").read_text()


def test_names_are_escaped(make_run, tmp_path):
    html = write_page([make_run("a<script>b", meta={"warnings": ["<img src=x>"]})], tmp_path / "out")
    assert html.count("<script>") == 1 and "<img" not in html and "a&lt;script&gt;b" in html


def test_runs_alike_share_a_column_and_many_values_are_listed(make_run, tmp_path):
    paths = [
        make_run(f"{side}{seed}", meta=NPU if side == "npu" else None, sets=[f"train.seed={seed}"])
        for side in ("cpu", "npu")
        for seed in range(4)
    ]
    page = Page(write_page(paths, tmp_path / "out"))
    tables = {box.attributes["aria-label"]: box for box in page.all("div", role="region")}
    heads = [head.text for head in tables["Table: Environment"].all("th", scope="col")]
    assert heads == ["setting", "cpu0 and 3 more", "npu0 (emulated) and 3 more"]
    assert len(tables["Table: Who computed each operator"].all("th", scope="col")) == 4


def test_long_curves_are_thinned_but_hide_no_spike(make_run):
    def curve(step):
        return {"total": 100.0 if step == 777 else 1.0}

    runs = load_runs([make_run("a", curve=curve, steps=2000)])
    (line,) = lines("total", {"a": runs}, {"a": 0})
    assert len(line.values) <= POINTS and line.high.max() == 100.0 and line.low.min() == 1.0


def test_many_runs_of_a_side_are_a_mean_and_a_band(make_run):
    runs = load_runs([make_run(f"r{n}", curve=lambda s, n=n: {"total": s + n}, steps=9 - n) for n in range(4)])
    (line,) = lines("total", {"cpu": runs}, {"cpu": 2, **{run.label: 2 for run in runs}})
    np.testing.assert_array_equal(line.steps, np.arange(1, 7))  # the steps that all have
    np.testing.assert_allclose(line.values, line.steps + 1.5)
    np.testing.assert_allclose(line.high - line.low, 3)
    assert line.label == "cpu, 4 runs"


def test_thinned_differences_keep_the_largest(make_run):
    def curve(step):
        return {"total": 1.0 + (1e-3 if step == 777 else 1e-7)}

    runs = load_runs(
        [make_run("a", curve=curve, steps=2000), make_run("b", curve=lambda s: {"total": 1.0}, steps=2000)]
    )
    found = gap("total", *runs, 0)
    assert len(found.steps) <= POINTS and max(found.sizes) == pytest.approx(1e-3)
    assert found.steps[np.argmax(found.sizes)] == 777


def test_strips_of_other_margins_stand_on_one_axis():
    first, second = strips(
        [compared(), compared("ratio", scale="ratio", margin=0.05, estimate=0.05, low=0.01, high=0.09)]
    )
    assert first.within == second.within
    left, right = first.within
    assert left == pytest.approx(100 - right)
    assert first.at == pytest.approx(50 + 0.2 * (left - 50), abs=0.02)  # a fifth of the margin to the left
    assert second.at == pytest.approx(right, abs=0.02)
    assert "mean_ap: difference -0.0010, interval -0.0030 to +0.0010; margin 0.0050; equivalent" in first.said


def test_what_lies_beyond_a_strip_is_an_arrow_not_lost():
    (row,) = strips([compared(estimate=-0.2, low=-0.3, high=-0.1, verdict="different")])
    assert row.beyond == (True, False) and row.at == 0.0 and row.line[0] == 0.0


def test_a_figure_that_was_not_measured_has_no_strip():
    assert strips([compared(estimate=None, low=None, high=None, verdict="not judged")]) == []
    assert dots([compared(estimate=None)]) is None


def test_the_verdict_stands_once_and_the_plot_says_which(make_run, tmp_path):
    def judge(report):
        (group,) = report.groups
        facts = {"backend": "x", "device_name": "x", "seeds": [0], "counted": []}
        group.sides = [
            Side(label="cpu", runs=["cpu"], is_baseline=True, emulated=False, **facts),
            Side(label="npu", runs=["npu (emulated)"], is_baseline=False, emulated=True, **facts),
        ]
        group.comparisons = [
            compared("mean_ap", headline=True),
            compared(
                "nd_score", estimate=0.004, low=-0.002, high=0.01, verdict="undecided", more_runs=7, headline=True
            ),
            compared("vel_err", estimate=0.04, low=0.02, high=0.06, verdict="different", better="lower"),
            compared("car", kind="class", estimate=0.002),
        ]
        group.reference = None
        group.verdicts = [
            SideVerdict(side="npu", baseline="cpu", accuracy="undecided", losses="identical", speed="not judged",
                        memory="not judged", says="the sentence of the terminal")
        ]  # fmt: skip

    page = Page(write_page([make_run("cpu"), make_run("npu", meta=NPU)], tmp_path / "out", judge))
    stamps = [span.text for span in page.all("span") if span.has("stamp")]
    assert stamps == ["? undecided: 7 more seeds", "≡ equivalent", "? undecided", "≠ different"]
    said = [svg.attributes["aria-label"] for svg in page.all("svg") if svg.has("strip")]
    assert len(said) == 4 and said[2].endswith("different") and "car +0.0020" in said[3]
    (card,) = [item for item in page.all("li") if item.has("result") and "against" in item.text]
    assert "▽ -0.0010 worse" in card.text and "▲ +0.0040 better" in card.text
    assert "Different in vel_err" in card.text and "bit-identical over 60 steps" in card.text
    rows = (tmp_path / "out" / "comparisons.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[2].startswith("1,sides,accuracy,nd_score,")
    assert "| nd_score | undecided | +0.0040 | -0.0020 to +0.0100 |" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(("passed", "stamp"), [(True, "✓ passed"), (False, "✕ not passed")])
def test_what_was_required_is_said_first_and_why_not_is_folded(make_run, tmp_path, passed, stamp):
    def require(report):
        report.gate = Gate(required=["equivalent"], passed=passed, reasons=[] if passed else ["mAP is undecided"])

    page = Page(write_page([make_run("cpu")], tmp_path / "out", require))
    assert next(span.text for span in page.all("span") if span.has("stamp")) == stamp
    assert any("mAP is undecided." in one.text for one in page.all("details")) is not passed
    assert "equivalent required" in (tmp_path / "out" / "report.md").read_text()


def test_evidence_names_its_file_and_says_where_it_was_emulated(make_run, tmp_path):
    def add(report):
        facts = {"file": "ops.json", "schema": "portbev.parity-ops/1", "sha256": "ab" * 32, "what": "operators"}
        report.evidence = [Evidence(**facts, backend="npu", emulated=True, verdict="fault", says=["voxel_pool: bias"])]

    main = Page(write_page([make_run("cpu")], tmp_path / "out", add)).all("main")[0].text
    assert all(part in main for part in ("npu (emulated)", "ops.json", "ab" * 32, "voxel_pool: bias"))
    assert "| operators | npu (emulated) | fault | voxel_pool: bias |" in (tmp_path / "out" / "report.md").read_text()


def test_twenty_runs_stay_small(make_run, tmp_path):
    names = [f"term{n}" for n in range(3)]

    def curve(seed):
        noise = np.random.default_rng(seed)
        return lambda step: {name: float(1 / step + noise.normal()) for name in names}

    paths = [
        make_run(f"{side}{seed}", meta=NPU if side == "npu" else None, curve=curve(seed), steps=400,
                 sets=[f"train.seed={seed}"])
        for side in ("cpu", "npu") for seed in range(10)
    ]  # fmt: skip
    runs = load_runs(paths)
    assert len(runs) == 20 and report_on(runs).groups
    assert len(write_page(paths, tmp_path / "out").encode()) < 600_000
