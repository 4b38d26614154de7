"""Samples of nuScenes data with a submission's detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from portbev.data.root import open_root
from portbev.errors import PortbevError
from portbev.paths import DataPath
from portbev.runs.evaluated import Evaluated
from portbev.viz.canvas import Image
from portbev.viz.scene import Objects, View
from portbev.viz.surround import draw_view
from portbev.viz.views import Views
from portbev_nuscenes.classes import Categories, counts
from portbev_nuscenes.metrics.arrays import PredictionArrays
from portbev_nuscenes.metrics.submission import load_predictions
from portbev_nuscenes.recorded import Recorded, global_boxes
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index


class NuscenesViews(Views):
    """Samples of a submission beside their nuScenes data.

    Args:
        categories, min_points: which annotations are drawn (see :class:`portbev_nuscenes.config.Tables`).
        lidar_values: float32 values of a point in the lidar files.
    """

    def __init__(
        self,
        root: DataPath,
        index: Index,
        predictions: PredictionArrays,
        title: str = "",
        *,
        categories: Categories | None = None,
        min_points: int = 1,
        lidar_values: int = 5,
    ) -> None:
        self.root, self.index, self.predictions, self.title = root, index, predictions, title
        self._labels = (categories or Categories()).labels(name.decode() for name in index.categories.tolist())
        self._counted = counts(index.box_points, min_points)
        cure = "Restore the file, or name other samples: --tokens"
        self._recorded = Recorded(root, index, lidar_values=lidar_values, cure=cure)
        order = {token.decode(): place for place, token in enumerate(index.sample_token.tolist())}
        for token in predictions.sample_tokens:
            if token not in order:
                raise PortbevError(
                    f"sample {token} of the predictions is not in the data",
                    where=str(root),
                    cure="Give the data that the predictions were made on: --data-root, --version",
                )
        self._place = {token: order[token] for token in sorted(predictions.sample_tokens, key=order.__getitem__)}
        self._submitted = {token: place for place, token in enumerate(predictions.sample_tokens)}

    @property
    def tokens(self) -> list[str]:
        """Samples that have predictions, by scene and time."""
        return list(self._place)

    def draw(self, token: str, score: float) -> tuple[str, Image]:
        view = self.view(token)
        return f"{view.scene}_{token}", draw_view(view, title=self.title, score=score)

    def view(self, token: str) -> View:
        """Read one sample.

        Raises:
            PortbevError: the predictions have no such sample.
            DataError: a picture or the point cloud is missing or damaged.
        """
        self.check(token)
        sample = self._place[token]
        found = self._found(self._submitted[token])
        return self._recorded.view(sample, truth=self._truth(sample), predictions=found)

    def _truth(self, sample: int) -> Objects:
        index = self.index
        rows = np.arange(index.box_start[sample], index.box_start[sample + 1])
        rows = rows[self._counted[rows] & (self._labels[index.box_category[rows]] >= 0)]
        return self._recorded.boxes(rows, self._labels[index.box_category[rows]])

    def _found(self, place: int) -> Objects:
        all_ = self.predictions
        rows = np.flatnonzero(all_.sample_index == place)
        boxes = global_boxes(all_.translation[rows], all_.size[rows], all_.rotation[rows], all_.velocity[rows])
        return Objects(boxes, all_.label[rows].astype(np.int64), all_.score[rows])


def open_nuscenes(evaluated: Evaluated, data_root: str | Path | None, version: str | None) -> NuscenesViews:
    """The samples of an evaluation's predictions; see :func:`portbev.viz.open_views`."""
    root = open_root(data_root or evaluated.root)
    index = load_index(root, version or evaluated.version)
    section, predictions = evaluated.section, load_predictions(evaluated.predictions)
    return NuscenesViews(
        root,
        index,
        predictions,
        evaluated.title,
        categories=Categories(section.get("categories")),
        min_points=section.get("min_points", 1),
        lidar_values=section.get("lidar_values", 5),
    )
