"""The report as a whole: groups, marks, differences, files."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from handmade import NPU, losses
from pages import Page

from portbev.errors import PortbevError
from portbev.parity import ParityReport, build_report
from portbev.parity.assemble import report_on
from portbev.parity.published import load_published
from portbev.parity.render import write_report
from portbev.parity.runs import load_runs
from portbev.plugins import plugins

MODELZOO = "matrixvt_ascend_modelzoo"


def texts(paths, out, **options):
    runs = load_runs(paths)
    written = write_report(report_on(runs, **options), runs, out)
    return {kind: path.read_text() for kind, path in written.items() if path.suffix != ".png"}


def test_differences_are_run_minus_baseline(make_run):
    report = build_report([make_run("a"), make_run("b", metrics={"mean_ap": 0.26, "nd_score": 0.30})])
    assert report.run("b").differences["mean_ap"] == pytest.approx(0.01, abs=1e-12)
    assert report.run("b").differences["nd_score"] == pytest.approx(-0.01, abs=1e-12)
    assert report.run("a").differences == {}


def test_the_report_says_of_every_run_whether_its_bits_would_come_again(make_run, tmp_path):
    page = {"forward": {"mx_driving": 60}, "backward": {}, "passed_over": [], "not_deterministic": ["mx_driving"]}
    runs = {
        "strict": ({"deterministic": "required"}, "reproducible"),
        "default": ({"deterministic": "preferred"}, "reproducible"),
        "vendor": ({"kernels": {"voxel_pool": page}}, "vary: voxel_pool by mx_driving"),
        "torch": ({"torch_not_deterministic": ["put_"]}, "vary: torch's put_"),
        "fast": ({"deterministic": "off"}, "may vary: nothing was asked of torch"),
    }
    paths = [make_run(name, meta=meta) for name, (meta, _) in runs.items()]
    report = build_report(paths)
    assert {run.label: run.bits for run in report.runs} == {name: bits for name, (_, bits) in runs.items()}
    (row,) = [row for row in report.environment.differing if row.key == "deterministic"]
    assert [row.values[name] for name in ("strict", "fast")] == ["required", "off"]
    forms = texts(paths, tmp_path / "report")
    for kind in ("html", "markdown", "json", "csv"):
        assert "vary: voxel_pool by mx_driving" in forms[kind]


def test_chosen_baseline_is_subtracted(make_run):
    report = build_report([make_run("a"), make_run("b", metrics={"mean_ap": 0.26})], baseline="b")
    assert report.groups[0].baseline == "b"
    assert report.run("a").differences["mean_ap"] == pytest.approx(-0.01, abs=1e-12)


def test_unknown_baseline_names_the_nearest(make_run):
    with pytest.raises(PortbevError, match="Did you mean 'gpu0'"):
        build_report([make_run("gpu0"), make_run("npu0")], baseline="gpu")


@pytest.mark.parametrize(
    "meta", [{"model": {"family": "bevformer"}}, {"data": {"digest": "e" * 64}}, {"data": {"eval_split": "val"}}]
)
def test_other_family_or_data_is_another_group(make_run, meta):
    report = build_report([make_run("a"), make_run("b"), make_run("c", meta=meta)])
    assert [group.runs for group in report.groups] == [["a", "b"], ["c"]]
    assert report.run("c").differences == {}
    assert any("2 groups" in line for line in report.warnings)


def test_other_configuration_and_seed_are_said(make_run):
    other = ["compute.amp=bf16", "data.root=elsewhere", "train.seed=3", "eval.use_ema=false"]
    report = build_report([make_run("a"), make_run("b", sets=other)])
    remarks = report.run("b").remarks
    assert "other settings than a: eval.use_ema, compute.amp" in remarks
    assert "different seed (3; baseline 0)" in remarks
    keys = [row.key for row in report.groups[0].configuration.differing]
    assert keys == ["data.root", "train.seed", "eval.use_ema", "compute.amp", "(seed)"]


def test_another_configuration_is_another_group_and_the_keys_are_said(make_run):
    other = make_run("b", sets=["optimizer.lr=0.1"])
    report = build_report([make_run("a"), other, make_run("c", metrics={"mean_ap": 0.26})])
    assert [group.runs for group in report.groups] == [["a", "c"], ["b"]]
    assert report.run("b").differences == {} and report.run("c").differences["mean_ap"] == pytest.approx(0.01)
    assert "Groups 1 and 2 differ in their configuration: optimizer.lr." in report.warnings


def test_the_same_global_batch_on_more_devices_is_the_same_configuration(make_run):
    shared = {"backend": {"world_size": 2}, "samples_per_step": 4}
    report = build_report(
        [
            make_run("a", sets=["train.batch_size=4"]),
            make_run("b", sets=["train.batch_size=2", "compute.threads=2"], meta=shared),
            make_run("c", sets=["train.batch_size=4", "train.epochs=9"]),
        ]
    )
    assert [group.runs for group in report.groups] == [["a", "b"], ["c"]]
    assert "other settings than a: train.batch_size, compute.threads" in report.run("b").remarks
    assert "Groups 1 and 2 differ in their configuration: train.epochs." in report.warnings
    alone = make_run("e", sets=["train.batch_size=2"])
    report = build_report([make_run("d", sets=["train.batch_size=4"]), alone])
    assert [group.runs for group in report.groups] == [["d"], ["e"]]
    assert "differ in their configuration: (samples of a step)." in " ".join(report.warnings)


CPU_ONLY = ["compute.weight_gradients=avx2", "compute.keep_freed_memory=true", "compute.memory_format=channels_last"]


def test_settings_of_one_kind_of_device_are_differences_inside_a_group(make_run, tmp_path):
    paths = [make_run("npu", meta=NPU), make_run("cpu", sets=CPU_ONLY)]
    report = build_report(paths)
    assert [group.runs for group in report.groups] == [["npu (emulated)", "cpu"]]
    keys = ["compute.memory_format", "compute.weight_gradients", "compute.keep_freed_memory"]
    assert [row.key for row in report.groups[0].configuration.differing] == keys
    assert f"other settings than npu (emulated): {', '.join(keys)}" in report.run("cpu").remarks
    assert report.run("cpu").differences["mean_ap"] == 0
    markdown = texts(paths, tmp_path / "out")["markdown"]
    assert "| `compute.weight_gradients` | torch | avx2 |" in markdown


def test_kernels_named_for_one_run_are_a_difference_of_how(make_run):
    report = build_report([make_run("a"), make_run("b", sets=["compute.kernels.voxel_pool=reference"])])
    assert [group.runs for group in report.groups] == [["a", "b"]]
    assert "other settings than a: compute.kernels.voxel_pool" in report.run("b").remarks


def test_runs_are_grouped_where_no_plugin_knows_their_model(make_run):
    """Keys of a model that this machine has never heard of mean what the record says of them."""
    unknown = {"model": {"family": "unknown"}, "config_digest": "u" * 64, "meanings": {"model.speed": "how"}}
    runs = [
        make_run(name, meta={**unknown, "config": {"model": {"family": "unknown", "speed": speed}}})
        for name, speed in (("a", 1), ("b", 2))
    ]
    report = build_report(runs)
    assert [group.runs for group in report.groups] == [["a", "b"]]
    assert "other settings than a: model.speed" in report.run("b").remarks


RADIAL = {
    "schema": "portbev.metrics/1",
    "benchmark": "radial",
    "official": {"mean_ap": {"bev": {"overall": 61.5}}, "reported": {"bev": {"IoU0.7/overall": {"AP": 55.5}}}},
    "fixed": {"mean_ap": {"bev": {"overall": 60.25}}, "training": {"range_error": 0.5}},
    "inference": {"fps": 9.0},
    "samples": 8, "step": 60, "weights": "ema", "split": "test",
}  # fmt: skip
ECHO = {"model": {"family": "echofusion"}, "data": {"benchmark": "radial", "digest": "e" * 64}}


def radial_run(make_run, name, bev):
    folder = make_run(name, meta=ECHO, evaluated=False)
    content = {**RADIAL, "official": {**RADIAL["official"], "mean_ap": {"bev": {"overall": bev}}}}
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def test_runs_of_several_families_and_benchmarks_keep_apart(make_run, tmp_path):
    former = {"model": {"family": "bevformer"}}
    paths = [
        make_run("dep"), radial_run(make_run, "echo1", 61.5), make_run("former", meta=former),
        make_run("dep2", metrics={"mean_ap": 0.26}), radial_run(make_run, "echo2", 62.0),
    ]  # fmt: skip
    report = build_report(paths, published=["bevformer_readme", MODELZOO])
    assert [(group.family, group.benchmark, group.runs) for group in report.groups] == [
        ("bevdepth", "nuscenes", ["dep", "dep2"]),
        ("echofusion", "radial", ["echo1", "echo2"]),
        ("bevformer", "nuscenes", ["former"]),
    ]
    dep, echo, former = report.groups
    assert "mean_ap" in {m.key for m in dep.metrics} and "mean_ap" not in {m.key for m in echo.metrics}
    assert report.run("echo2").differences["bev_ap"] == pytest.approx(0.5)
    assert report.run("dep2").differences["mean_ap"] == pytest.approx(0.01)
    assert report.run("echo1").values["range_error"] == 0.5 and "nd_score" not in report.run("echo1").values
    assert echo.class_aps["echo1"]["bev 0.7 overall"] == 55.5 and "car" not in echo.classes
    assert [table.family for table in report.published_beside(dep)] == ["bevdepth"]
    assert report.published_beside(echo) == [] and report.published_beside(None) == []
    found = texts(paths, tmp_path / "out", published=["bevformer_readme", MODELZOO])
    sections = dict(zip("abc", re.split(r"^## Group \d: ", found["markdown"], flags=re.MULTILINE)[1:], strict=True))
    assert "GPU_8p" in sections["a"] and "tiny fp16" not in sections["a"] and "NDS" in sections["a"]
    assert "BEV AP" in sections["b"] and "NDS" not in sections["b"] and "published" not in sections["b"]
    assert "tiny fp16" in sections["c"] and "0.3590" in sections["c"] and "GPU_8p" not in sections["c"]
    rows = {row["run"]: row for row in csv.DictReader(io.StringIO(found["csv"]))}
    assert (
        rows["echo1"]["benchmark"] == "radial" and rows["echo1"]["mean_ap"] == "" and rows["echo1"]["bev_ap"] == "61.5"
    )
    assert rows["base"]["family"] == "bevformer"
    assert Page(found["html"]).unclosed == []


def test_a_run_of_another_benchmark_that_was_not_evaluated_is_shown_with_blanks(make_run, tmp_path):
    report = build_report([make_run("echo", meta=ECHO, evaluated=False)])
    assert report.run("echo").benchmark == "radial" and report.run("echo").values["bev_ap"] is None
    assert "echo" in texts([tmp_path / "echo"], tmp_path / "out")["html"]


def test_published_rows_stand_beside_the_first_group_of_their_family(make_run):
    other = make_run("b", sets=["optimizer.lr=0.1"])
    report = build_report([make_run("a"), other], published=[MODELZOO])
    assert [len(report.published_beside(group)) for group in report.groups] == [1, 0]


def test_published_rows_of_a_family_without_a_run_stand_apart(make_run, tmp_path):
    report = build_report([make_run("a")], published=["bevformer_readme"])
    assert report.published_beside(report.groups[0]) == []
    assert [table.family for table in report.published_beside(None)] == ["bevformer"]
    text = texts([tmp_path / "a"], tmp_path / "out", published=["bevformer_readme"])["markdown"]
    assert "## Published: BEVFormer" in text and "### Published" not in text


def test_unfinished_run_is_marked_and_its_accuracy_not_subtracted(make_run):
    report = build_report([make_run("a"), make_run("b", meta={"status": "interrupted", "progress": {"step": 20}})])
    entry = report.run("b")
    assert "not finished (interrupted at step 20 of 60)" in entry.remarks
    assert entry.values["mean_ap"] == 0.25 and entry.differences["mean_ap"] is None
    assert entry.differences["training_fps"] == 0
    assert any(line.startswith("Not finished: b") for line in report.warnings)


@pytest.mark.parametrize("change", [{"step": 30}, {"weights": "model"}, {"samples": 4}])
def test_other_evaluation_is_not_subtracted(make_run, change):
    entry = build_report([make_run("a"), make_run("b", metrics=change)]).run("b")
    assert entry.differences["nd_score"] is None
    assert any(remark.startswith("accuracy is not compared") for remark in entry.remarks)


def test_run_without_metrics_has_blanks(make_run):
    entry = build_report([make_run("a"), make_run("b", evaluated=False)]).run("b")
    assert entry.values["mean_ap"] is None and entry.values["training_fps"] == 2.5
    assert "not evaluated: no metrics.json" in entry.remarks


def test_nan_and_missing_figures_are_blank_not_zero(make_run, tmp_path):
    folder = make_run("a", metrics={"tp_errors": {"vel_err": None}, "mean_ap": float("nan")})
    entry = build_report([folder]).run("a")
    assert entry.values["vel_err"] is None and entry.values["mean_ap"] is None
    assert texts([folder], tmp_path / "out")["json"]


def test_ledger_shows_providers_and_why_others_were_passed_over(make_run, tmp_path):
    paths = [make_run("cpu"), make_run("npu", meta=NPU)]
    page = build_report(paths).ledger[0]
    assert page.operator == "voxel_pool" and page.differs
    assert page.served["forward"] == {"cpu": {"reference": 60}, "npu (emulated)": {"mx_driving": 60}}
    assert [(p.run, p.provider, p.times) for p in page.passed_over] == [("npu (emulated)", "torch_npu", 60)]
    for kind, text in texts(paths, tmp_path / "out").items():
        if kind in ("html", "markdown", "json"):
            assert "mx_driving" in text and "forward: C=80 exceeds 64" in text, kind


def test_other_number_of_calls_alone_is_no_difference(make_run):
    more = {"voxel_pool": {"forward": {"reference": 900}, "backward": {"reference": 1}, "passed_over": []}}
    assert not build_report([make_run("a"), make_run("b", meta={"kernels": more})]).ledger[0].differs


def test_direction_that_no_run_called_has_no_row_but_its_reasons_stay(make_run, tmp_path):
    fft = {"fft": {"forward": {"dft": 3}, "backward": {}, "passed_over": [
        {"provider": "vendor_fft", "reason": "complex128", "times": 3}]}}  # fmt: skip
    text = texts([make_run("a", meta={"kernels": fft})], tmp_path / "out")["markdown"]
    assert "| `fft` | forward | dft 3 |" in text and "| `fft` | backward" not in text
    assert "| `fft` | a | vendor_fft | complex128 | 3 |" in text


def test_environment_differences(make_run):
    report = build_report([make_run("a"), make_run("b", meta={"environment": {"torch": "2.12.0", "driver": "550"}})])
    rows = {row.key: row.values for row in report.environment.differing}
    assert rows == {"torch": {"a": "2.13.0", "b": "2.12.0"}, "driver": {"a": None, "b": "550"}}
    assert report.environment.common["python"] == "3.11.2"


def test_emulated_is_said_wherever_the_run_is_named(make_run, tmp_path):
    found = texts([make_run("cpu"), make_run("zebra", meta=NPU)], tmp_path / "out")
    path = str(tmp_path / "zebra")
    for kind in ("html", "markdown", "json", "csv", "classes"):
        text = found[kind].replace(path, "")
        assert "zebra (emulated)" in text, kind
        assert not re.findall(r"zebra(?! \(emulated\))", text), kind
    for kind in ("html", "markdown", "json"):
        assert "says nothing about the vendor" in re.sub("&#39;", "'", found[kind]), kind


def test_no_emulated_run_no_mark(make_run, tmp_path):
    html = texts([make_run("cpu")], tmp_path / "out")["html"]
    assert "(emulated)" not in html


def test_json_is_the_schema_and_reads_back(make_run, tmp_path):
    found = texts([make_run("a"), make_run("b", evaluated=False)], tmp_path / "out", published=[MODELZOO])
    content = json.loads(found["json"])
    assert content["schema"] == "portbev.parity-report/3"
    report = ParityReport.model_validate(content)
    assert [run.label for run in report.runs] == ["a", "b"]
    with pytest.raises(ValueError, match="schema"):
        ParityReport.model_validate({**content, "schema": "portbev.parity-report/2"})


def test_csv_holds_figures_in_full_and_labels_published_rows(make_run, tmp_path):
    run = make_run("a", metrics={"mean_ap": 0.1234567890123})
    text = texts([run], tmp_path / "out", published=[MODELZOO])["csv"]
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["kind"], row["run"]) for row in rows] == [
        ("run", "a"), ("published", "GPU_8p"), ("published", "NPU_8p"),
    ]  # fmt: skip
    assert float(rows[0]["mean_ap"]) == 0.1234567890123
    assert rows[1]["training_fps"] == "45.6188" and rows[1]["mean_ap_difference"] == ""


def test_published_rows_are_labelled_with_source_and_caveats(make_run, tmp_path):
    found = texts([make_run("a")], tmp_path / "out", published=[MODELZOO])
    for kind in ("html", "markdown"):
        text = re.sub(r"\s+", " ", found[kind])
        for part in ("0.3322", "45.6188", "0.4097", "39.1468", "not compared with them", "One key frame", "d78c7b58"):
            assert part in text, (kind, part)


def test_shipped_table_is_the_published_one():
    table = load_published(MODELZOO)
    keys = ("mean_ap", "trans_err", "scale_err", "orient_err", "vel_err", "attr_err", "nd_score", "training_fps")
    assert {row.name: [row.values[key] for key in keys] for row in table.rows} == {
        "GPU_8p": [0.3322, 0.6495, 0.2767, 0.4918, 0.8780, 0.2289, 0.4137, 45.6188],
        "NPU_8p": [0.3265, 0.6609, 0.2720, 0.5212, 0.8621, 0.2195, 0.4097, 45],
    }
    assert sorted(plugins().published()) == ["bevdepth_readme", "bevformer_readme", MODELZOO]
    former = load_published("bevformer_readme")
    assert former.family == "bevformer" and table.family == "bevdepth"
    assert {row.name: (row.values["nd_score"], row.values["mean_ap"]) for row in former.rows} == {
        "tiny": (0.354, 0.252), "tiny fp16": (0.359, 0.257), "small": (0.479, 0.370), "base": (0.517, 0.416),
    }  # fmt: skip


TABLE = """
schema: portbev.published/1
title: t
source: s
what: w
benchmark: nuscenes
rows: [{name: a, values: {}}]
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE.replace("[{name: a, values: {}}]", "[]"), "rows"),
        (TABLE.replace("published/1", "published/9"), "schema"),
        (TABLE.replace("{}", "{map: 1}"), "'map'"),
        (TABLE.replace("source: s", ""), "source"),
        (TABLE.replace("benchmark: nuscenes", ""), "benchmark"),
        ("a: [", "YAML"),
        ("just text", "content"),
    ],
)
def test_published_file_that_is_wrong_is_refused(tmp_path, content, message):
    path = tmp_path / "p.yaml"
    path.write_text(content)
    with pytest.raises(PortbevError, match=message) as caught:
        load_published(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_same_runs_give_the_same_bytes(make_run, tmp_path):
    paths = [make_run("cpu"), make_run("npu", meta=NPU, curve=lambda s: {**losses(s), "depth": 0.5})]
    runs = load_runs(paths)
    first = write_report(build_report(paths), runs, tmp_path / "one")
    second = write_report(build_report(paths), load_runs(paths), tmp_path / "two")
    assert first.keys() == second.keys()
    for kind in first:
        assert first[kind].read_bytes() == second[kind].read_bytes(), kind


def test_markdown_tables_have_equal_columns_even_with_bars_in_text(make_run, tmp_path):
    npu = {**NPU, "kernels": {"fft": {"forward": {"dft": 1}, "backward": {}, "passed_over": [
        {"provider": "x", "reason": "a|b\nc", "times": 2}]}}}  # fmt: skip
    text = texts([make_run("cpu"), make_run("npu", meta=npu)], tmp_path / "out")["markdown"]
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert blocks
    for block in blocks:
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(counts) == 1, block
