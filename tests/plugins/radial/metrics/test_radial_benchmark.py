"""RADIal as a benchmark of the framework: what training, evaluation and reports take from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from radial_cases import car, random_frames

from portbev.config import RunConfig
from portbev.config.schema import ModelSection
from portbev.data import build_dataset
from portbev.evaluate.benchmark import benchmark_of, find_benchmark, find_metric, headline
from portbev.evaluate.inference import evaluate_model
from portbev.models import DetectionModel, Detections
from portbev_cpu.backend import CpuBackend
from portbev_radial.benchmark import evaluate_results, ground_truth
from portbev_radial.config import RadialData
from portbev_radial.metrics import evaluate_arrays, read_boxes
from portbev_radial.synth import RadialSynthOptions, generate


class Annotated:
    """Tokens and boxes, as a data set has them."""

    root, version, split = Path("nowhere"), "raw", "test"

    def __init__(self, rows):
        self.tokens = [f"{index:06d}" for index in range(len(rows))]
        self.rows = rows

    def truth(self, index):
        return centred(self.rows[index]), np.zeros(len(self.rows[index]), np.int64)


def centred(rows):
    """portbev's boxes (n, 9) of rows that stand on their bottom."""
    boxes = np.zeros((len(rows), 9))
    if len(rows):
        boxes[:, :7] = np.asarray(rows, float)[:, :7]
    boxes[:, 2] += boxes[:, 5] / 2
    return boxes


def detections(rows):
    scores = np.array([row[7] for row in rows])
    return Detections(centred(rows).astype(np.float32), scores.astype(np.float32), np.zeros(len(rows), np.int64))


def scored(predictions, dataset, out=None):
    benchmark = find_benchmark("radial")
    frames = zip(predictions, dataset.tokens, strict=True)
    samples = [json.loads(json.dumps(benchmark.encode(detections(rows), token, np.eye(4)))) for rows, token in frames]
    if out is not None:
        benchmark.write(samples, dataset, out / "predictions.json")
    return benchmark.score(samples, dataset)


def test_detections_are_scored_as_their_arrays_are(tmp_path):
    predictions, truth = random_frames(5, frames=8, noise=0.2)
    record = scored(predictions, Annotated(truth), tmp_path)
    expected = evaluate_arrays(predictions, truth)
    for metric in find_benchmark("radial").metrics:
        assert metric.of(record) is not None
    assert record["official"]["mean_ap"]["bev"]["overall"] == pytest.approx(expected.official.mean_ap("bev"), abs=1e-9)
    for quirks in ("official", "fixed"):
        cell = record[quirks]["reported"]["3d"]["IoU0.5/overall"]
        assert cell["AP"] == pytest.approx(expected.scores(quirks).reported["3d", 0.5, "overall"].ap, abs=1e-9)
    assert (record["schema"], record["benchmark"], record["samples"]) == ("portbev.metrics/1", "radial", 8)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    again = read_boxes(tmp_path / "predictions.json", scored=True)
    assert again.counts.tolist() == [len(rows) for rows in predictions]
    assert again.rows == pytest.approx(np.concatenate(predictions), abs=1e-5)


def test_best_checkpoint_does_not_profit_from_silence():
    """Leaving a frame without predictions never helps the figure that chooses the best checkpoint."""
    truth = [[car(20, 0)], [car(30, 0)]]
    good, wrong = [car(20, 0, score=0.9)], [car(60, 0, score=0.5)]
    best = find_metric(find_benchmark("radial"), None)
    silent, trying = (
        scored([good, []], Annotated(truth)),
        scored([good, [car(30, 0, score=0.4), *wrong]], Annotated(truth)),
    )
    assert best.of(trying) > best.of(silent)
    assert silent["official"]["mean_ap"]["bev"]["overall"] == pytest.approx(100)


def test_tables_and_headline_show_the_figures():
    predictions, truth = random_frames(5, frames=8, noise=0.2)
    record = scored(predictions, Annotated(truth))
    benchmark = benchmark_of(record)
    table = benchmark.class_table(record)
    rows = dict(table.rows)
    cell = record["official"]["reported"]["let"]["IoU0.7/0-50"]
    assert rows["let 0.7 0-50"][0] == benchmark.class_figures(record)["let 0.7 0-50"] == cell["AP"]
    assert all(len(cells) == len(table.columns) for cells in rows.values()) and len(rows) == 18
    assert f"BEV AP {record['official']['mean_ap']['bev']['overall']:.4f}" in headline(benchmark, record)


def test_no_detections_score_zero_and_say_so():
    record = scored([[], []], Annotated([[car(20, 0)], []]))
    assert [metric.of(record) for metric in find_benchmark("radial").metrics] == [0.0] * 9 + [None] * 2
    assert "zero" in record["notes"][0]
    assert len(find_benchmark("radial").class_table(record).rows) == 18


def test_boxes_that_mean_nothing_are_left_out_and_counted():
    """A NaN, a size that overflowed and one that underflowed beside a good box: the score is that of the good one."""
    found = detections([car(20, 0, score=score) for score in (0.9, 0.8, 0.7, 0.6)])
    found.boxes[1, 0], found.boxes[2, 3], found.boxes[3, 4] = np.nan, np.inf, 0
    benchmark, dataset = find_benchmark("radial"), Annotated([[car(20, 0)], []])
    samples = [benchmark.encode(one, "", np.eye(4)) for one in (found, detections([]))]
    record = benchmark.score(samples, dataset)
    assert record["notes"] == [
        "2 predicted boxes that are not finite are left out, in 1 samples",
        "1 predicted boxes without extent are left out, in 1 samples",
    ]
    assert record["boxes"] == {"ground_truth": 1, "predictions": 1}
    assert record["fixed"]["mean_ap"]["bev"]["overall"] == pytest.approx(100)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    options = RadialSynthOptions(
        sequences=3,
        frames=2,
        seed=5,
        samples=32,
        chirps=32,
        azimuths=15,
        elevations=6,
        image_size=(96, 64),
        density=1.5,
    )
    return generate(tmp_path_factory.mktemp("radial") / "recordings", options, workers=1)


@pytest.fixture
def dataset(recordings):
    return build_dataset(RadialData(camera=False), recordings, "eval", seed=0)


class Oracle(DetectionModel):
    """Finds exactly what is annotated."""

    def forward(self, batch):
        return batch["radar"]

    def decode(self, outputs, batch):
        return [Detections(b, np.full(len(b), 0.95, np.float32), np.zeros(len(b), np.int64)) for b in batch["boxes"]]


def test_evaluation_of_a_model_gives_the_best_figures_to_perfect_detections(dataset, tmp_path):
    assert sum(len(dataset.truth(index)[0]) for index in range(len(dataset)))
    section = RadialData(camera=False, workers=0)
    config = RunConfig(name="oracle", model=ModelSection(family="oracle"), data=section)
    said = ["a note from before"]
    record = evaluate_model(Oracle(), dataset, config, backend=CpuBackend(), out=tmp_path, setup_notes=said)
    for key in ("bev_ap_fixed", "3d_ap_fixed", "let_ap_fixed"):
        assert find_metric(find_benchmark("radial"), key).of(record) == pytest.approx(100)
    assert record["samples"] == len(dataset) and record["inference"]["batch_size"] == 1
    assert json.loads((tmp_path / "metrics.json").read_text()) == record
    assert record["setup_notes"] == said and record["data"]["digest"] == dataset.digest()
    again = evaluate_results(tmp_path / "predictions.json", data_root=dataset.root, split="test")
    assert again["official"] == record["official"] and again["fixed"] == record["fixed"]


def test_ground_truth_stands_where_the_batches_have_it(dataset):
    truth = ground_truth(dataset)
    assert truth.frames == tuple(dataset.tokens)
    for index, rows in enumerate(truth.arrays()):
        boxes = dataset.sample(index, 0)["boxes"]
        assert rows[:, 2] == pytest.approx(boxes[:, 2] - boxes[:, 5] / 2, abs=1e-5)
        assert rows[:, [0, 1, 3, 4, 5, 6]] == pytest.approx(boxes[:, [0, 1, 3, 4, 5, 6]], abs=1e-5)


def test_original_results_are_scored_on_a_split(dataset, tmp_path):
    found = np.empty(len(dataset), object)
    for index, rows in enumerate(ground_truth(dataset).arrays()):
        found[index] = np.column_stack([rows, np.full(len(rows), 0.95)]).astype(np.float32)
    np.save(tmp_path / "results_3d.npy", found, allow_pickle=True)
    record = evaluate_results(tmp_path / "results_3d.npy", data_root=dataset.root, split="test")
    assert record["fixed"]["mean_ap"]["bev"]["overall"] == pytest.approx(100)
    assert (record["samples"], record["version"]) == (len(dataset), "raw")
