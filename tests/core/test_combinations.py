"""Which versions go together: a row that fits, the nearest that does not with its cure, and the backends' own rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from portbev.combinations import ABSENT, Combination, environment, parsed, table
from portbev.plugins import plugins

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[import-not-found,no-redef]

ROOT = Path(__file__).parents[2]
ROWS = (
    Combination({"torch": "==2.8.*", "lib": "", "driver": ">=2,<3", "other": ABSENT}, "tested", optional=("driver",)),
    Combination({"torch": ">=2.9", "lib": ">=2.9", "driver": ABSENT}, "read", alike=("torch", "lib")),
)


@pytest.mark.parametrize(
    ("installed", "said"),
    [
        ({"torch": "2.8.0+cpu", "driver": "2.1.0.post2"}, "torch 2.8.0+cpu, driver 2.1.0.post2: tested"),
        (
            {"torch": "2.8.0", "driver": None, "lib": "7.0.51831-a3e329ad8"},
            "torch 2.8.0, lib 7.0.51831-a3e329ad8: tested",
        ),
        ({"torch": "2.10.0", "lib": "2.10.0.post3"}, "torch 2.10.0, lib 2.10.0.post3: read"),
    ],
)
def test_what_fits_a_row_is_told_how_far_it_is_tested(installed: dict[str, str | None], said: str) -> None:
    found = environment(ROWS, installed)
    assert found is not None and found.row is not None
    assert (found.said, found.as_dict()["known"], "cure" in found.as_dict()) == (said, True, False)


@pytest.mark.parametrize(
    ("installed", "cure"),
    [
        ({"torch": "2.8.0", "driver": "3.0", "other": None}, "install 'driver>=2,<3' in place of 3.0"),
        ({"torch": "2.8.0", "other": "1"}, "pip uninstall other"),
        ({"torch": "2.9.1", "lib": "2.9.0", "driver": "2.0"}, "pip uninstall driver"),
        ({"torch": "2.9.1"}, "install 'lib==2.9.*'"),
        ({"torch": "2.10.0", "lib": "2.9.0"}, "install 'lib==2.10.*' in place of 2.9.0"),
        ({"torch": "2.7.1"}, "install 'torch==2.8.*' in place of 2.7.1"),
    ],
)
def test_what_fits_none_is_told_what_makes_the_nearest_of_it(installed: dict[str, str | None], cure: str) -> None:
    found = environment(ROWS, installed)
    assert found is not None and found.row is None
    assert found.said.endswith(": not known to go together")
    assert found.as_dict()["cure"] == cure


def test_what_goes_along_with_a_component_that_is_to_be_replaced_is_not_asked_for_by_the_old_one() -> None:
    found = environment(
        (Combination({"torch": "<3", "lib": "<3"}, "", alike=("torch", "lib")),), {"torch": "3.1", "lib": "3.0"}
    )
    assert found is not None
    assert found.cure == "install 'torch<3' in place of 3.1; install 'lib<3' in place of 3.0"


def test_without_a_table_or_anything_installed_there_is_nothing_to_say() -> None:
    assert environment((), {"torch": "2.8.0"}) is None
    assert environment(ROWS, {}) is None


def test_versions_that_python_does_not_know_are_read_by_their_numbers() -> None:
    assert parsed("7.0.51831-a3e329ad8").release == (7, 0, 51831)
    assert parsed("unknown").release == (0,)


def extras() -> dict[str, dict[str, Requirement]]:
    """Extra -> package -> what pyproject.toml asks of it."""
    project: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {}
    for extra, texts in project["optional-dependencies"].items():
        found[extra] = {need.name: need for need in map(Requirement, texts)}
    found[""] = {need.name: need for need in map(Requirement, project["dependencies"])}
    return found


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="an installed package has no pyproject.toml")
def test_the_rows_are_what_the_extras_install() -> None:
    asked, checked = extras(), set()
    for backend in plugins().backends().values():
        for row in backend.combinations:
            for name, need in {**asked[""], **asked.get(row.extra, {})}.items():
                if name in row.versions and row.extra:
                    lowest = re.findall(r"[>=]=([\d.]+\d)", row.versions[name])[0]
                    assert need.specifier.contains(lowest + ".99"), f"{row.extra}: {need}, the row has {name} {lowest}"
                    checked.add((row.extra, name))
            assert not row.extra or row.extra in asked
    assert {("npu-driving", "mx-driving"), ("npu-driving", "torch-npu"), ("npu", "torch-npu")} <= checked
    assert {("cuda12", "cupy-cuda12x"), ("cuda13", "cupy-cuda13x"), ("rocm7", "cupy-rocm-7-0")} <= checked


@pytest.mark.skipif(not (ROOT / "constraints.txt").exists(), reason="an installed package has no constraints.txt")
def test_the_row_tested_every_commit_is_the_one_that_ci_installs() -> None:
    pinned = {need.name: need for need in map(Requirement, _lines(ROOT / "constraints.txt"))}
    for name in ("cpu", "npu"):
        backend = plugins().backends()[name]
        rows = (backend if name == "cpu" else backend.as_emulated()).combinations
        (row,) = [row for row in rows if row.tested.startswith("tested every commit")]
        assert row.versions["torch"].removesuffix(".*") in str(pinned["torch"].specifier)


def _lines(path: Path) -> list[str]:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-")]


def test_the_documents_table_is_that_of_the_backend() -> None:
    document = ROOT / "docs" / "compatibility.md"
    if not document.exists():
        pytest.skip("the documentation is not part of this installation")
    found = (
        document.read_text(encoding="utf-8")
        .partition("<!-- ascend: begin -->\n")[2]
        .partition("<!-- ascend: end -->")[0]
    )
    assert found == table(plugins().backends()["npu"].combinations)
