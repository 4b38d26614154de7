"""``portbev train``: what it prints, and one clear line for every mistake."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIG = "bevdepth/tiny_test"


def assert_one_line(done: Any, *said: str) -> None:
    """Exit status 2, one line on the standard error that says all of ``said``, no traceback."""
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2, done.stdout + done.stderr
    assert len(lines) == 1 and lines[0].startswith("portbev: "), done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    for text in said:
        assert text in lines[0], lines[0]


def test_a_run_ends_with_its_numbers_and_where_everything_is(portbev: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", out, "--set", "train.max_steps=2")
    assert done.returncode == 0, done.stderr
    for text in ("mAP", "NDS", "FPS", "peak memory", str(out), "predictions.json", "portbev viz", "parity report"):
        assert text in done.stdout
    record = json.loads((out / "run.json").read_text())
    assert record["command"][1:3] == ["train", CONFIG]
    assert record["progress"]["step"] == 2


def test_resume_needs_no_configuration_and_takes_more_steps(portbev: Any, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained, out)
    done = portbev("train", "--resume", "--out", out, "--set", "train.max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "resuming at step 1" in done.stdout
    assert json.loads((out / "run.json").read_text())["progress"]["step"] == 2


def test_interrupted_it_says_how_to_go_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = [
        sys.executable,
        "-m",
        "portbev",
        "train",
        CONFIG,
        "--backend",
        "cpu",
        "--data-root",
        str(data),
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        [*words, "--set", "train.epochs=500"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.time() + 120
        while not (out / "scalars.jsonl").exists() or not (out / "scalars.jsonl").stat().st_size:
            assert process.poll() is None and time.time() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=120)
    finally:
        process.kill()  # where SIGINT is ignored it would train on: children of a shell's background job inherit that
    assert process.returncode == 130, errors
    assert errors == ""
    assert "continue with:" in said and said.strip().endswith("--set train.epochs=500 --resume")
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "interrupted"
    assert (out / "checkpoints" / f"step_{record['progress']['step']:08d}" / "meta.json").is_file()


ARGUMENT_FAULTS: dict[str, tuple[list[str], list[str]]] = {
    "unknown backend": (["--backend", "gpu"], ["unknown backend 'gpu'", "cpu"]),
    "absent device": (["--backend", "cuda"], ["backend 'cuda' is not available"]),
    "nothing to emulate": (["--backend", "cpu", "--emulate"], ["no emulator"]),
    "unknown key": (["--set", "optimizer.lrr=1"], ["unknown key 'optimizer.lrr'", "'lr'"]),
    "unknown model key": (["--set", "model.head.trunk=1"], ["unknown key 'model.head.trunk'"]),
    "wrong type": (["--set", "train.epochs=many"], ["train.epochs", "'many'"]),
    "no value": (["--set", "train.epochs"], ["cannot read 'train.epochs'"]),
    "unknown family": (["--set", "model.family=bevdeth"], ["unknown model family", "bevdepth"]),
    "unknown operator": (["--kernel", "voxelpool=reference"], ["unknown operator 'voxelpool'", "voxel_pool"]),
    "unknown provider": (["--kernel", "voxel_pool=cudnn"], ["voxel_pool=cudnn cannot be used"]),
    "kernel without provider": (["--kernel", "voxel_pool"], ["--kernel", "voxel_pool"]),
    "missing data root": (["--data-root", "/nowhere/nuscenes"], ["/nowhere/nuscenes", "no such data root"]),
    "unknown version": (["--set", "data.version=v2.0"], ["v2.0"]),
    "unknown split": (["--set", "data.train_split=trian"], ["trian"]),
    "missing initial weights": (["--init", "/nowhere/epoch.ckpt"], ["/nowhere/epoch.ckpt", "no such checkpoint"]),
    "batch beyond the data": (["--set", "train.batch_size=99"], ["train.batch_size"]),
}


@pytest.mark.parametrize("fault", ARGUMENT_FAULTS)
def test_a_wrong_argument_is_one_line(portbev: Any, data: Path, tmp_path: Path, fault: str) -> None:
    arguments, said = ARGUMENT_FAULTS[fault]
    if fault == "absent device":
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has the device")
    defaults: list[object] = [] if "--backend" in arguments else ["--backend", "cpu"]
    defaults += [] if "--data-root" in arguments else ["--data-root", data]
    assert_one_line(portbev("train", CONFIG, *defaults, "--out", tmp_path / "run", *arguments), *said)
    assert not (tmp_path / "run" / "run.json").exists()


def test_an_unknown_configuration_is_one_line(portbev: Any) -> None:
    assert_one_line(portbev("train", "bevdepth/laptp"), "no such configuration", "bevdepth/laptop")


def test_no_configuration_is_one_line(portbev: Any) -> None:
    assert_one_line(portbev("train"), "no configuration")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def drop_field(path: Path) -> None:
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([{k: v for k, v in row.items() if k != "size"} for row in rows]))


DATA_FAULTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "truncated picture": ("samples/CAM_FRONT/*.jpg", cut),
    "truncated lidar file": ("samples/LIDAR_TOP/*.bin", cut),
    "missing picture": ("samples/CAM_BACK/*.jpg", Path.unlink),
    "missing table": ("v1.0-mini/ego_pose.json", Path.unlink),
    "missing field": ("v1.0-mini/sample_annotation.json", drop_field),
    "truncated table": ("v1.0-mini/sample_data.json", cut),
}


@pytest.mark.parametrize("fault", DATA_FAULTS)
def test_damaged_data_is_one_line_that_names_the_file(portbev: Any, data: Path, tmp_path: Path, fault: str) -> None:
    pattern, damage = DATA_FAULTS[fault]
    root = tmp_path / "data"
    shutil.copytree(data, root)
    files = sorted(root.glob(pattern))
    for path in files:
        damage(path)
    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", root, "--out", tmp_path / "run")
    assert_one_line(done)
    assert any(path.name in done.stderr for path in files), done.stderr


def test_loader_workers_tell_the_same_single_line(portbev: Any, data: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(data, root)
    for path in root.glob("samples/CAM_FRONT/*.jpg"):
        cut(path)
    done = portbev(
        "train", CONFIG, "--backend", "cpu", "--data-root", root, "--out", tmp_path / "run", "--set", "data.workers=1"
    )
    assert_one_line(done, "CAM_FRONT")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_run_that_failed_before_its_first_step_may_be_started_again(portbev: Any, data: Path, tmp_path: Path) -> None:
    wrong = portbev(
        "train",
        CONFIG,
        "--backend",
        "cpu",
        "--data-root",
        data,
        "--out",
        tmp_path,
        "--set",
        "data.image.source_size=[50,60]",
    )
    assert_one_line(wrong, "source_size")
    right = portbev(
        "train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", tmp_path, "--set", "train.max_steps=1"
    )
    assert right.returncode == 0, right.stderr


def unwritable(tmp_path: Path) -> Path:
    """A folder that takes no files; permissions do not stop root, the kernel's own file systems do."""
    if os.geteuid() == 0:
        return Path("/sys/portbev")
    tmp_path.chmod(0o555)
    return tmp_path / "run"


def test_a_read_only_output_is_one_line_before_any_training(portbev: Any, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    out = unwritable(folder)
    assert_one_line(portbev("train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", out), str(out), "--out")


def test_a_full_disk_is_one_line_and_leaves_no_half_checkpoint(portbev: Any, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"

    def limit() -> None:  # no file may grow beyond this: the checkpoint does not fit, the record does
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", out, preexec_fn=limit)
    assert_one_line(done, "cannot write the checkpoint", str(out))
    assert list((out / "checkpoints").iterdir()) == []
    assert json.loads((out / "run.json").read_text())["status"] == "failed"


def test_a_really_full_file_system_is_one_line(portbev: Any, data: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system takes root")
    try:
        done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", disk / "run")
        assert_one_line(done, "No space left on device", str(disk))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_run_in_the_output_is_one_line(portbev: Any, data: Path, trained: Path) -> None:
    done = portbev("train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", trained)
    assert_one_line(done, "holds a run already", "--resume")


def test_a_loss_that_is_not_finite_is_one_line(portbev: Any, data: Path, tmp_path: Path) -> None:
    done = portbev(
        "train", CONFIG, "--backend", "cpu", "--data-root", data, "--out", tmp_path / "run",
        "--set", "optimizer.lr=1e30", "--set", "train.clip_grad_norm=null", "--set", "optimizer.name=sgd",
    )  # fmt: skip
    assert_one_line(done, "not finite at step", "module")


USAGE_FAULTS = {
    "unknown command": (["trian"], "unknown command 'trian'. Did you mean 'train'", "Known: backends, "),
    "unknown option": (["train", "x", "--data_root", "y"], "no such option: --data_root", "portbev train --help"),
    "no value": (["train", "--backend"], "option '--backend' requires an argument", "portbev --help"),
    "nothing named": (["parity", "report"], "missing argument 'RUN'", "portbev parity report --help"),
}


@pytest.mark.parametrize("fault", USAGE_FAULTS)
def test_a_misused_command_is_one_line_that_names_its_help(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    from portbev.cli import main

    words, said, cure = USAGE_FAULTS[fault]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and cure in line


def test_what_cannot_be_resumed_or_evaluated_is_told_with_what_to_type(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from portbev.cli import main

    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "one").symlink_to(trained)
    for words, said in (
        (["train", "--resume", "--out", str(tmp_path / "none")], f"portbev train CONFIG --out {tmp_path / 'none'}"),
        (["train", "--resume", "--out", str(runs)], f"a run that is there: {runs / 'one'}"),
        (["eval", str(runs)], f"portbev eval {runs / 'one'}; or compare them: portbev parity report {runs / 'one'}"),
        (["viz", str(runs)], f"Runs in it: {runs / 'one'}"),
        (["eval", str(trained / "checkpoints")], f"portbev eval {trained}; --checkpoint STEP"),
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
