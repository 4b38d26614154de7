"""What is published is whole: the sdist and the wheel made of it, installed into a fresh environment, run anywhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import portbev

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="the sources are not here")


def run(*command: str, cwd: Path) -> str:
    """Standard output of a command that must succeed, without what would make Python find the checkout."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PIP_CONSTRAINT")}
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built of the sdist."""
    for needed in ("build", "hatchling"):
        pytest.importorskip(needed, reason=f"{needed} comes with the extra dev")
    out = tmp_path_factory.mktemp("dist")
    # As `python -m build` does, but with the hatchling that is installed: nothing is downloaded.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def python(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a fresh environment with the wheel: its dependencies are links to those of this environment."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", symlinks=True)
    fresh = folder / "venv" / "bin" / "python"
    site = Path(run(str(fresh), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    for packages in (Path(folder) for folder in sys.path if any(Path(folder or ".").glob("*.dist-info"))):
        for entry in packages.iterdir():
            ours = re.match(r"_*(editable_impl_)?portbev", entry.name)
            if not ours and entry.suffix != ".pth" and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    pip = (sys.executable, "-m", "pip", "--python", str(fresh), "install", "--quiet", "--no-deps", "--no-index")
    run(*pip, str(built[1]), cwd=folder)
    return fresh


def test_the_sdist_has_what_a_packager_needs(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for path in ("LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff", "README.md", "tox.ini", "constraints.txt"):
        assert path in names
    tracked = [*ROOT.glob("configs/*/*.yaml"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/images/*")]
    assert {str(path.relative_to(ROOT)) for path in tracked} <= names
    assert any(name.startswith("tests/packaging/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith((".ci", "runs", ".tox"))]


def test_the_wheel_carries_its_licence_its_configurations_and_no_tests(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as archive:
        names = archive.namelist()
        (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    assert "Name: portbev\n" in metadata and f"Version: {portbev.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    shipped = {name.removeprefix("portbev/") for name in names if name.startswith("portbev/configs/")}
    assert shipped == {str(path.relative_to(ROOT)) for path in ROOT.glob("configs/*/*.yaml")}
    assert not [name for name in names if re.match(r"(tests|docs|benchmarks)/", name)]


def test_an_installed_wheel_runs_outside_the_checkout(python: Path, tmp_path: Path) -> None:
    portbev_command = str(python.with_name("portbev"))
    assert run(portbev_command, "--version", cwd=tmp_path).strip() == portbev.__version__
    where = "import portbev; print(portbev.__file__)"
    assert run(str(python), "-c", where, cwd=tmp_path).startswith(str(python.parents[1]))
    devices = run(portbev_command, "backends", "--backend", "npu", "--emulate", cwd=tmp_path)
    assert "mx_driving" in devices and "voxel_pool_lift" in devices
    names = [str(path.relative_to(ROOT / "configs").with_suffix("")) for path in ROOT.glob("configs/*/[!_]*.yaml")]
    load = f"from portbev import load_config\nfor name in {names!r}: load_config(name)"
    run(str(python), "-c", load, cwd=tmp_path)


def test_the_version_stands_in_one_place() -> None:
    assert portbev.__version__ not in (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[0]
    assert "version" not in yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f"\n## {portbev.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_citation_is_what_the_format_asks_for() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == "Apache-2.0" and "Apache License" in (ROOT / "LICENSE").read_text()[:100]
