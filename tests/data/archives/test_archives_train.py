"""Training from archives in a read-only folder, through the command, against training from the same files unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from archive_cases import pack

from portbev.cli import main
from portbev.data.root import open_root
from portbev.runs import Run, load_run

pytest.importorskip("indexed_gzip")
CONFIG = Path(__file__).parents[3] / "configs" / "bevformer" / "tiny_test.yaml"
ROOT = "synthetic:?scenes=2&samples_per_scene=3&sweeps=0&image_size=200x112&seed=0"


def start(root: object, out: Path, workers: int) -> subprocess.Popen[str]:
    words = [CONFIG, "--backend", "cpu", "--data-root", root, "--out", out, "--set", f"data.workers={workers}"]
    line = [sys.executable, "-m", "portbev", "train", *map(str, words), "--set", "train.max_steps=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process: subprocess.Popen[str], out: Path) -> Run:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return load_run(out)


def weights(run: Run) -> bytes:
    return (run.checkpoints.path(run.checkpoints.steps()[-1]) / "model.safetensors").read_bytes()


def test_a_run_on_two_archives_has_the_bits_of_a_run_on_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One with the tables and the maps, and one with everything else below a folder of its own; in two workers."""
    unpacked = Path(str(open_root(ROOT)))
    files = {
        str(path.relative_to(unpacked)): path.read_bytes() for path in sorted(unpacked.rglob("*")) if path.is_file()
    }
    folder = tmp_path / "data"
    folder.mkdir()
    blobs = {name: data for name, data in files.items() if name.startswith(("samples/", "sweeps/", "can_bus/"))}
    pack(folder / "v1.0-mini_blobs.tgz", blobs, prefix="./nuscenes/")
    pack(folder / "v1.0-mini_meta.tgz", {name: data for name, data in files.items() if name not in blobs})
    os.chmod(folder, 0o555)
    try:
        both = start(unpacked, tmp_path / "plain", 0), start(folder, tmp_path / "packed", 2)
        plain, packed = finished(both[0], tmp_path / "plain"), finished(both[1], tmp_path / "packed")
        assert weights(plain) == weights(packed)
        assert [row.losses for row in plain.scalars()] == [row.losses for row in packed.scalars()]
        assert plain.predictions.read_bytes() == packed.predictions.read_bytes()
        assert plain.record.data.digest == packed.record.data.digest
        assert main(["data", "check", "nuscenes", str(folder)]) == 0
        assert "complete and consistent" in capsys.readouterr().out
        assert sorted(os.listdir(folder)) == ["v1.0-mini_blobs.tgz", "v1.0-mini_meta.tgz"]
    finally:
        os.chmod(folder, 0o755)
