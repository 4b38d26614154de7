"""A whole data set: scenes by several processes, tables, splits. May import: everything of this package but root."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from portbev.data.synth.catalogue import ATTRIBUTES, CATEGORIES, VISIBILITY
from portbev.data.synth.options import GENERATOR_VERSION, TRAIN_SPLIT, VAL_SPLIT, SynthOptions
from portbev.data.synth.rig import CAMERA_CHANNELS, LIDAR_CHANNEL
from portbev.data.synth.scene import scene_name
from portbev.data.synth.tokens import fixed_token
from portbev.errors import DataError
from portbev.files import write_json

MANIFEST = "portbev_synth.json"
TABLES = (
    "attribute", "calibrated_sensor", "category", "ego_pose", "instance", "log", "map",
    "sample", "sample_annotation", "sample_data", "scene", "sensor", "visibility",
)  # fmt: skip
_DONE = ".scenes"
Progress = Callable[[int, int], None]


def generate(out: Path | str, options: SynthOptions, *, workers: int = 0, progress: bool | Progress = False) -> Path:
    """Write a synthetic nuScenes data set; the same options give the same bytes, whatever the number of workers.

    The data set grows in a folder beside ``out`` and takes its name when it is complete. A call that was interrupted
    goes on with the scene where it stopped; a data set that is there already is kept.

    Args:
        out: folder to make.
        options: what to make.
        workers: processes; 0 for one per CPU that this process may use.
        progress: True for a progress bar on stderr, or a function of (scenes done, scenes in all).

    Returns:
        ``out``, which then holds ``samples``, ``sweeps``, ``maps``, the tables and a manifest.

    Raises:
        DataError: ``out`` holds something else, or cannot be written.
    """
    out = Path(out).absolute()
    if _is_complete(out, options):
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = out.parent / f".{out.name}.lock"
        with FileLock(lock):
            if not _is_complete(out, options):
                _build(out, options, workers, progress)
        lock.unlink(missing_ok=True)  # whoever waits for it now finds the data set complete
    except OSError as error:
        raise DataError(
            f"cannot write synthetic data: {error.strerror or error}",
            where=str(error.filename or out),
            cure="Check permissions and free space, or choose another folder",
        ) from error
    return out


def read_manifest(root: Path) -> dict[str, Any] | None:
    """The manifest of a synthetic data set, None where there is none."""
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _is_complete(out: Path, options: SynthOptions) -> bool:
    """Whether ``out`` is this data set already; raises when it is something else."""
    manifest = read_manifest(out)
    if manifest is not None:
        if manifest.get("digest") == options.digest():
            return True
        raise DataError(
            "holds synthetic data made with other options",
            where=str(out),
            cure="Choose another folder or remove this one",
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("exists and is no synthetic data set", where=str(out), cure="Choose a new or an empty folder")
    return False


def _build(out: Path, options: SynthOptions, workers: int, progress: bool | Progress) -> None:
    part = out.parent / f".{out.name}.{options.digest()}.part"
    for old in out.parent.glob(f".{out.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    (part / _DONE).mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(options.scenes) if not scene_file(part, number).exists()]
    with _reporter(progress, options.scenes) as report:
        done = options.scenes - len(missing)
        report(done, options.scenes)
        for finished, _ in enumerate(_run(part, options, missing, workers), done + 1):
            report(finished, options.scenes)
    _write_tables(part, options)
    shutil.rmtree(part / _DONE)
    if out.exists():
        out.rmdir()
    os.replace(part, out)


def scene_file(part: Path, number: int) -> Path:
    """Where a scene that is done leaves its rows."""
    return part / _DONE / f"{scene_name(number)}.json"


def write_scene(part: Path, options: SynthOptions, number: int) -> None:
    """Render a scene and leave its rows; called by the workers."""
    import cv2

    from portbev.data.synth.scene import SceneWriter

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        tables = SceneWriter(options, number, part).write()
    finally:
        cv2.setNumThreads(threads)
    write_json(scene_file(part, number), {"rows": tables.rows, "files": tables.files}, indent=None)


def _run(part: Path, options: SynthOptions, scenes: list[int], workers: int) -> Iterator[int]:
    """Write the scenes; yields each as it is done."""
    count = min(workers or _cpus(), len(scenes))
    if count <= 1:
        for number in scenes:
            write_scene(part, options, number)
            yield number
        return
    # Not multiprocessing: these processes need no guard in the caller's script and inherit no threads.
    todo: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[int | BaseException] = queue.SimpleQueue()
    for number in scenes:
        todo.put(number)
    for _ in range(count):
        todo.put(None)
    processes = [_start_worker(part, options) for _ in range(count)]
    threads = [threading.Thread(target=_feed, args=(process, todo, done), daemon=True) for process in processes]
    for thread in threads:
        thread.start()
    try:
        for _ in scenes:
            result = done.get()
            if isinstance(result, BaseException):
                raise result
            yield result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _start_worker(part: Path, options: SynthOptions) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "portbev.data.synth.worker", str(part), json.dumps(options.as_dict())]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _feed(
    process: subprocess.Popen[str], todo: queue.SimpleQueue[int | None], done: queue.SimpleQueue[int | BaseException]
) -> None:
    assert process.stdin and process.stdout
    while (number := todo.get()) is not None:
        try:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            answer = process.stdout.readline().strip()
        except OSError as error:
            answer = str(error)
        if answer != "done":
            done.put(
                DataError(f"a worker failed on {scene_name(number)}: {answer or 'it ended'}", where="synthetic data")
            )
            return
        done.put(number)
    process.stdin.close()


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_tables(part: Path, options: SynthOptions) -> None:
    tables: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    tables["category"] = [
        {"token": fixed_token("category", name), "name": name, "description": text} for name, text in CATEGORIES.items()
    ]
    tables["attribute"] = [
        {"token": fixed_token("attribute", name), "name": name, "description": text}
        for name, text in ATTRIBUTES.items()
    ]
    tables["visibility"] = [
        {
            "token": name,
            "level": level,
            "description": f"visibility of the object is between {level[1:].replace('-', ' and ')} %",
        }
        for name, level, _ in VISIBILITY
    ]
    tables["sensor"] = [
        {
            "token": fixed_token("sensor", channel),
            "channel": channel,
            "modality": "lidar" if channel == LIDAR_CHANNEL else "camera",
        }
        for channel in (*CAMERA_CHANNELS, LIDAR_CHANNEL)
    ]
    digest = hashlib.sha256()
    for number in range(options.scenes):
        scene = json.loads(scene_file(part, number).read_text(encoding="utf-8"))
        for name, rows in scene["rows"].items():
            tables[name].extend(rows)
        for path, checksum in sorted(scene["files"].items()):
            digest.update(f"{path} {checksum}\n".encode())
    folder = part / options.version
    for name, rows in tables.items():
        write_json(folder / f"{name}.json", rows, indent=None)
        digest.update((folder / f"{name}.json").read_bytes())
    names = [scene_name(number) for number in range(options.scenes)]
    first = options.scenes - options.validation_count
    write_json(folder / "splits.json", {TRAIN_SPLIT: names[:first], VAL_SPLIT: names[first:]})
    manifest = {"format": "portbev.synthetic-nuscenes", "generator": GENERATOR_VERSION, "digest": options.digest()}
    write_json(part / MANIFEST, {**manifest, "content": digest.hexdigest(), "options": options.as_dict()})


@contextlib.contextmanager
def _reporter(progress: bool | Progress, total: int) -> Iterator[Progress]:
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("Generating scenes", total=total)
        yield lambda done, total: bar.update(task, completed=done)
