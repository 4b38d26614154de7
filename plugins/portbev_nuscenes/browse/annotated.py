"""What the two kinds of samples share: the recorded sample with its annotations."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.viz.scene import Camera, Objects
from portbev.viz.seen import Seen, counted_as, draw_seen
from portbev_nuscenes.recorded import LAYOUT, Recorded
from portbev_nuscenes.samples.queue import QueueDataset
from portbev_nuscenes.samples.sweeps import SweepDataset

Data = TypeVar("Data", bound=SweepDataset | QueueDataset)
CURE = "Restore the file, or look at other samples: --index, --token"


class Annotated(Generic[Data]):
    """Draws samples of ``dataset`` as they were recorded."""

    def __init__(self, dataset: Data) -> None:
        self.dataset = dataset
        self._recorded = Recorded(dataset.root, dataset.index, lidar_values=dataset.section.lidar_values, cure=CURE)

    def scene(self, index: int) -> str:
        """The name of the sample's scene."""
        return self._recorded.scene(int(self.dataset.samples[index]))

    def annotated(self, index: int) -> Seen:
        """All cameras, the lidar and every annotation; dashed are those that are not trained on."""
        sample = int(self.dataset.samples[index])
        rows, others = self.dataset.annotation_rows(sample)
        learnt, left_out = self._boxes(rows), self._boxes(others)
        said = [f"lidar points and {len(rows) + len(others)} annotations as recorded"]
        try:
            view = self._recorded.view(sample, truth=left_out, predictions=learnt)
        except DataError as error:
            if "lidar" not in error.what:
                raise
            view = self._recorded.view(sample, truth=left_out, predictions=learnt, with_points=False)
            said = [f"{len(rows) + len(others)} annotations as recorded; no lidar points: {error.what}"]
        name = "as annotated"
        image = draw_seen(view, title=name, subtitle=self._subtitle(index), counts=counted_as(self.dataset.part))
        return Seen(name, image, (*said, *self._why_left_out(others)))

    def _subtitle(self, index: int) -> str:
        return f"{self.scene(index)}   sample {self.dataset.tokens[index]}"

    def _boxes(self, rows: NDArray[np.int64]) -> Objects:
        return self._recorded.boxes(rows, self.dataset.labels_of(rows))

    def _why_left_out(self, rows: NDArray[np.int64]) -> list[str]:
        """A line on the annotations that are not trained on."""
        if not len(rows):
            return []
        no_class = self.dataset.labels_of(rows) < 0
        counted = self.dataset.enough_points(rows)
        reasons = {
            "of no detection class": int(no_class.sum()),
            f"with fewer than {self.dataset.min_points} points": int((~no_class & ~counted).sum()),
            "outside the range": int((~no_class & counted).sum()),
        }
        return [
            f"not {counted_as(self.dataset.part)}: "
            + ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)
        ]


def cameras_of(
    names: tuple[str, ...],
    pictures: list[NDArray[np.uint8]],
    intrinsics: list[NDArray[np.float64]],
    poses: list[NDArray[np.float64]],
    depths: list[NDArray[np.float64]] | None = None,
) -> tuple[dict[str, Camera], tuple[tuple[str, ...], ...]]:
    """Cameras by name, and their arrangement: as the car sees them, and others in a row below."""
    cameras = {
        name: Camera(name, pictures[n], intrinsics[n], poses[n], depths[n] if depths else None)
        for n, name in enumerate(names)
    }
    known = {name for row in LAYOUT for name in row}
    others = [name for name in names if name not in known]
    rows = [tuple(name for name in row if name in cameras) for row in LAYOUT]
    rows = [row for row in rows if row]
    rows += [tuple(others[first : first + 3]) for first in range(0, len(others), 3)]
    return cameras, tuple(rows)
