"""Reports over several seeds: sides, verdicts in words, the gate, verification, evidence."""

from __future__ import annotations

import json
import shutil

import pytest
from handmade import CLASSES, NPU, losses
from test_parity_cli import assert_one_line, portbev

from portbev.errors import PortbevError
from portbev.parity import build_report
from portbev.parity.assemble import report_on
from portbev.parity.gate import parse_requirements
from portbev.parity.render import write_report
from portbev.parity.runs import load_runs
from portbev.parity.series import Device, Series, run_folders, write_series
from portbev.parity.terminal import show
from portbev.parity.verdicts import Judgement
from portbev.parity.verify import read_report, verify
from portbev.runs.seal import seal

SCORES = [0.250, 0.252, 0.249, 0.251, 0.2505]


@pytest.fixture
def seeds(make_run):
    """``seeds("cpu", scores, meta)`` -> a run for each score, each with a seed, a score and losses of its own."""

    def make(name, scores=SCORES, meta=None, *, shift=1.0, numbers=None):
        made = []
        for seed, score in zip(numbers or range(len(scores)), scores, strict=True):
            metrics = {
                "mean_ap": score,
                "nd_score": score + 0.06,
                "mean_dist_aps": {c: score * (1 + k / 10) for k, c in enumerate(CLASSES)},
            }
            curve = dict(losses(1))
            facts = {**(meta or {}), "training": {"fps": 2.5 + 0.01 * seed}}
            made.append(
                make_run(
                    f"{name}/seed{seed}",
                    meta=facts,
                    metrics=metrics,
                    sets=[f"train.seed={seed}"],
                    curve=lambda step, seed=seed, curve=curve: {k: shift * v / (step + seed) for k, v in curve.items()},
                )
            )
        return made

    return make


def verdicts(report):
    return {one.key: one for one in report.groups[0].comparisons if one.kind == "accuracy"}


def test_runs_that_differ_in_their_seed_alone_are_one_side(seeds):
    report = build_report([*seeds("cpu"), *seeds("npu", meta=NPU, shift=1.1)])
    (group,) = report.groups
    assert [(side.label, side.seeds, side.is_baseline) for side in group.sides] == [
        ("cpu", [0, 1, 2, 3, 4], True), ("npu (emulated)", [0, 1, 2, 3, 4], False),
    ]  # fmt: skip
    assert [(curve.run, curve.baseline) for curve in group.curves] == [
        (f"npu/seed{k} (emulated)", f"cpu/seed{k}") for k in range(5)
    ]
    assert report.run("cpu/seed3").differences == {}
    assert report.run("npu/seed3 (emulated)").differences["mean_ap"] == 0


def test_a_small_difference_over_seeds_is_equivalent_and_a_large_one_different(seeds):
    npu = [score + 0.0004 * (-1) ** k for k, score in enumerate(SCORES)]
    report = build_report([*seeds("cpu"), *seeds("npu", npu, meta=NPU, shift=1.1)])
    found = verdicts(report)
    assert (found["mean_ap"].test, found["mean_ap"].verdict) == ("paired", "equivalent")
    assert len(found["mean_ap"].points) == 5 and found["mean_ap"].power > 0.9
    (verdict,) = report.groups[0].verdicts
    assert verdict.accuracy == "equivalent" and "accuracy equivalent (mAP" in verdict.says
    worse = build_report([*seeds("a"), *seeds("b", [score - 0.02 for score in SCORES], meta=NPU, shift=1.1)])
    assert worse.groups[0].verdicts[0].accuracy == "different"
    assert {one.key for one in worse.groups[0].comparisons if one.kind == "class" and one.verdict == "different"}


def test_other_seeds_on_the_other_side_are_compared_without_pairs(seeds):
    npu = seeds("npu", meta=NPU, shift=1.1, numbers=[5, 6, 7, 8, 9])
    found = verdicts(build_report([*seeds("cpu"), *npu]))
    assert found["mean_ap"].test == "welch" and found["mean_ap"].points == []


def test_one_seed_repeated_is_no_second_seed(seeds, make_run):
    again = make_run("again", sets=["train.seed=0"], metrics={"mean_ap": 0.25})
    report = build_report([*seeds("cpu"), again])
    assert [(side.label, side.counted) for side in report.groups[0].sides] == [
        ("cpu", [f"seed{k}" for k in range(5)]), ("again", ["again"]),
    ]  # fmt: skip


def test_unfinished_and_unevaluated_runs_do_not_count_and_it_is_said(seeds, make_run):
    failed = make_run("cpu/failed", meta={"status": "failed"}, sets=["train.seed=9"])
    report = build_report([*seeds("cpu"), failed, *seeds("npu", meta=NPU, shift=1.1)])
    side = report.groups[0].sides[0]
    assert "failed" in side.runs and "failed" not in side.counted and "not finished" in side.remarks[0]
    assert verdicts(report)["mean_ap"].baseline_seeds == 5


def test_the_same_bits_on_both_sides_need_no_statistics(seeds):
    report = build_report([*seeds("cpu", SCORES[:2]), *seeds("npu", SCORES[:2], meta=NPU)])
    assert {one.test for one in report.groups[0].comparisons if one.kind != "cost"} == {"identical"}
    assert (
        report.groups[0]
        .verdicts[0]
        .says.startswith(
            "npu (emulated) against cpu, losses: bit-identical over 60 steps for each of 2 seeds; accuracy equivalent"
        )
    )


def test_equal_scores_of_runs_with_other_losses_are_not_called_identical(seeds):
    report = build_report([*seeds("cpu", SCORES[:2]), *seeds("npu", SCORES[:2], meta=NPU, shift=1.1)])
    assert "identical" not in {one.test for one in report.groups[0].comparisons}


def test_speed_of_an_emulated_device_is_not_judged_and_that_of_a_device_is(seeds):
    gpu = {"backend": {"name": "cuda", "label": "cuda", "device_type": "cuda", "device_name": "G"}}
    other = {"backend": {"name": "rocm", "label": "rocm", "device_type": "cuda", "device_name": "R"}}
    report = build_report([*seeds("g", meta=gpu), *seeds("r", meta=other), *seeds("n", meta=NPU)])
    found = {(one.side, one.key): one for one in report.groups[0].comparisons if one.kind == "cost"}
    assert found["rocm", "training_fps"].verdict == "equivalent" and found["rocm", "training_fps"].scale == "ratio"
    assert found["rocm", "training_memory"].verdict == "equivalent"
    assert found["npu (emulated)", "training_fps"].verdict == "not judged"
    assert "says nothing of the device" in found["npu (emulated)", "training_fps"].says


def test_memory_of_the_cpu_is_not_compared_with_a_device_s(seeds):
    gpu = {"backend": {"name": "cuda", "label": "cuda", "device_type": "cuda", "device_name": "G"}}
    found = build_report([*seeds("cpu"), *seeds("gpu", meta=gpu)]).groups[0].comparisons
    memory = next(one for one in found if one.key == "training_memory")
    assert memory.verdict == "not judged" and "resident memory" in memory.says


def test_nothing_recorded_of_the_original_is_said(seeds):
    gate = build_report(seeds("cpu")).groups[0].reference
    assert gate.verdict == "not judged" and "does not show that they are right" in gate.says


def test_runs_of_a_published_configuration_meet_the_original_s_figures(make_run, monkeypatch):
    import handmade

    monkeypatch.setattr(handmade, "CONFIG", "bevdepth/r50_256x704_128x128_24e_2key")
    facts = {"data": {"eval_samples": 6019}, "samples_per_step": 64}
    good = [
        make_run(
            f"good{k}", meta=facts, sets=[f"train.seed={k}"], metrics={"mean_ap": 0.33 + k / 1e4, "nd_score": 0.435}
        )
        for k in range(3)
    ]
    bad = [
        make_run(
            f"bad{k}",
            meta={**facts, **NPU},
            sets=[f"train.seed={k}"],
            metrics={"mean_ap": 0.2 + k / 1e4, "nd_score": 0.3},
        )
        for k in range(3)
    ]
    gate = build_report([*good, *bad]).groups[0].reference
    assert gate.row == "24 epochs" and "different" in {one.verdict for one in gate.comparisons if "npu" in one.side}
    assert {one.verdict for one in gate.comparisons if one.side == "cpu" and one.key == "mean_ap"} == {"undecided"}
    assert gate.verdict == "different"


def test_margins_and_spreads_go_by_name_or_key_and_unknown_ones_are_refused(seeds):
    runs = [*seeds("cpu"), *seeds("npu", meta=NPU, shift=1.1)]
    report = build_report(runs, judgement=Judgement(margins={"mAP": 0.01, "trans_err": 0.5, "class": 0.03}))
    found = verdicts(report)
    assert (found["mean_ap"].margin, found["trans_err"].margin, found["nd_score"].margin) == (0.01, 0.5, 0.005)
    assert {one.margin for one in report.groups[0].comparisons if one.kind == "class"} == {0.03}
    with pytest.raises(PortbevError, match=r"no metric 'mean_app'.*mean_ap"):
        build_report(runs, judgement=Judgement(margins={"mean_app": 0.01}))


def test_gate_passes_only_what_is_shown(seeds):
    cpu, npu = seeds("cpu"), seeds("npu", [s + 0.0004 * (-1) ** k for k, s in enumerate(SCORES)], meta=NPU, shift=1.1)
    assert build_report([*cpu, *npu], require=["equivalent", "mAP=0.005"]).gate.passed
    strict = build_report([*cpu, *npu], require=["mAP=0.0001"]).gate
    assert not strict.passed and "mAP is undecided" in strict.reasons[0]
    rounding = build_report([*cpu, *npu], require=["within-rounding"]).gate
    assert not rounding.passed and "no control runs were given" in rounding.reasons[0]
    single = build_report([cpu[0], npu[0]], require=["equivalent"]).gate
    assert not single.passed and "one run on each side" in single.reasons[0]
    assert build_report([cpu[0]], require=["equivalent"]).gate.reasons == [
        "nothing is compared: no group has runs of two sides"
    ]


@pytest.mark.parametrize("text", ["equal", "mAP=", "mAP=-1", "mAP=nan", "=0.1"])
def test_requirements_that_cannot_be_read_are_refused(seeds, text):
    with pytest.raises(PortbevError, match="--require"):
        build_report(seeds("cpu", SCORES[:1]), require=[text])


def test_requirement_words():
    assert [str(one) for one in parse_requirements(["within-rounding", "mAP=0.5%"])] == ["within-rounding", "mAP=0.005"]


def test_gate_ends_the_command_with_status_1_and_the_reason(seeds, tmp_path):
    runs = [*seeds("cpu", SCORES[:2]), *seeds("npu", [0.2, 0.21], meta=NPU, shift=1.1)]
    done = portbev("parity", "report", *runs, "--out", tmp_path / "out", "--require", "equivalent")
    assert done.returncode == 1 and "required: equivalent: not passed" in done.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    assert_one_line(portbev("parity", "report", *runs, "--margin", "mAP"), "--margin", "NAME=NUMBER")


def test_terminal_shows_sides_with_their_spread(seeds, capsys):
    from rich.console import Console

    report = build_report([*seeds("cpu"), *seeds("npu", meta=NPU, shift=1.1)])
    show(report, {kind: kind for kind in ("html", "markdown", "json", "csv")}, Console(width=120, highlight=False))
    text = capsys.readouterr().out
    assert "npu (emulated) (5 seeds)" in text and "0.2505 ± 0.0011" in text


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the first test keeps its report and runs for the others."""
    return tmp_path_factory.mktemp("kept") / "all"


@pytest.fixture
def written(seeds, tmp_path, kept, monkeypatch):
    """A report of six runs in ``out``, all in the working directory."""
    monkeypatch.chdir(tmp_path)
    if kept.exists():
        shutil.copytree(kept, tmp_path, dirs_exist_ok=True)
    else:
        made = [*seeds("cpu", SCORES[:3]), *seeds("npu", [s + 0.0001 for s in SCORES[:3]], meta=NPU, shift=1.1)]
        runs = load_runs([run.relative_to(tmp_path) for run in made])
        write_report(report_on(runs, judgement=Judgement(margins={"mAP": 0.01})), runs, "out")
        shutil.copytree(tmp_path, kept)
    return tmp_path / "out"


def test_verify_judges_the_runs_again_wherever_they_lie(written, tmp_path):
    out = written
    assert verify(out)[-1] == "its runs, judged again, say the same"
    moved = tmp_path / "moved"
    moved.mkdir()
    for place in ("cpu", "npu"):
        (tmp_path / place).rename(moved / place)
    with pytest.raises(PortbevError, match=r"is not there.*--runs"):
        verify(out)
    assert verify(out, [moved / "cpu", moved / "npu"])[-1] == "its runs, judged again, say the same"


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("out/report.json", lambda text: text.replace('"equivalent"', '"different"'), "edited after it was written"),
        ("out/report.json", lambda text: text[:-100], "cannot be read"),
        ("out/report.json", lambda text: text.replace("report/3", "report/2"), "this version reads"),
        ("out/report.html", lambda text: text + " ", "edited after it was written"),
        ("out/report.csv", lambda text: text.replace("0.25", "0.26"), "edited after it was written"),
        ("cpu/seed1/metrics.json", lambda text: text.replace("0.252", "0.262"), "is not what the report was made from"),
        ("cpu/seed1/scalars.jsonl", lambda text: text[:-200], "is not what the report was made from"),
        ("npu/seed0/run.json", lambda text: text.replace('"emulated": true', '"emulated": false'), "another|emulated"),
    ],
)
def test_verify_refuses_what_was_cut_off_or_edited_in_one_line(written, tmp_path, name, edit, message):
    out = written
    path = tmp_path / name
    before = path.read_text()
    path.write_text(edit(before))
    assert path.read_text() != before
    with pytest.raises(PortbevError, match=message) as caught:
        verify(out)
    assert "\n" not in str(caught.value)


def test_a_report_whose_numbers_were_edited_and_hashed_again_is_caught_by_its_runs(written):
    from portbev.parity.seal import content_hash

    out = written
    content = json.loads((out / "report.json").read_text())
    content["groups"][0]["comparisons"][0]["verdict"] = "different"
    content["content_hash"] = content_hash(content)
    (out / "report.json").write_text(json.dumps(content))
    (out / "checksums.json").unlink()
    assert read_report(out).content_hash == content["content_hash"]
    with pytest.raises(PortbevError, match="judged again, say something else in groups"):
        verify(out)


def test_verify_command(written, tmp_path):
    out = written
    done = portbev("parity", "verify", out)
    assert done.returncode == 0 and "say the same" in done.stdout, done.stderr
    assert_one_line(portbev("parity", "verify", tmp_path / "nothing"), "no such report")


def test_a_sealed_run_that_was_edited_is_refused(make_run):
    run = make_run("cpu")
    seal(run)
    assert load_runs([run])[0].digests.keys() == {"run.json", "scalars.jsonl", "metrics.json"}
    text = (run / "metrics.json").read_text()
    (run / "metrics.json").write_text(text.replace("0.25", "0.35"))
    with pytest.raises(PortbevError, match=r"metrics\.json: was cut off or edited after the run"):
        load_runs([run])
    (run / "metrics.json").unlink()
    with pytest.raises(PortbevError, match=r"metrics\.json: is gone"):
        load_runs([run])


@pytest.mark.parametrize(
    "meta",
    [
        {"backend": {**NPU["backend"], "emulated": False}},
        {"backend": {"device_name": "emulated Ascend npu"}},
        {"environment": {"torch_npu": "2.9.0+emulated"}},
    ],
)
def test_an_emulated_run_that_says_it_is_a_device_s_is_refused(make_run, meta):
    with pytest.raises(PortbevError, match="emulated: false") as caught:
        load_runs([make_run("npu", meta=meta)])
    assert "\n" not in str(caught.value)


def test_evidence_is_linked_with_its_hash_and_its_words(seeds, tmp_path):
    from portbev.digests import file_digest
    from portbev.parity.seal import content_hash

    path = tmp_path / "ops.json"
    content = {
        "schema": "portbev.parity-ops/1",
        "backend": "npu",
        "emulated": True,
        "verdict": "clean",
        "summary": ["a line"],
    }
    content["content_hash"] = content_hash(content)
    path.write_text(json.dumps(content))
    (one,) = build_report(seeds("cpu", SCORES[:1]), evidence=[path]).evidence
    assert (one.sha256, one.verdict, one.says) == (file_digest(path), "clean", ["a line"])
    assert one.backend == "npu (emulated)" and one.what == "operators against their float64 definition"
    path.write_text(path.read_text().replace("clean", "fault"))
    with pytest.raises(PortbevError, match="edited after it was written"):
        build_report(seeds("b", SCORES[:1]), evidence=[path])


@pytest.mark.parametrize(
    ("text", "message"), [('{"a": 1}', "no evidence"), ("{", "cannot be read"), ("[]", "no JSON object")]
)
def test_evidence_that_is_none_is_refused(seeds, tmp_path, text, message):
    (tmp_path / "e.json").write_text(text)
    with pytest.raises(PortbevError, match=message):
        build_report(seeds("cpu", SCORES[:1]), evidence=[tmp_path / "e.json"])


def test_a_series_stands_for_its_runs_device_by_device(seeds, tmp_path):
    seeds("cpu", SCORES[:2])
    seeds("npu-emulated", SCORES[:1], meta=NPU)
    devices = [Device(backend="cpu"), Device(backend="npu", emulated=True)]
    write_series(Series(config="c", config_digest="d", devices=devices, seeds=[0, 1]), tmp_path)
    places = [str(path.relative_to(tmp_path)) for path in run_folders([tmp_path])]
    assert places == ["cpu/seed0", "cpu/seed1", "npu-emulated/seed0"]
    write_series(Series(config="c", config_digest="d", devices=devices, seeds=[7]), tmp_path)
    with pytest.raises(PortbevError, match="no runs yet"):
        run_folders([tmp_path])
