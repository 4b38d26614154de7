"""nuImages as COCO annotations and semantic masks, with the names and numbers of mmdet3d's converter."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portbev.errors import DataError
from portbev.files import atomic_write, write_json
from portbev_nuscenes.classes import CATEGORY_TO_CLASS
from portbev_nuscenes.nuimages.masks import cocotools, counts_of, decoded
from portbev_nuscenes.nuimages.rows import Picture, Surface, Thing, indices_of, rows_of
from portbev_nuscenes.tables.rows import Named

CLASSES = (
    "car",
    "truck",
    "trailer",
    "bus",
    "construction_vehicle",
    "bicycle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "barrier",
)
"""In the order of mmdet3d's converter, whose category numbers are the places."""
SEMANTIC = "semantic_masks"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """A picture with what is annotated on it, and where its semantic mask goes.

    Attributes:
        surfaces, things: category names and rows, in the order in which they are drawn.
    """

    picture: Picture
    surfaces: list[tuple[str, Surface]]
    things: list[tuple[str, Thing]]
    indices: dict[str, int]
    path: Path


@dataclass(frozen=True)
class Converted:
    """What was written: the annotation file, and how many of each."""

    path: Path
    images: int
    annotations: int
    without_mask: int
    other_categories: int


def convert(
    root: Path,
    out: Path,
    version: str,
    *,
    tag: str = "nuimages",
    processes: int = 1,
    progress: Progress = lambda done, total: None,
) -> Converted:
    """Write ``OUT/TAG_VERSION.json`` and ``OUT/semantic_masks/FILE.png`` (category numbers, 0: not annotated).

    Images are the key frames in the order of ``sample_data``; annotations are objects of the ten classes that have a
    mask, in the order of their tokens. A semantic mask that is there is written anew.

    Raises:
        DataError: a table is missing or damaged, a row names a category that does not exist, a mask does not fit.
        PortbevError: pycocotools is not installed, or a file cannot be written.
    """
    cocotools()
    names = {row.token: row.name for row in rows_of(root, version, "category", Named)}
    indices = indices_of(list(names.values()), f"{root / version / 'category.json'}")
    pictures = [row for row in rows_of(root, version, "sample_data", Picture) if row.is_key_frame]
    for picture in pictures:
        _check(picture, str(root / version / "sample_data.json"))
    surfaces = _by_picture(rows_of(root, version, "surface_ann", Surface), names, "surface_ann")
    things = _by_picture(rows_of(root, version, "object_ann", Thing), names, "object_ann")
    works = [
        Work(
            picture,
            surfaces.pop(picture.token, []),
            sorted(things.pop(picture.token, []), key=lambda pair: pair[1].token),
            indices,
            out / SEMANTIC / Path(picture.filename).with_suffix(".png"),
        )
        for picture in pictures
    ]
    annotations: list[dict[str, Any]] = []
    with contextlib.closing(_drawn(works, processes)) as drawn:
        for number, work in enumerate(works):
            next(drawn)
            annotations += _annotations(work, number, len(annotations))
            progress(number + 1, len(works))
    images = [
        {"id": i, "token": p.token, "file_name": p.filename, "width": p.width, "height": p.height}
        for i, p in enumerate(pictures)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    path = out / f"{tag}_{version}.json"
    write_json(path, {"images": images, "annotations": annotations, "categories": categories}, indent=None)
    objects = [pair for work in works for pair in work.things]
    without = sum(thing.mask is None for _, thing in objects)
    other = sum(thing.mask is not None and name not in CATEGORY_TO_CLASS for name, thing in objects)
    return Converted(path, len(images), len(annotations), without, other)


def _check(picture: Picture, where: str) -> None:
    if not picture.width or not picture.height:
        raise DataError("a key frame has no width and height", where=f"{where}: {picture.token}")
    if Path(picture.filename).is_absolute() or ".." in Path(picture.filename).parts:
        raise DataError("a file name leads out of the data root", where=f"{where}: {picture.token}")


def _by_picture(rows: Iterable[Any], names: dict[str, str], table: str) -> dict[str, list[tuple[str, Any]]]:
    found = defaultdict(list)
    for row in rows:
        if row.category_token not in names:
            raise DataError(f"names category {row.category_token!r}, which is not there", where=f"{table} {row.token}")
        found[row.sample_data_token].append((names[row.category_token], row))
    return found


def _drawn(works: Sequence[Work], processes: int) -> Generator[None, None, None]:
    """Draw the masks, in order."""
    if processes <= 1:
        for work in works:
            draw(work)
            yield
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            for _ in pool.map(draw, works, chunksize=16):
                yield
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def draw(work: Work) -> None:
    """Write the semantic mask of a picture: surfaces first, then objects over them."""
    from PIL import Image

    assert work.picture.height is not None
    assert work.picture.width is not None
    size = work.picture.height, work.picture.width
    drawn = np.zeros(size, np.uint8)
    annotated: list[tuple[str, Surface | Thing]] = [*work.surfaces, *work.things]
    for name, row in annotated:
        if row.mask is not None:
            drawn[decoded(row.mask, size, row.token)] = work.indices[name]
    with atomic_write(work.path) as temporary:
        Image.fromarray(drawn).save(temporary, format="PNG")


def _annotations(work: Work, image: int, first: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, row in work.things:
        if row.mask is None or name not in CATEGORY_TO_CLASS:
            continue
        left, top, right, bottom = row.bbox
        found.append(
            {
                "image_id": image,
                "category_id": CLASSES.index(CATEGORY_TO_CLASS[name]),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "segmentation": {"counts": counts_of(row.mask, row.token), "size": list(row.mask.size)},
                "iscrowd": 0,
                "id": first + len(found),
            }
        )
    return found
