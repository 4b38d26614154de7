"""Generate a whole data set: scenes by several processes, then tables and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from portbev.data.generated.growing import MANIFEST, grow
from portbev.data.generated.parts import Parts
from portbev.data.progress import Progress
from portbev.files import write_json
from portbev_nuscenes.synth.options import TRAIN_SPLIT, VAL_SPLIT, SynthOptions
from portbev_nuscenes.synth.scene import scene_name
from portbev_nuscenes.synth.tokens import fixed_token
from portbev_nuscenes.tables.rows import TABLES
from portbev_world.catalogue import ATTRIBUTES, CATEGORIES, VISIBILITY
from portbev_world.rig import CAMERA_CHANNELS, LIDAR_CHANNEL


def generate(out: Path | str, options: SynthOptions, *, workers: int = 0, progress: bool | Progress = False) -> Path:
    """Write a synthetic nuScenes data set; the same options give the same bytes, whatever the number of workers.

    The data set is written to a folder beside ``out``, which is renamed when it is complete. After an interruption
    another call continues with the first scene that is missing; a complete data set is kept as it is.

    Args:
        out: folder to create.
        options: what to generate.
        workers: processes; 0 for one per CPU that this process may use.
        progress: True for a progress bar on stderr, or a function of (scenes done, scenes in all).

    Returns:
        ``out``, which then holds ``samples``, ``sweeps``, ``maps``, the tables and a manifest.

    Raises:
        DataError: ``out`` holds something else, or cannot be written.
    """

    def build(folder: Path) -> None:
        scenes = Parts(folder, "scenes", [scene_name(number) for number in range(options.scenes)])
        scenes.make("portbev_nuscenes.synth.build:scene_job", options.as_dict(), workers, progress)
        _write_tables(scenes, options)
        scenes.forget()

    return grow(out, options.digest(), build, what=options.where)


def scene_job(common: dict[str, Any]) -> Callable[[int], dict[str, Any]]:
    """The function that a worker calls with the number of a scene: it renders the scene and returns its table rows.

    Args:
        common: the folder and the options, the same for all scenes.
    """
    folder, options = Path(common["folder"]), SynthOptions.from_dict(common["options"])

    def write(number: int) -> dict[str, Any]:
        from portbev_nuscenes.synth.scene import SceneWriter

        tables = SceneWriter(options, number, folder).write()
        return {"rows": tables.rows, "files": tables.files}

    return write


def _write_tables(scenes: Parts, options: SynthOptions) -> None:
    """Write the tables, the splits and the manifest."""
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
        scene = scenes.rows(number)
        for name, rows in scene["rows"].items():
            tables[name].extend(rows)
        for path, checksum in sorted(scene["files"].items()):
            digest.update(f"{path} {checksum}\n".encode())
    folder = scenes.folder / options.version
    for name, rows in tables.items():
        write_json(folder / f"{name}.json", rows, indent=None)
        digest.update((folder / f"{name}.json").read_bytes())
    names = list(scenes.names)
    first = options.scenes - options.validation_count
    write_json(folder / "splits.json", {TRAIN_SPLIT: names[:first], VAL_SPLIT: names[first:]})
    known = {"content": digest.hexdigest(), "options": options.as_dict()}
    write_json(scenes.folder / MANIFEST, {**options.manifest(), **known})
