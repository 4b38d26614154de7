"""Sizes of the files of the converted layout, looked at without decoding them."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping

from PIL import Image

from portbev.errors import DataError
from portbev.paths import DataPath, file_sizes
from portbev.signal import RadarDescription
from portbev_radial.converted.kitti import DTYPES, FOLDERS, part_file
from portbev_radial.recordings.labels import CONVERT_AGAIN

_PNG, _PNG_END = b"\x89PNG", b"IEND"
_ITEM = {"<f4": 4, "<f8": 8, "<c16": 16}


def files_of(root: DataPath, part: str) -> dict[str, int]:
    """Name -> size in bytes of every file of a part; the folder is listed once."""
    return file_sizes(root / FOLDERS[part])


def check_sizes(root: DataPath, part: str, sizes: Mapping[int, int], radar: RadarDescription) -> None:
    """Compare the sizes of a part's files with those of their arrays.

    Args:
        sizes: sample -> size in bytes.

    Raises:
        DataError: truncated or overlong files; says how many, and the first.
    """
    item = _ITEM[DTYPES[part]]
    if part == "pcd":
        wrong, expected = [number for number, size in sizes.items() if size % (4 * item)], f"a multiple of {4 * item}"
    else:
        row = item * radar.samples
        whole = row * radar.chirps * radar.receivers
        if part == "ra":  # as many azimuths as most of the files have
            maps = Counter(size for size in sizes.values() if size and size % row == 0).most_common(1)
            whole = maps[0][0] if maps else row
        wrong, expected = [number for number, size in sizes.items() if size != whole], str(whole)
    if wrong:
        path = part_file(root, part, wrong[0])
        count = f"{len(wrong)} of {len(sizes)} files of {FOLDERS[part]} have another size than their maps"
        what = f"has {sizes[wrong[0]]} bytes, expected {expected}: {count}"
        cure = "Remove them and convert again" if len(wrong) < len(sizes) else "Check radar.json, or convert again"
        raise DataError(what, where=str(path), cure=cure)


def picture_size(path: DataPath) -> tuple[int, int]:
    """(height, width) of a picture from its header.

    Raises:
        DataError: missing file, no picture, or a PNG without its end.
    """
    try:
        with path.open("rb") as file:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(file)
            size = image.height, image.width
            file.seek(0)
            png = file.read(len(_PNG)) == _PNG
            file.seek(-min(64, path.stat().st_size), os.SEEK_END)
            if png and _PNG_END not in file.read():
                raise DataError("picture is truncated", where=str(path), cure=CONVERT_AGAIN)
    except FileNotFoundError as error:
        raise DataError("picture is missing", where=str(path), cure="Convert this part of the recordings") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"picture is damaged: {error}", where=str(path), cure=CONVERT_AGAIN) from error
    return size
