"""Generation: determinism, resuming, refusal, the cache behind ``synthetic:``."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from synth_dataset import TINY, Dataset

from portbev.data.generated.growing import MANIFEST, read_manifest
from portbev.errors import ConfigError, DataError, PortbevError
from portbev_nuscenes.synth import SCHEME, SynthOptions, generate

SMALL = SynthOptions(
    scenes=2, samples_per_scene=1, seed=3, image_size=(64, 36), sweeps=0, lidar_beams=4, lidar_steps=24
)


def contents(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_same_options_give_the_same_bytes_with_any_number_of_workers(tiny: Dataset, tmp_path: Path) -> None:
    again = generate(tmp_path / "again", TINY, workers=2)
    assert contents(again) == contents(tiny.root)


def test_another_seed_gives_other_pictures_points_and_tokens(tmp_path: Path) -> None:
    first = contents(generate(tmp_path / "first", SMALL, workers=1))
    second = contents(generate(tmp_path / "second", replace(SMALL, seed=4), workers=1))
    same = {path for path in first.keys() & second.keys() if first[path] == second[path]}
    fixed = {f"v1.0-mini/{name}.json" for name in ("attribute", "category", "sensor", "visibility", "splits", "log")}
    assert same <= fixed
    assert set(first.values()) & set(second.values()) == {first[path] for path in same}


def test_a_scene_does_not_depend_on_how_many_others_there_are(tmp_path: Path) -> None:
    few = contents(generate(tmp_path / "few", SMALL, workers=1))
    more = contents(generate(tmp_path / "more", replace(SMALL, scenes=3), workers=1))
    shared = [path for path in few if path.startswith("samples/")]
    assert len(shared) == 14
    assert all(more[path] == few[path] for path in shared)


def test_manifest_digest_changes_with_the_content(tmp_path: Path) -> None:
    first = read_manifest(generate(tmp_path / "first", SMALL, workers=1))
    second = read_manifest(generate(tmp_path / "second", replace(SMALL, jpeg_quality=50), workers=1))
    assert first is not None and second is not None
    assert first["content"] != second["content"]
    assert first["digest"] == SMALL.digest() != second["digest"]


def test_interrupted_generation_leaves_no_data_set_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    out = tmp_path / "data"

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(out, SMALL, workers=1, progress=interrupt)
    assert not out.exists()
    (part,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    before = {path: path.stat().st_mtime_ns for path in part.rglob("*.jpg")}
    assert len(before) == 6
    seen: list[int] = []
    generate(out, SMALL, workers=1, progress=lambda done, total: seen.append(done))
    assert seen == [1, 2]
    assert all((out / path.relative_to(part)).stat().st_mtime_ns == stamp for path, stamp in before.items())
    assert not part.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert contents(out) == contents(generate(tmp_path / "whole", SMALL, workers=1))


def test_interrupting_workers_ends_them(tmp_path: Path) -> None:
    import psutil

    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "data", replace(SMALL, scenes=3), workers=2, progress=interrupt)
    assert not [child for child in psutil.Process().children() if "portbev.data.pool" in child.cmdline()]
    assert not (tmp_path / "data").exists()


def test_a_complete_data_set_is_kept(tmp_path: Path) -> None:
    out = generate(tmp_path / "data", SMALL, workers=1)
    stamp = (out / MANIFEST).stat().st_mtime_ns
    assert generate(out, SMALL, workers=1, progress=lambda *_: pytest.fail("generated again")) == out
    assert (out / MANIFEST).stat().st_mtime_ns == stamp


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(DataError, match="no synthetic data set"):
        generate(tmp_path, SMALL, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_data_set_of_other_options_is_left_alone(tmp_path: Path) -> None:
    out = generate(tmp_path / "data", SMALL, workers=1)
    before = contents(out)
    with pytest.raises(DataError, match="other options"):
        generate(out, replace(SMALL, seed=9), workers=1)
    assert contents(out) == before


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert (generate(tmp_path / "data", SMALL, workers=1) / MANIFEST).exists()


def test_an_impossible_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write synthetic data"):
        generate(tmp_path / "file" / "data", SMALL, workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_cannot_be_written_is_one_clear_error_and_no_data_set(tmp_path: Path, workers: int) -> None:
    part = tmp_path / f".data.{SMALL.digest()}.part"
    part.mkdir()
    (part / "samples").write_text("in the way")
    with pytest.raises(DataError) as caught:
        generate(tmp_path / "data", SMALL, workers=workers)
    assert "\n" not in str(caught.value) and "samples" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_full_disk_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="No space left on device"):
        generate(tmp_path / "data", SMALL, workers=1)


def test_root_generates_once_into_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path))
    text = "synthetic:?scenes=2&samples_per_scene=1&seed=3&image_size=64x36&sweeps=0&lidar_beams=4&lidar_steps=24"
    assert SCHEME.parse(text) == SMALL
    root = SCHEME.resolve(text, workers=1, progress=False)
    assert root.is_relative_to(tmp_path)
    assert SCHEME.resolve(text, progress=lambda *_: pytest.fail("generated again")) == root
    assert contents(root) == contents(generate(tmp_path / "direct", SMALL, workers=1))


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="PORTBEV_CACHE"):
        SCHEME.resolve("synthetic:?scenes=1", progress=False)


def test_two_processes_may_ask_for_the_same_root_at_once(tmp_path: Path) -> None:
    text = "synthetic:?scenes=2&samples_per_scene=1&seed=3&image_size=64x36&sweeps=0&lidar_beams=4&lidar_steps=24"
    script = (
        "from portbev_nuscenes.synth import SCHEME\n"
        f"print(SCHEME.resolve({text!r}, workers=1, progress=lambda d, t: print(d)))"
    )
    environment = {"PORTBEV_CACHE": str(tmp_path), "PYTHONPATH": ":".join(path for path in sys.path if path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=120)[0].split() for process in processes]
    assert answers[0][-1] == answers[1][-1]
    assert sorted(len(answer) for answer in answers) == [1, 4], "one generates, the other waits"
    assert json.loads((Path(answers[0][-1]) / MANIFEST).read_text())["digest"] == SMALL.digest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synthetic:?scnes=4", "Did you mean 'scenes'"),
        ("synthetic:?scenes=four", "scenes must be a whole number"),
        ("synthetic:?scenes=0", "scenes must be a whole number from 1"),
        ("synthetic:?scenes=2&val_scenes=3", "val_scenes must be"),
        ("synthetic:?image_size=480", "WIDTHxHEIGHT"),
        ("synthetic:?image_size=8x8", "WIDTHxHEIGHT"),
        ("synthetic:?density=nan", "density must be a number"),
        ("synthetic:?reach=5", "reach must be"),
        ("synthetic:?version=../../etc", "version must be"),
        ("synthetic:scenes=4", "no synthetic data root"),
    ],
)
def test_a_bad_root_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        SCHEME.parse(text)
    assert isinstance(caught.value, PortbevError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("scenes", "val", "expected"), [(1, None, 0), (2, None, 1), (10, None, 2), (11, None, 3), (4, 0, 0), (4, 4, 4)]
)
def test_a_fifth_of_the_scenes_is_for_validation(scenes: int, val: int | None, expected: int) -> None:
    assert SynthOptions(scenes=scenes, val_scenes=val).validation_count == expected
