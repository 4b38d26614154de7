"""Atomic writing: whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from portbev import files
from portbev.errors import PortbevError
from portbev.files import atomic_write, parse_json, write_json, write_text


def test_a_file_is_written_with_the_folders_it_needs(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "grüße")
    assert (tmp_path / "a" / "b.txt").read_text(encoding="utf-8") == "grüße"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.txt"]


def test_a_writer_that_raises_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "x") as part:
        part.write_text(f"half {part.write_text('half') // 0}")
    assert (tmp_path / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_part_is_not_seen_under_the_name_before_the_end(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "x") as part:
        part.write_text("new")
        assert not (tmp_path / "x").exists()
    assert (tmp_path / "x").read_text() == "new"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PortbevError, match=r"cannot write: Permission denied.*--out"):
        write_text(tmp_path / "x", "text")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortbevError, match=r"file/x: cannot write: .*another output with --out"):
        write_text(tmp_path / "file" / "x", "text")


@pytest.mark.parametrize("number", [28, 30])  # ENOSPC, EROFS
def test_a_full_or_read_only_disk_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(PortbevError, match=os.strerror(number)):
        write_text(tmp_path / "x", "text")
    assert list(tmp_path.iterdir()) == []


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"a": float("nan")})
    assert (tmp_path / "x.json").read_text() == '{\n "a": 1\n}\n'


def test_json_without_end_is_damage_like_any_other() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(b"[" * 100_000 + b"]" * 100_000)
    assert parse_json('{"a": [1]}') == {"a": [1]}
