"""What a data root may be: how it is written, what of a folder is read, and what is said about it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from archive_cases import contents, pack, tree

from portbev.config import load_config
from portbev.data.root import lasting_root, open_root, root_notes, same_root
from portbev.errors import DataError, PortbevError
from portbev.paths import as_text, is_url, roots_in

pytest.importorskip("indexed_gzip")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_a_folder_with_archives_is_read_as_if_they_were_unpacked(folder: Path) -> None:
    first, second = tree(1), tree(2)
    pack(folder / "v1.0-trainval01_blobs.tgz", first)
    pack(folder / "v1.0-trainval02_blobs.tar", second)
    unpack(folder, {"can_bus/scene-0001_pose.json": b"[]"})
    os.chmod(folder, 0o555)
    try:
        root = open_root(folder)
        assert contents(root) == {**first, **second, "can_bus/scene-0001_pose.json": b"[]"}
        assert str(root) == str(folder) and same_root(root, str(folder))
        assert str(root / "samples/CAM_0/1_0.jpg") == f"{folder}/v1.0-trainval01_blobs.tgz/samples/CAM_0/1_0.jpg"
        assert str(root / "samples/none.jpg") == f"{folder}/samples/none.jpg"
    finally:
        os.chmod(folder, 0o755)


def test_what_is_unpacked_beside_an_archive_is_read_from_there(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = tree(1)
    pack(folder / "a.tgz", files, prefix="./nuscenes/")
    unpack(folder, files)
    with caplog.at_level(logging.WARNING):
        assert open_root(folder) == folder
    assert "a.tgz is passed over: its first files lie unpacked beside it" in caplog.text


def test_a_folder_without_archives_stays_a_folder(folder: Path) -> None:
    unpack(folder, tree(1))
    assert open_root(folder) == folder and open_root(str(folder)) == folder and root_notes(folder) == []


def test_an_archive_of_another_kind_is_told_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    unpack(folder, {**tree(1), "lidarseg.tar.bz2": b"BZh", "old.tar": b"nothing" * 300})
    with caplog.at_level(logging.WARNING):
        assert open_root(folder) == folder
    assert "lidarseg.tar.bz2 is not read" in caplog.text and "old.tar is not read: is no tar archive" in caplog.text


def test_several_roots_are_one_and_a_run_keeps_them_as_one_text(tmp_path: Path, folder: Path) -> None:
    one, other = tree(1), tree(2)
    tables = unpack(tmp_path / "tables", {"v1.0-mini/scene.json": b"[]"})
    text = as_text([str(pack(folder / "a.tgz", one)), str(pack(tmp_path / "b.zip", other)), str(tables)])
    root = open_root(text)
    assert contents(root) == {**other, **one, "v1.0-mini/scene.json": b"[]"}
    assert str(root) == text == lasting_root(text) and contents(open_root(str(root))) == contents(root)
    listed = load_config("bevdepth/tiny_test", [f"data.root={text}"]).data.root
    assert listed == text and roots_in(listed) == [str(folder / "a.tgz"), str(tmp_path / "b.zip"), str(tables)]
    assert same_root(root, text) and not same_root(root, str(tables))


@pytest.mark.parametrize(
    ("text", "roots"),
    [
        ("/data/a,b", ["/data/a,b"]),
        ("[/data/a.tgz, s3://b/c]", ["/data/a.tgz", "s3://b/c"]),
        ('["/data/a b", /c]', ["/data/a b", "/c"]),
        ("[1, 2]", ["[1, 2]"]),
        ("[a", ["[a"]),
        ("[]", ["[]"]),
    ],
)
def test_a_list_is_a_list_and_everything_else_one_root(text: str, roots: list[str]) -> None:
    assert roots_in(text) == roots
    assert roots_in(as_text(roots)) == roots


def test_urls_are_told_from_paths() -> None:
    assert all(map(is_url, ["s3://b", "memory://x", "simplecache::s3://b/c", "https://h/p", "gs://b"]))
    assert not any(map(is_url, ["/data", "data", "C:/data", "synthetic:?seed=1", "a::b", "./s3:/b"]))


def test_a_root_that_is_not_there_is_refused_by_its_name(folder: Path) -> None:
    with pytest.raises(DataError, match="no such data root") as error:
        open_root(f"[{folder}, {folder}/gone.tgz]")
    assert error.value.where == f"{folder}/gone.tgz"
    (folder / "x.txt").write_text("")
    with pytest.raises(DataError, match="is not a folder or an archive"):
        open_root(folder / "x.txt")
    with pytest.raises(PortbevError, match="no data root"):
        open_root("")
