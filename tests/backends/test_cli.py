"""`portbev backends`, run as users run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packaging.version import Version

from portbev.combinations import release
from portbev_npu import vendor

absent = pytest.mark.skipif(vendor.is_installed("torch_npu"), reason="torch_npu is installed here")


def run(*arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "portbev", "backends", *arguments]
    places = [place for place in (path, os.environ.get("PYTHONPATH", "")) if place]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(places)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_all_backends_are_shown_and_the_cpu_is_there() -> None:
    done = run("--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "portbev.backends/1"
    pages = {page["name"]: page for page in report["backends"]}
    assert {"cpu", "cuda", "rocm", "npu"} <= set(pages)
    assert pages["cpu"]["available"]
    assert {"deform_conv2d", "voxel_pool", "voxel_pool_lift", "fft", "dropout"} <= set(pages["cpu"]["operators"])
    for page in report["backends"]:
        for stage in page["stages"]:
            assert stage["ok"] or (stage["detail"] and stage["cure"])


@absent
def test_an_absent_device_shows_stages_with_cures_and_ends_with_status_2() -> None:
    done = run("--backend", "npu")
    assert done.returncode == 2
    assert "no  torch_npu installed: no package torch_npu" in done.stdout
    assert "-> Install it for this torch: pip install 'torch-npu" in done.stdout
    assert done.stderr.startswith("portbev: backend 'npu' is not available: torch_npu installed: no package torch_npu.")
    assert "--backend npu --emulate" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("driving", "cure"),
    [("", "-> install 'torch-npu=={release}.*' in place of 2.1.0"), ("26.2.0.post2", "; pip uninstall mx-driving")],
)
def test_packages_that_do_not_go_together_are_named_with_the_cure(tmp_path: Path, driving: str, cure: str) -> None:
    for name, version in {"torch_npu": "2.1.0", "mx_driving": driving}.items():
        if version:
            folder = tmp_path / f"{name}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    done = run("--backend", "npu", path=str(tmp_path))
    lines = done.stdout.splitlines()
    (place,) = [index for index, line in enumerate(lines) if "versions: " in line]
    assert lines[place].startswith(f"  note versions: torch {torch.__version__}, torch-npu 2.1.0, ")
    assert lines[place].endswith(": not known to go together")
    if release(torch.__version__) == "2.8" and driving:  # the one that mx_driving's wheels take
        cure = "-> install 'torch-npu=={release}.*' in place of 2.1.0"
    if Version(torch.__version__) >= Version("2.15"):  # which no torch-npu is published for
        cure = (
            "-> install 'torch==2.8.*' in place of" if driving else "; install 'torch-npu>=2.9,<2.15' in place of 2.1.0"
        )
    assert cure.format(release=release(torch.__version__)) in lines[place + 1]


def test_the_row_of_this_environment_is_named() -> None:
    pages = {page["name"]: page["versions"] for page in json.loads(run("--json").stdout)["backends"]}
    assert pages["cpu"]["versions"]["torch"] == torch.__version__
    assert pages["cpu"]["known"] and "tested" in pages["cpu"]["said"]
    assert torch.version.cuda or pages["cuda"] is None
    assert torch.version.hip or pages["rocm"] is None


def test_an_unknown_backend_is_one_line_with_the_nearest_name() -> None:
    done = run("--backend", "nppu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("portbev: --backend: unknown backend 'nppu'. Did you mean 'npu'? Known: ")


def test_the_emulated_npu_shows_its_providers_in_order() -> None:
    done = run("--backend", "npu", "--emulate", "--json")
    assert done.returncode == 0, done.stderr
    (page,) = json.loads(done.stdout)["backends"]
    assert (page["label"], page["available"]) == ("npu (emulated)", True)
    assert json.loads(done.stdout)["deterministic"] == "preferred"  # as train's
    providers = {name: [c["provider"] for c in entry["candidates"]] for name, entry in page["operators"].items()}
    assert providers["deform_conv2d"] == ["mx_driving", "torch_npu", "reference"]
    assert providers["voxel_pool"] == ["mx_driving", "reference"]
    assert providers["voxel_pool_lift"] == ["mx_driving", "reference"]


def test_required_determinism_shows_who_is_passed_over() -> None:
    done = run("--backend", "npu", "--emulate", "--deterministic", "required")
    assert "(best provider first; compute.deterministic: required)" in done.stdout
    assert "mx_driving: not deterministic" in done.stdout
    assert "npu (emulated)" in done.stdout


def test_a_chosen_kernel_excludes_the_others_and_a_wrong_one_is_an_error() -> None:
    assert run("--backend", "cpu", "--kernel", "voxel_pool=reference").returncode == 0
    done = run("--backend", "cpu", "--kernel", "voxel_pool=mx_driving")
    assert done.returncode == 2
    assert "voxel_pool=mx_driving cannot be used" in done.stderr
    assert run("--kernel", "voxel_pool").returncode == 2


def test_a_wrong_word_for_determinism_is_one_line() -> None:
    done = run("--deterministic", "true")
    said = "portbev: --deterministic: 'true' is no value of compute.deterministic. One of required, preferred, off"
    assert (done.returncode, done.stdout, done.stderr.strip()) == (2, "", said)


def test_emulating_without_a_name_is_an_error() -> None:
    done = run("--emulate")
    assert done.returncode == 2
    assert "--backend npu" in done.stderr


@absent
def test_looking_does_not_change_the_environment_of_children() -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "from portbev.cli.backends import survey\n"
        "survey(); assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
