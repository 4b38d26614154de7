"""`portbev data`: the real command on whole, damaged and absent data roots."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.errors import DataError
from portbev_nuscenes.check import check_root
from portbev_nuscenes.tables.links import FOLLOWED, LINKS
from portbev_nuscenes.tables.rows import TABLES

VERSION = "v1.0-mini"
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


def portbev(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "portbev", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def problems(root: Path, **how: Any) -> list[str]:
    return [str(problem) for problem in check_root(root, VERSION, **how)]


def test_every_table_has_its_links() -> None:
    assert set(LINKS) == set(TABLES)
    assert all(field in LINKS[table] for table, field in FOLLOWED)


def test_a_whole_root_has_no_problems(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert problems(root, files="all", progress=lambda done, total: seen.append((done, total))) == []
    assert seen[-1] == (len(seen), len(seen)) and len(seen) > 9 * 7


def test_all_problems_are_found_at_once(copy: Path, edit: Edit) -> None:
    def frames(channel: str) -> list[Path]:
        return sorted((copy / "samples" / channel).iterdir())

    image, gone, lidar = frames("CAM_FRONT")[0], frames("CAM_BACK")[0], frames("LIDAR_TOP")[0]
    image.write_bytes(image.read_bytes()[:900])
    gone.unlink()
    lidar.write_bytes(lidar.read_bytes()[:-3])
    next((copy / "maps").iterdir()).unlink()
    edit(copy, "sample", lambda rows: rows[0].update(next=rows[0]["token"]))
    edit(copy, "instance", lambda rows: rows[0].update(category_token="gone"))
    edit(copy, "visibility", lambda rows: rows.append(rows[0]))
    edit(copy, "log", lambda rows: [row.pop("token") for row in rows])
    splits = copy / VERSION / "splits.json"
    splits.write_text(json.dumps({"mine": ["scene-9999"]}))
    found = problems(copy)
    for path, text in (
        (image, "image is damaged or truncated"),
        (gone, "file is missing: 1 of 9 of CAM_BACK"),
        (lidar, "lidar file is truncated"),
        ("maps", "map file"),
        ("sample.json", "whose prev is another row"),
        ("instance.json", "points at no row of category: 'gone'"),
        ("visibility.json", "comes more than once"),
        ("log.json", "missing required field `token`"),
        (splits, "unknown scenes, the first is 'scene-9999'"),
    ):
        assert any(str(path) in line and text in line for line in found), (path, text, found)


def test_sweeps_are_opened_only_when_asked(copy: Path) -> None:
    next((copy / "sweeps" / "CAM_FRONT").iterdir()).write_bytes(b"")
    assert problems(copy) == []
    assert len(problems(copy, files="all")) == 1
    assert problems(copy, files="none") == []


def test_missing_tables_are_all_named(copy: Path) -> None:
    for name in ("map", "log", "ego_pose"):
        (copy / VERSION / f"{name}.json").unlink()
    found = problems(copy, files="none")
    assert [Path(line.partition(": ")[0]).stem for line in found] == ["ego_pose", "log", "map"]


def test_a_version_that_is_not_there_is_an_error(root: Path) -> None:
    with pytest.raises(DataError, match="no version 'v9'"):
        list(check_root(root, "v9"))


def test_the_command_passes_a_whole_root(root: Path) -> None:
    done = portbev("data", "check", "nuscenes", root)
    assert done.returncode == 0, done.stderr
    assert "complete and consistent" in done.stdout


def test_the_command_prints_a_line_per_problem(copy: Path) -> None:
    for path in sorted((copy / "samples" / "CAM_FRONT").iterdir())[:2]:
        path.unlink()
    done = portbev("data", "check", "nuscenes", copy, "--version", VERSION)
    lines = done.stdout.splitlines()
    assert done.returncode == 2
    assert len(lines) == 2 and "2 of 6 of synth_train CAM_FRONT" in lines[0] and lines[1].endswith("1 problem")


def test_the_command_tells_a_missing_root_in_a_line(tmp_path: Path) -> None:
    done = portbev("data", "check", "nuscenes", tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no such data root" in done.stderr


def test_the_command_generates_what_it_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "made"
    size = ("--image-size", "64x36", "--lidar-beams", "2", "--lidar-steps", "16", "--sweeps", "0", "--workers", "1")
    done = portbev("data", "synth", "nuscenes", out, "--scenes", "2", "--samples", "1", "--seed", "3", *size)
    assert done.returncode == 0, done.stderr
    assert problems(out, files="all") == []
    refused = portbev("data", "synth", "nuscenes", out, "--scenes", "0", *size)
    assert refused.returncode == 2 and "scenes" in refused.stderr and refused.stderr.count("\n") == 1
