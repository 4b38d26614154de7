"""Roots behind URLs: in memory, and from a web server of this machine that lists folders or has a manifest."""

from __future__ import annotations

import http.server
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from archive_cases import contents, tree

from portbev.cli import main
from portbev.data.root import lasting_root, open_root
from portbev.data.stores import remote
from portbev.errors import DataError, PortbevError
from portbev.paths import DataPath

fsspec = pytest.importorskip("fsspec")
FILES = {name: data for name, data in tree(7).items() if data}


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    for name, data in FILES.items():
        system.pipe_file(f"/bucket/nuscenes/{name}", data)
    yield system
    system.rm("/bucket", recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that lists folders and does not log."""

    def log_message(self, *words: object) -> None:
        pass


class Listless(Quiet):
    """A server that lists no folders, as many do."""

    def list_directory(self, path: object) -> None:
        self.send_error(403)


def serve(folder: Path, handler: type[Quiet]) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def listing(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    yield from serve(folder, Quiet)


@pytest.fixture
def listless(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    yield from serve(folder, Listless)


@pytest.mark.usefixtures("memory")
def test_a_bucket_is_read_as_a_folder_is() -> None:
    root = open_root("memory://bucket/nuscenes/")
    assert contents(root) == FILES
    assert str(root) == "memory://bucket/nuscenes" == lasting_root(str(root))
    table = root / "v1.0-mini" / "sample.json"
    assert table.stat().st_size == 5002 and not (root / "none").exists() and (root / "samples").is_dir()
    with table.open("rb") as file:
        file.seek(-3, 2)
        assert file.read() == b"  ]"
    assert contents(pickle.loads(pickle.dumps(root))) == FILES


def test_a_web_server_that_lists_folders_is_enough(listing: str) -> None:
    root = open_root(listing)
    assert contents(root) == FILES
    assert (root / "v1.0-mini" / "sample.json").stat().st_size == 5002
    assert not (root / "samples" / "none.jpg").exists()


def read_in_a_worker(root: DataPath, names: list[str]) -> list[bytes]:
    return [(root / name).read_bytes() for name in names]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_from_a_server_that_this_process_has_read_from(listing: str, method: str) -> None:
    root, names = open_root(listing), list(FILES)
    assert read_in_a_worker(root, names[:2]) == [FILES[name] for name in names[:2]]
    with multiprocessing.get_context(method).Pool(2) as pool:
        parts = pool.starmap_async(read_in_a_worker, [(root, names[:20]), (root, names[20:])]).get(timeout=60)
    assert [*parts[0], *parts[1]] == list(FILES.values())


def test_without_listings_a_manifest_says_what_there_is(listless: str, folder: Path) -> None:
    with pytest.raises(DataError) as error:
        open_root(listless)
    assert remote.MANIFEST in error.value.cure or "cannot be read" in error.value.what
    lines = [f"{len(data)} ./{name}" for name, data in FILES.items()]
    (folder / remote.MANIFEST).write_text("\n".join(lines) + "\n")
    assert contents(open_root(listless)) == FILES
    (folder / remote.MANIFEST).write_text("samples/x.jpg\n")
    with pytest.raises(DataError, match="line 1 is not SIZE PATH"):
        open_root(listless)


def test_a_file_that_changes_on_the_server_is_not_read_as_another(listless: str, folder: Path) -> None:
    (folder / remote.MANIFEST).write_text("".join(f"{len(data)} {name}\n" for name, data in FILES.items()))
    root = open_root(listless)
    (folder / "v1.0-mini" / "sample.json").write_bytes(b"[]")
    with pytest.raises(DataError, match="2 bytes came of 5002"):
        (root / "v1.0-mini" / "sample.json").read_bytes()


def test_archives_behind_a_url_are_to_be_copied(memory: Any) -> None:
    memory.pipe_file("/bucket/public/v1.0-mini.tgz", b"")
    with pytest.raises(DataError, match=r"holds archives \(v1.0-mini.tgz\), which are read from a disk alone"):
        open_root("memory://bucket/public")


@pytest.mark.usefixtures("memory")
def test_a_bucket_and_a_folder_are_one_root(tmp_path: Path) -> None:
    (tmp_path / "can_bus").mkdir()
    (tmp_path / "can_bus" / "x.json").write_bytes(b"[]")
    assert contents(open_root(f"[{tmp_path}, memory://bucket/nuscenes]")) == {**FILES, "can_bus/x.json": b"[]"}


def test_a_cache_of_reads_is_a_prefix(listing: str, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    root = open_root(f"simplecache::{listing}")
    assert (root / "v1.0-mini" / "sample.json").read_bytes() == FILES["v1.0-mini/sample.json"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memory://nowhere/at/all", "no such folder, or nothing in it"),
        ("http://127.0.0.1:9", "cannot be read"),
        ("nosuch://x/y", "cannot be opened"),
    ],
)
def test_a_url_that_cannot_be_read_is_told_in_a_line(url: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp")
    assert main(["data", "check", "nuscenes", url, "--version", "v1.0-mini"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error") or url in told
    assert said in told and "Traceback" not in told


def test_without_the_package_a_url_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(PortbevError, match=r"pip install 'portbev\[remote\]'"):
        open_root("s3://bucket/nuscenes")
