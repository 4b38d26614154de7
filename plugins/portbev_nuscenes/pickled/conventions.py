"""How versions of mmdet3d write boxes and number classes, and which of them a file has.

All write [x y z a b h yaw vx vy] in the lidar's frame (x right, y forward) with the centre of the bottom face. Before
1.0.0rc0 a, b are width and length, and yaw grows from -y towards x: -yaw - pi/2 of ours. Since then they are length and
width, and yaw is ours. The class in the pickle tells them apart from 1.1 on (module ``mmdet3d.structures``); earlier
ones have one name (``mmdet3d.core.bbox``) for both. No file names its classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from portbev.errors import ResultsError, nearest
from portbev_nuscenes.classes import DETECTION_CLASSES

Layout = Literal["mmdet3d-0", "mmdet3d-1"]
LAYOUTS: dict[Layout, str] = {
    "mmdet3d-0": "mmdet3d before 1.0.0rc0: width, length, height; yaw from -y towards x",
    "mmdet3d-1": "mmdet3d since 1.0.0rc0: length, width, height; yaw from x towards y",
}
ORDERS: dict[str, tuple[str, ...]] = {
    "nuscenes": DETECTION_CLASSES,
    "mmdet3d": (
        *("car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle"),
        *("pedestrian", "traffic_cone", "barrier"),
    ),
}
"""Orders of classes in use: that of the detection task's configurations, and that of mmdet3d's data set."""
_TYPICAL = {
    "car": (1.95, 4.62, 1.73),
    "truck": (2.51, 6.93, 2.84),
    "construction_vehicle": (2.82, 6.45, 3.19),
    "bus": (2.94, 10.5, 3.47),
    "trailer": (2.9, 12.3, 3.87),
    "barrier": (2.5, 0.5, 0.98),
    "motorcycle": (0.77, 2.11, 1.46),
    "bicycle": (0.6, 1.7, 1.3),
    "pedestrian": (0.67, 0.73, 1.77),
    "traffic_cone": (0.41, 0.42, 1.07),
}
"""Typical width, length and height of the classes [m]."""
_LOOKED_AT = 200  # boxes of a label with the best scores
_SURE = 0.1  # the wrong reading must be worse by this much, in the mean logarithm of a size
_PLAUSIBLE = 0.5


@dataclass(frozen=True)
class Convention:
    """How boxes and labels are meant.

    Attributes:
        layout: of the boxes.
        classes: by label.
        notes: how that is known.
    """

    layout: Layout
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def layout_of(kind: str) -> Layout | None:
    """The layout of the class of a pickle's boxes; None where its name leaves it open."""
    return "mmdet3d-1" if kind.startswith("mmdet3d.structures.") else None


def chosen_layout(name: str | None) -> Layout | None:
    """The layout that a person named.

    Raises:
        ResultsError: there is no such.
    """
    if name is None:
        return None
    for layout in LAYOUTS:
        if name == layout:
            return layout
    raise ResultsError(f"there is no layout {name!r}", where="--boxes", cure=nearest(name, LAYOUTS))


def chosen_classes(text: str | None) -> tuple[str, ...] | None:
    """The classes that a person named: ``nuscenes``, ``mmdet3d``, or their names with commas.

    Raises:
        ResultsError: a class that the benchmark does not have, or one twice.
    """
    if text is None:
        return None
    if text in ORDERS:
        return ORDERS[text]
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [name for name in names if name not in DETECTION_CLASSES]
    if unknown or len(set(names)) != len(names) or not names:
        what = f"unknown class {unknown[0]!r}" if unknown else "each class once, with commas"
        cure = f"{' or '.join(ORDERS)}, or of {', '.join(DETECTION_CLASSES)}"
        raise ResultsError(what, where="--classes", cure=cure)
    return names


def recognise_convention(
    sizes: NDArray[Any],
    labels: NDArray[Any],
    scores: NDArray[Any],
    layout: Layout | None,
    classes: tuple[str, ...] | None,
) -> Convention:
    """The layout and the order of classes: those given, and of the rest those that the boxes' sizes show.

    Args:
        sizes: (n, 3) the three numbers of each box. labels, scores: (n,).
        layout, classes: None where nothing says it.

    Raises:
        ResultsError: the sizes do not show it.
    """
    named = {tuple(order): name for name, order in ORDERS.items()}
    layouts = [layout] if layout else list(LAYOUTS)
    orders = [classes] if classes else list(ORDERS.values())
    typical = _medians(sizes, labels, scores)
    most = max([*typical, -1])
    if most >= min(map(len, orders)):
        what = f"has label {most}, but only {len(orders[0])} classes are known"
        raise ResultsError(what, cure="Name the classes in the order of its outputs: --classes car,truck,...")
    ranked = sorted((_distance(typical, one, order), one, order) for one in layouts for order in orders)
    error, best, order = ranked[0]
    others = [entry for entry in ranked[1:] if entry[1] != best or not _same(typical, entry[2], order)]
    asked = len(layouts) > 1 or len(orders) > 1
    if asked and typical and others and (others[0][0] - error < _SURE or error > _PLAUSIBLE):
        options = ["--boxes " + "|".join(LAYOUTS)] * (len(layouts) > 1)
        options += ["--classes " + "|".join(ORDERS) + "|NAMES"] * (len(orders) > 1)
        what = "does not say how boxes and classes are meant, and the sizes of the boxes do not show it"
        raise ResultsError(what, cure=f"Say it: {' '.join(options)}")
    notes = []
    shown = f"sizes {_percent(error)} from typical ones, {_percent(others[0][0])} read otherwise" if others else ""
    if len(layouts) > 1:
        notes.append(f"boxes are read as those of {LAYOUTS[best]} ({shown or 'there are none'})")
    if len(orders) > 1:
        said = f"labels are read in the order of {named[order]} ({', '.join(order)})"
        notes.append(f"{said}: the file does not name its classes{'; ' + shown if shown else ''}")
    return Convention(best, order, tuple(notes))


def _percent(error: float) -> str:
    return f"{100 * np.expm1(error):.0f} %"


def _medians(sizes: NDArray[Any], labels: NDArray[Any], scores: NDArray[Any]) -> dict[int, NDArray[np.float64]]:
    """Label -> median of the sizes of its best boxes."""
    found = {}
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        best = rows[np.argsort(-scores[rows], kind="stable")[:_LOOKED_AT]]
        middle = np.median(np.asarray(sizes, np.float64)[best], 0)
        if np.isfinite(middle).all() and (middle > 0).all():
            found[int(label)] = middle
    return found


def _distance(typical: dict[int, NDArray[np.float64]], layout: Layout, order: tuple[str, ...]) -> float:
    """Mean absolute logarithm of the sizes over the typical ones of their classes."""
    if not typical:
        return 0.0
    wlh = [1, 0, 2] if layout == "mmdet3d-1" else [0, 1, 2]
    parts = [np.abs(np.log(size[wlh] / _TYPICAL[order[label]])).mean() for label, size in typical.items()]
    return float(np.mean(parts))


def _same(typical: dict[int, NDArray[np.float64]], one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two orders call the labels that occur the same."""
    return all(one[label] == other[label] for label in typical)
