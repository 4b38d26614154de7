"""The plugin printed in docs/extending.md, installed as printed, trains, is scored, drawn and compared."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[1] / "docs" / "extending.md"


def block(name: str) -> str:
    """The code block behind a mark."""
    found = re.search(rf"<!-- {name} -->\n```\w+\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"no block {name}"
    return found.group(1)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin's distribution installed into ``site``."""
    folder = tmp_path_factory.mktemp("marbles")
    source = folder / "source"
    source.mkdir()
    (source / "portbev_marbles.py").write_text(block("plugin"), encoding="utf-8")
    (source / "pyproject.toml").write_text(block("pyproject"), encoding="utf-8")
    (folder / "marbles.yaml").write_text(block("config"), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder / "site"),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def portbev(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own that has the plugin on its path."""
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PORTBEV_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    return subprocess.run(
        [sys.executable, "-m", "portbev", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_printed_plugin_runs_every_printed_command(installed: Path) -> None:
    said = {}
    for line in block("commands").splitlines():
        words = shlex.split(line)[1:]
        done = portbev(installed, *words)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout
    runs = installed / "runs"
    metrics = json.loads((runs / "marbles" / "metrics.json").read_text())
    assert metrics["benchmark"] == "marbles" and metrics["f1"] > 0.5, metrics
    scored = next(text for line, text in said.items() if "predictions.json" in line)
    assert f"F1 {metrics['f1']:.4f}" in scored
    assert len(list((runs / "marbles" / "pictures").glob("frame_*.png"))) == 2
    report = json.loads((runs / "report" / "report.json").read_text())
    assert [group["benchmark"] for group in report["groups"]] == ["marbles"]
    assert {"f1", "precision", "recall"} <= {metric["key"] for metric in report["metrics"]}
    assert report["groups"][0]["curves"][0]["steps"] == metrics["step"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["train", "marbles.yaml", "--out", "a", "--set", "data.nois=1"],
            "unknown key 'data.nois'. Did you mean 'noise'?",
        ),
        (
            ["train", "marbles.yaml", "--out", "b", "--set", "data.kind=nuscenes"],
            "model family marble_net does not take",
        ),
        (["train", "marbles.yaml", "--out", "c", "--data-root", "marbles:?frame=9"], "Did you mean 'frames'?"),
        (["train", "marbles.yaml", "--out", "d", "--data-root", "marble:?frames=20"], "Did you mean 'marbles:'?"),
        (
            ["eval", "runs/none.json", "--data-root", "marbles:", "--split", "val"],
            "no such run, checkpoint or file of results",
        ),
    ],
)
def test_mistakes_of_a_plugin_s_user_get_one_line(installed: Path, words: list[str], line: str) -> None:
    done = portbev(installed, *words, *(["--backend", "cpu"] if words[0] == "train" else []))
    assert done.returncode == 2 and line in done.stderr and done.stderr.count("\n") == 1, done.stderr
