"""``portbev doctor`` as it is typed: planted environments, a page of any width, texts to explain."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from doctor_machines import CPU, NVIDIA, Plan, cpuinfo
from rich.console import Console

from portbev.doctor import examine
from portbev.doctor.checkups import checkups
from portbev.doctor.page import show


def portbev(
    *words: str, first: Path | None = None, text: str = "", environment: Mapping[str, str] | None = None, files: int = 0
) -> subprocess.CompletedProcess[str]:
    """The real command; ``first`` is a folder that Python looks into first, ``files`` a limit of open files."""
    places = [str(first)] if first else []
    path = os.pathsep.join([*places, *(entry for entry in sys.path if entry)])
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": path, **(environment or {})}

    def limited() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    return subprocess.run(
        [sys.executable, "-m", "portbev", "doctor", *words],
        input=text,
        env=settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limited,
    )


def distribution(folder: Path, name: str, version: str, entry_points: str = "") -> None:
    """Install the metadata of a distribution by hand."""
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    if entry_points:
        (about / "entry_points.txt").write_text(entry_points)


def found(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    report = json.loads(done.stdout)
    assert report["schema"] == "portbev.doctor/1" and report["failed"] == [], done.stdout
    return {finding["id"]: finding for finding in report["findings"]}


def broken_torch(folder: Path) -> None:
    """A torch whose import ends the process as it does on a CPU without AVX."""
    (folder / "torch").mkdir(parents=True)
    (folder / "torch" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    (folder / "torch" / "version.py").write_text("__version__ = '2.13.0+cpu'\ncuda = None\nhip = None\n")


def test_what_is_planted_around_a_real_environment_is_found(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, version in (("cupy-cuda12x", "14.2.0"), ("cupy-cuda13x", "14.2.0")):
        distribution(site, name, version)
    distribution(site, "torch-npu", "2.13.0", "[torch.backends]\ntorch_npu = torch_npu:_autoload\n")
    (site / "torch_npu").mkdir()
    (site / "torch_npu" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    broken_torch(site)
    settings = {"CUDA_LAUNCH_BLOCKING": "1", "RANK": "0", "WORLD_SIZE": "4", "LD_LIBRARY_PATH": ""}
    done = portbev("--json", "--data-root", str(tmp_path / "none"), first=site, environment=settings, files=256)
    findings = found(done)
    expected = {
        "overwritten",
        "npu-cann-missing",
        "torch-import",
        "blocking-launches",
        "launcher-leftovers",
        "open-files",
        "data-root-missing",
    }
    assert expected <= set(findings), done.stdout + done.stderr
    assert done.returncode == 1
    assert "Illegal instruction" in findings["torch-import"]["says"]
    assert "pip uninstall --yes cupy-cuda12x cupy-cuda13x" in findings["overwritten"]["cure"]
    assert findings["open-files"]["severity"] == "bites" and findings["open-files"]["what"].startswith("256 files")


def test_nothing_that_is_planted_is_found_on_this_machine(tmp_path: Path) -> None:
    findings = found(portbev("--json", "--out", str(tmp_path)))
    assert not {"overwritten", "torch-import", "torch-missing", "launcher-leftovers", "data-root-missing"} & set(
        findings
    )


def test_a_message_is_explained_as_text_as_a_file_and_from_standard_input(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("step 1\nOSError: [Errno 24] Too many open files\n")
    for done in (
        portbev("--explain", "OSError: [Errno 24] Too many open files"),
        portbev("--explain", str(log)),
        portbev("--explain", "-", text=log.read_text()),
    ):
        assert done.returncode == 0, done.stderr
        assert "-> ulimit -n 65535" in done.stdout
    answer = json.loads(portbev("--json", "--explain", str(log)).stdout)
    assert [(one["id"], one["line"]) for one in answer["known"]] == [("open-files", 2)]


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("a message that nobody has ever seen", 1, "no known message"),
        ("libhcll.so: cannot open shared object file", 1, "did you mean"),
        (" ", 2, "portbev: --explain: there is no text. Give the message"),
    ],
)
def test_what_is_not_known_has_another_status(text: str, status: int, said: str) -> None:
    done = portbev("--explain", text)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_page_fits_and_its_cures_can_be_copied(width: int, tmp_path: Path) -> None:
    plan = NVIDIA.with_(
        Plan(
            files={"/proc/cpuinfo": cpuinfo("fpu"), "/dev/nvidia0": None, "/dev/nvidiactl": None, "/.dockerenv": ""},
            packages={"triton-ascend 3.2.0": [], "torchvision 0.23.0": ["torch==2.8.0"]},
        )
    )
    report, text = examine(plan.machine(tmp_path), checkups()), io.StringIO()
    assert len(report.findings) == 4
    show(report, Console(file=text, width=width))
    lines = text.getvalue().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines if "->" not in line)
    for finding in report.findings:
        assert all(f"      -> {line}" in lines for line in finding.cure.splitlines())
    assert lines.index("stops training") < lines.index("may bite")


def test_a_sound_machine_is_told_so(tmp_path: Path) -> None:
    text = io.StringIO()
    show(examine(CPU.machine(tmp_path), checkups()), Console(file=text, width=80))
    assert text.getvalue().rstrip().endswith("nothing found")
