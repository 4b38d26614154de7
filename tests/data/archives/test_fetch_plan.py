"""``portbev data fetch-plan``: what a split needs, what a root has of it, and what nobody can know."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from archive_cases import pack

from portbev.cli import main
from portbev.data.root import open_root

ROOT = "synthetic:?scenes=2&samples_per_scene=2&sweeps=0&image_size=200x112&seed=0"
TRAINVAL = ["v1.0-trainval_meta.tgz", *(f"v1.0-trainval{number:02d}_blobs.tgz" for number in range(1, 11))]


@pytest.fixture(autouse=True)
def _own_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))


def plan(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    capsys.readouterr()
    status = main(["data", "fetch-plan", *map(str, words)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_a_configuration_says_what_its_splits_need(capsys: pytest.CaptureFixture[str]) -> None:
    status, said = plan(capsys, "bevformer/base")
    assert status == 0
    assert all(name in said for name in (*TRAINVAL, "can_bus.zip"))
    assert "to fetch: 11 files, 293.21 GB" in said
    assert "which scenes lie in which of them is published nowhere" in said and "sizes: nuscenes.org" in said


def test_a_version_is_enough_and_sizes_that_nobody_published_are_not_made_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, said = plan(capsys, "--version", "v1.0-test", "--splits", "test", "--json")
    made = json.loads(said)
    assert status == 0 and made["data_set"] == "nuscenes"
    assert {piece["name"]: piece["gigabytes"] for piece in made["pieces"]} == {
        "v1.0-test_meta.tgz": None, "v1.0-test_blobs.tgz": None, "can_bus.zip": None,
    }  # fmt: skip
    assert "2 of a size that is not known" in plan(capsys, "--version", "v1.0-test", "--splits", "test")[1]


def test_a_root_is_looked_through_for_archives_and_unpacked_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("indexed_gzip")
    unpacked = Path(str(open_root(ROOT)))
    files = {str(path.relative_to(unpacked)): path.read_bytes() for path in unpacked.rglob("*") if path.is_file()}
    tables = {name: data for name, data in files.items() if not name.startswith("samples/")}
    tables = {name.replace("v1.0-mini", "v1.0-trainval"): data for name, data in tables.items()}
    pictures = {name: data for name, data in files.items() if name.startswith("samples/")}
    folder = tmp_path / "data"
    folder.mkdir()
    splits = json.loads(tables["v1.0-trainval/splits.json"])
    ask = ("nuscenes", "--version", "v1.0-trainval", "--splits", ",".join(splits), "--root", folder)

    status, said = plan(capsys, *ask)
    assert status == 2 and said.count("missing") >= 11
    pack(folder / "v1.0-trainval_meta.tgz", tables)
    first = dict(list(pictures.items())[:10])
    pack(folder / "v1.0-trainval03_keyframes.tgz", first)
    status, said = plan(capsys, *ask)
    assert status == 2
    assert f"10 of {len(pictures)} sensor files of key frames are there" in said
    assert "10 of them in v1.0-trainval03_keyframes.tgz" in said
    assert main(["data", "check", "nuscenes", str(folder), "--files", "key"]) == 2
    checked = capsys.readouterr().out
    assert (
        "archives of v1.0-trainval that are not here: v1.0-trainval01_blobs.tgz, v1.0-trainval02_blobs.tgz," in checked
    )
    assert "v1.0-trainval03_blobs.tgz" not in checked
    rows = {line.split()[0]: line for line in said.splitlines() if line.startswith("v1.0-")}
    assert "there" in rows["v1.0-trainval03_blobs.tgz"] and "missing" in rows["v1.0-trainval04_blobs.tgz"]
    assert "there" in rows["v1.0-trainval_meta.tgz"]
    rest = {name: data for name, data in pictures.items() if name not in first}
    for name, data in rest.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    status, said = plan(capsys, *ask)
    assert status == 0 and "nothing is missing" in said and "not needed" in said


def test_recordings_are_named_by_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "RECORD@2020-11-22_12.45.05").mkdir()
    (tmp_path / "labels.csv").write_text("numSample\n")
    status, said = plan(capsys, "radial", "--version", "raw", "--splits", "test", "--root", tmp_path)
    rows = {line.split()[0]: line for line in said.splitlines() if line.startswith("RECORD@")}
    assert status == 2 and len(rows) == 4
    assert "there" in rows["RECORD@2020-11-22_12.45.05"] and "missing" in rows["RECORD@2020-11-22_12.25.47"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give a configuration, or --version"),
        (["--version", "v1.0-tranval", "--splits", "train"], "Did you mean 'v1.0-trainval'?"),
        (["--version", "v1.0-mini", "--splits", "val"], "belongs to v1.0-trainval, not to v1.0-mini"),
        (["nuscenes", "--version", "v1.0-mini"], "--splits is needed"),
        (["--set", "data.workers=1", "--version", "v1.0-mini"], "changes a configuration, and none is given"),
        (["nuimages", "--version", "v1.0-mini", "--splits", "x"], "no release of 'nuimages' is known"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_in_a_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    status, told = plan(capsys, *words)
    assert status == 2 and said in told and "Traceback" not in told
