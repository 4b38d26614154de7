"""Archives as trees of files: what is in them, in whatever form, and what is wrong with them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sqlite3
import sys
import tarfile
from pathlib import Path

import pytest
from archive_cases import add, contents, like, opened, pack, tree

from portbev.data.archives import gzips
from portbev.data.archives.found import open_archives
from portbev.data.archives.store import index_path, make_index
from portbev.errors import DataError, PortbevError
from portbev.paths import DataPath, file_sizes, names_in, read_array

pytest.importorskip("indexed_gzip")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gzips, "SPACING", 100_000)


@pytest.mark.parametrize("name", ["a.tgz", "a.tar.gz", "a.tar", "a.zip"])
@pytest.mark.parametrize("prefix", ["", "./", "nuscenes/", "./data/sets/nuscenes/"])
def test_an_archive_holds_what_was_packed_whatever_is_around_it(tmp_path: Path, name: str, prefix: str) -> None:
    files = tree()
    root = opened(pack(tmp_path / name, files, prefix=prefix))
    assert contents(root) == files
    assert names_in(root) == {"samples", "v1.0-mini"}
    assert file_sizes(root / "v1.0-mini") == {"sample.json": 5002}
    assert not (root / "samples" / "none.jpg").exists() and not (root / "nowhere").is_dir()
    assert (root / "samples").is_dir() and not (root / "samples").is_file()


@pytest.mark.parametrize("name", ["a.tgz", "a.tar", "a.zip"])
def test_a_file_is_read_in_parts_as_an_open_file_is(tmp_path: Path, name: str) -> None:
    files = tree()
    table = opened(pack(tmp_path / name, files)) / "v1.0-mini" / "sample.json"
    data = files["v1.0-mini/sample.json"]
    with table.open("rb") as file:
        assert file.read(3) == data[:3]
        file.seek(-4, os.SEEK_END)
        assert file.read() == data[-4:] and file.read(1) == b""
        file.seek(4990)
        assert file.read(7) == data[4990:4997]
    assert table.read_text() == data.decode()
    values = read_array(table.parent / "sample.json", "u1")
    values[0] = 0  # memory of its own
    assert (table.name, table.stem, table.suffix, table.stat().st_size) == ("sample.json", "sample", ".json", 5002)
    with pytest.raises(ValueError, match="whole number"):
        read_array(table, "<f4")
    with pytest.raises(FileNotFoundError):
        (table.parent / "other.json").read_bytes()


def test_litter_is_left_out_and_links_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as tar:
        for name in (
            "./._samples",
            "samples/._x.jpg",
            "__MACOSX/samples/x.jpg",
            "samples/.DS_Store",
            "../out",
            "/x/../y",
        ):
            add(tar, name, b"litter")
        for name, kind, target in (
            ("samples/hard.jpg", tarfile.LNKTYPE, "./samples/x.jpg"),
            ("samples/soft.jpg", tarfile.SYMTYPE, "../samples/hard.jpg"),
            ("samples/lost.jpg", tarfile.SYMTYPE, "/nowhere"),
        ):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            tar.addfile(link)
        add(tar, "samples/x.jpg", b"first")
        add(tar, "samples/x.jpg", b"second")  # appended later: what counts
        add(tar, f"samples/{'long' * 60}.jpg", b"long")
    root = opened(path)
    assert contents(root) == {
        **dict.fromkeys(("samples/x.jpg", "samples/hard.jpg", "samples/soft.jpg"), b"second"),
        f"samples/{'long' * 60}.jpg": b"long",
    }
    notes = root.store.notes  # type: ignore[attr-defined]
    assert any("6 entries are no data" in note for note in notes) and any(
        "1 links lead to nothing" in note for note in notes
    )


def read_in_another_process(root: DataPath, names: list[str]) -> list[bytes]:
    return [(root / name).read_bytes() for name in names]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_were_forked_or_spawned_read_what_this_process_does(tmp_path: Path, method: str) -> None:
    files = tree()
    root = opened(pack(tmp_path / "a.tgz", files))
    names = list(files)
    read_in_another_process(root, names[:3])  # it has the archive open
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.starmap(read_in_another_process, [(root, names[:20]), (root, names[20:])])
    assert [*parts[0], *parts[1]] == list(files.values())
    assert pickle.loads(pickle.dumps(root)) == root


@pytest.mark.parametrize("name", ["a.tgz", "a.tar"])
def test_an_interrupted_index_goes_on_where_it_was_saved(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gzips, "STRETCH", 150_000)
    monkeypatch.setattr(gzips, "BLOCK", 10_000)
    monkeypatch.setattr("portbev.data.archives.tars._SAVED", 150_000)
    files = tree(files=60)
    path = pack(tmp_path / name, files)
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_index(path, stop)
    assert not index_path(path)[0].exists()
    again: list[int] = []
    make_index(path, lambda done, total: again.append(done))
    assert again[0] > 250_000 and again[0] <= calls[-1]
    assert contents(opened(path)) == files


@pytest.mark.parametrize("name", ["a.tgz", "a.tar", "a.zip"])
@pytest.mark.parametrize("share", [0.4, 0.98])
def test_a_truncated_archive_is_refused_in_a_line(tmp_path: Path, name: str, share: float) -> None:
    path = pack(tmp_path / name, tree())
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(DataError, match="truncated or damaged") as error:
        opened(path)
    assert error.value.where == str(path) and error.value.cure == "Fetch it again"


def test_a_tar_cut_between_two_files_is_noted(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {"samples/a": bytes(512), "samples/b": bytes(512)})
    os.truncate(path, 4 * 512)
    assert "a.tar has no mark at its end" in opened(path).store.notes[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("data", "said"), [(b"", "it is empty"), (b"no tar" * 200, "is no tar archive")])
def test_a_file_that_only_has_the_name_of_an_archive_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["a.tgz", "a.tar", "a.zip"])
def test_an_archive_that_changes_under_its_index_is_never_read_wrongly(tmp_path: Path, name: str) -> None:
    files = tree()
    path = pack(tmp_path / name, files)
    state, root = path.stat(), opened(path)
    victim = "samples/CAM_0/0_0.jpg"
    assert (root / victim).read_bytes() == files[victim]
    data = bytearray(path.read_bytes())
    middle = data.find(files[victim][:40]) if name != "a.tgz" else len(data) // 30
    data[middle + 5] ^= 0x55
    path.write_bytes(data)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(DataError, match=r"damaged or has changed") as error:
        contents(root)
    assert error.value.where.startswith(f"{path}/samples/")
    os.utime(path)  # its time tells: the next start indexes it anew
    if name != "a.tgz":
        assert contents(opened(path))[victim] != files[victim] if name == "a.tar" else True
    with pytest.raises(DataError, match="not the one that was indexed"):
        (pickle.loads(pickle.dumps(root)) / victim).read_bytes()


def test_two_archives_agree_on_the_files_that_both_have_or_are_refused(tmp_path: Path) -> None:
    files = tree()
    one = pack(tmp_path / "one.tgz", {**files, "LICENSE": b"one"})
    same = pack(tmp_path / "same.zip", {**dict(list(files.items())[:9]), "LICENSE": b"other"}, prefix="top/")
    opened(one, same)
    opened(one, same)
    other = pack(tmp_path / "other.tar", {"samples/CAM_0/0_0.jpg": b"another"})
    with pytest.raises(DataError) as error:
        opened(one, same, other)
    assert "samples/CAM_0/0_0.jpg" in error.value.what and "one.tgz" in error.value.what
    assert error.value.where == str(other)


def test_a_cache_that_cannot_be_written_is_said_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar", tree())
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write the index of a\.tar") as error:
        opened(path)
    assert "PORTBEV_CACHE" in error.value.cure


def test_a_full_disk_is_said_with_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar", {f"samples/{number:030}.jpg": b"" for number in range(300)})
    connect = sqlite3.connect

    def small(*words: object, **names: object) -> sqlite3.Connection:
        connection = connect(*words, **names)  # type: ignore[call-overload]
        connection.execute("PRAGMA max_page_count = 6")
        return connection  # type: ignore[no-any-return]

    monkeypatch.setattr("portbev.data.archives.index.sqlite3.connect", small)
    with pytest.raises(DataError, match="disk is full") as error:
        opened(path)
    assert error.value.cure.startswith("Make room")
    assert not index_path(path)[0].exists()


def test_without_the_package_compressed_archives_say_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "indexed_gzip", None)
    with pytest.raises(PortbevError, match=r"pip install 'portbev\[archives\]'"):
        opened(pack(tmp_path / "a.tgz", tree()))
    assert contents(opened(pack(tmp_path / "a.tar", tree()))) == tree()


def test_a_damaged_index_that_was_left_behind_is_made_again(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", tree())
    part = index_path(path)[0].with_suffix(".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"no database" * 500)
    with pytest.raises(DataError, match="cannot write the index"):
        opened(path)
    assert contents(opened(path)) == tree()


def test_archives_that_are_not_needed_may_be_unreadable(tmp_path: Path) -> None:
    good, bad = pack(tmp_path / "good.tar", tree()), tmp_path / "bad.tar"
    bad.write_bytes(b"no tar" * 200)
    notes: list[str] = []
    assert len(open_archives([bad, good], like, whole=False, notes=notes)) == 1
    assert notes and "bad.tar is not read: is no tar archive" in notes[0]
