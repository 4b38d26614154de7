"""Cases recorded from the original implementations: every folder, and every archive of one, that is there.

They lie in ``$PORTBEV_REFERENCE_DIR/<subject>/``. A test asks for ``nuscenes_eval_case`` or another ``<subject>_case``
and runs once for each case of the subject; without the variable it is skipped.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

SUBJECTS = ("nuscenes_eval", "bevdepth", "bevformer", "echofusion")
ARCHIVES = (".tar.gz", ".tgz", ".tar", ".tar.xz")


def reference_cases(subject: str) -> list[Path]:
    """Case folders and case archives of a subject, sorted by name. An archive beside its own folder is left out."""
    root = os.environ.get("PORTBEV_REFERENCE_DIR")
    folder = Path(root) / subject if root else None
    if folder is None or not folder.is_dir():
        return []
    found = sorted(folder.iterdir())
    folders = [path for path in found if path.is_dir() and path.name != "__pycache__" and any(path.iterdir())]
    names = {path.name for path in folders}
    return folders + [path for path in found if path.name.endswith(ARCHIVES) and _stem(path) not in names]


def _stem(archive: Path) -> str:
    return archive.name[: -len(next(end for end in ARCHIVES if archive.name.endswith(end)))]


def parametrize_cases(metafunc: pytest.Metafunc, fixture: str, subject: str) -> None:
    """Run a test that asks for ``fixture`` once for each case of ``subject``, or skip it and say why."""
    if fixture not in metafunc.fixturenames:
        return
    cases = reference_cases(subject)
    where = f"$PORTBEV_REFERENCE_DIR/{subject}"
    parameters = [pytest.param(path, id=path.name) for path in cases] or [
        pytest.param(None, id="none", marks=pytest.mark.skip(reason=f"no recorded cases in {where}"))
    ]
    metafunc.parametrize(fixture, parameters, indirect=True, scope="session")


def open_case(path: Path, scratch: Path) -> Path:
    """The folder of a case; an archive is unpacked into ``scratch``. An archive's single inner folder is the case."""
    if path.is_dir():
        return path
    target = scratch / _stem(path)
    with tarfile.open(path) as archive:
        archive.extractall(target, filter="data") if hasattr(tarfile, "data_filter") else archive.extractall(target)
    inner = list(target.iterdir())
    return inner[0] if len(inner) == 1 and inner[0].is_dir() else target


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for subject in SUBJECTS:
        parametrize_cases(metafunc, f"{subject}_case", subject)


def _case_fixture(subject: str):
    @pytest.fixture(scope="session", name=f"{subject}_case")
    def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
        scratch = tmp_path_factory.mktemp(subject)
        yield open_case(request.param, scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    return case


nuscenes_eval_case = _case_fixture("nuscenes_eval")
bevdepth_case = _case_fixture("bevdepth")
bevformer_case = _case_fixture("bevformer")
echofusion_case = _case_fixture("echofusion")
