"""``parity seeds``: what is missing is run, what is there is left alone."""

from __future__ import annotations

import json

import pytest
from test_parity_cli import assert_one_line, portbev

from portbev.errors import PortbevError
from portbev.parity.series import Device, read_series
from portbev.recording import seeds as module
from portbev.recording.seeds import open_series, run_series
from portbev.recording.training import Trained

CPU, NPU = Device(backend="cpu"), Device(backend="npu", emulated=True)
CONFIG = "bevdepth/tiny_test"


@pytest.fixture
def trained(monkeypatch):
    """Calls of the training, which does nothing; ``trained.results`` say how the runs end."""

    class Calls(list):
        results: dict[str, str] = {}  # noqa: RUF012

        def __call__(self, out, arguments, *, processes=1):
            self.append((out.parent.name + "/" + out.name, arguments))
            return Trained(self.results.get(out.parent.name + "/" + out.name, "finished"), "said")

    calls = Calls()
    monkeypatch.setattr(module, "train_apart", calls)
    return calls


def test_every_seed_is_run_on_every_device_seed_by_seed(tmp_path, trained):
    series = open_series(tmp_path, CONFIG, settings=["train.epochs=1"], data_root="d", devices=[CPU, NPU], seeds=2)
    lines = []
    assert run_series(series, tmp_path, lines.append) == ([], False)
    assert [place for place, _ in trained] == ["cpu/seed0", "npu-emulated/seed0", "cpu/seed1", "npu-emulated/seed1"]
    assert trained[3][1] == [
        CONFIG, "--backend", "npu", "--emulate", "--set", "train.epochs=1", "--set", "train.seed=1", "--data-root", "d",
    ]  # fmt: skip
    assert lines[0] == "1/4  cpu/seed0  finished: said"


def test_a_series_goes_on_with_more_seeds_and_devices_and_no_configuration(tmp_path):
    open_series(tmp_path, CONFIG, settings=["train.epochs=1"], devices=[CPU], seeds=2)
    again = open_series(tmp_path, None, devices=[NPU], seeds=4)
    assert (again.seeds, again.devices, again.settings) == ([0, 1, 2, 3], [CPU, NPU], ["train.epochs=1"])
    assert open_series(tmp_path, None).seeds == [0, 1, 2, 3]
    assert open_series(tmp_path, CONFIG, settings=["train.epochs=1"], seeds=1) == again
    assert read_series(tmp_path) == again


def test_a_failed_run_does_not_stop_the_others_and_an_interruption_does(tmp_path, trained):
    series = open_series(tmp_path, CONFIG, devices=[CPU], seeds=3)
    trained.results = {"cpu/seed0": "failed"}
    assert run_series(series, tmp_path, print) == (["cpu/seed0"], False) and len(trained) == 3
    trained.results = {"cpu/seed1": "interrupted"}
    assert run_series(series, tmp_path, print) == ([], True) and len(trained) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": None}, "no configuration"),
        ({"config": CONFIG, "seeds": 0}, "no seeds"),
        ({"config": CONFIG, "seeds": 1, "devices": [Device(backend="tpu")]}, "unknown backend"),
        ({"config": CONFIG, "seeds": 1, "devices": [Device(backend="cuda", emulated=True)]}, "nothing emulates 'cuda'"),
        ({"config": "bevdepth/none", "seeds": 1}, "none"),
    ],
)
def test_a_series_that_cannot_begin_leaves_nothing(tmp_path, arguments, message):
    with pytest.raises(PortbevError, match=message):
        open_series(tmp_path, **arguments)
    assert not list(tmp_path.iterdir())


def test_another_configuration_is_refused(tmp_path):
    open_series(tmp_path, CONFIG, devices=[CPU], seeds=1)
    with pytest.raises(PortbevError, match="another configuration"):
        open_series(tmp_path, CONFIG, settings=["optimizer.lr=0.5"], seeds=1)
    with pytest.raises(PortbevError, match="other settings"):
        open_series(tmp_path, CONFIG, settings=["compute.amp=bf16"], seeds=1)
    with pytest.raises(PortbevError, match="keeps its settings"):
        open_series(tmp_path, None, settings=["compute.amp=bf16"])


def test_the_seed_is_not_a_setting(tmp_path):
    done = portbev("parity", "seeds", CONFIG, "--seeds", 1, "--set", "train.seed=3", "--out", tmp_path / "s")
    assert_one_line(done, "train.seed is what a series varies")


@pytest.mark.slow
def test_the_command_trains_seals_and_leaves_finished_runs_alone(tmp_path):
    options = ["--set", "train.max_steps=1", "--out", tmp_path / "s"]
    done = portbev("parity", "seeds", CONFIG, "--seeds", 1, "--backend", "cpu", *options)
    assert done.returncode == 0, done.stderr + (tmp_path / "s" / "cpu" / "seed0.log").read_text()
    assert "cpu/seed0  finished: mAP" in done.stdout and "portbev parity report" in done.stdout
    run = tmp_path / "s" / "cpu" / "seed0"
    assert set(json.loads((run / "seal.json").read_text())["files"]) == {"run.json", "scalars.jsonl", "metrics.json"}
    again = portbev("parity", "seeds", "--out", tmp_path / "s")
    assert again.returncode == 0 and "finished already" in again.stdout

    made = portbev("parity", "curves", run, run, "--make", 1, "--out", tmp_path / "c")
    assert_one_line(made, "named twice")  # after the control run was made
    control = json.loads((tmp_path / "c" / "control1" / "run.json").read_text())
    assert control["init"].endswith("weights1.safetensors") and control["seed"] == 0
    first, moved = (json.loads((folder / "scalars.jsonl").read_text()) for folder in (run, tmp_path / "c" / "control1"))
    assert moved["losses"]["total"] == pytest.approx(first["losses"]["total"], rel=1e-5)
    assert moved["grad_norm"] != first["grad_norm"]


def test_a_folder_without_a_series_is_told(tmp_path):
    assert_one_line(portbev("parity", "seeds", "--out", tmp_path / "none"), "no series to go on with")
