"""RADIal samples as a training sees them, for ``portbev data browse``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.photometric import words
from portbev.data.pictures.pixels import swap_red_blue
from portbev.data.pictures.shown import masked, shown
from portbev.errors import DataError
from portbev.viz.canvas import Image
from portbev.viz.scene import Objects
from portbev.viz.seen import Seen, counted_as, finished, look_name
from portbev_radial.chain import Chain
from portbev_radial.classes import CAR
from portbev_radial.dataset import RadialDataset, Sample
from portbev_radial.page import CLASSES, RadialView, heat, panels
from portbev_radial.recordings.calibration import CameraCalibration
from portbev_radial.sources import PARTS, Source, as_real, open_source
from portbev_radial.views import azimuth_map, undistorted

Array = NDArray[np.float64]

NAMES = {
    "rt": "chirps to the right",
    "rd": "Doppler to the right",
    "ra": "azimuth to the right",
    "adc": "chirps to the right, samples not transformed yet",
}
NOTHING = Objects.of(np.zeros((0, 9)), np.zeros(0, np.int64))


class RadialBrowser:
    """Draws samples of ``dataset``; boxes are in the radar's frame, pictures without the lens's distortion."""

    def __init__(self, dataset: RadialDataset) -> None:
        self.dataset = dataset
        self._maps, self._no_map = _maps(dataset)

    def scene(self, index: int) -> str:
        """The recording, where the layout knows it."""
        name = self.dataset.source.frame_name(self._number(index)).rpartition(" ")[0]
        return name

    def annotated(self, index: int) -> Seen:
        """Picture, range-azimuth map and every annotation; dashed are those that are not trained on."""
        dataset, number = self.dataset, self._number(index)
        kept, others = dataset.annotated(index)
        others = others[np.isfinite(others).all(1)]
        source = dataset.source
        camera = undistorted(swap_red_blue(source.picture(number)), source.camera) if dataset.section.camera else None
        view = self._view(number, camera=camera, found=_objects(kept), truth=_objects(others))
        said = f"{len(kept) + len(others)} annotations as recorded{self._no_map}"
        return Seen("as annotated", self._drawn(view, "as annotated", number), (said,))

    def seen(self, index: int, epoch: int) -> Seen:
        """Picture, calibration, boxes and radar of the sample itself."""
        dataset, sample = self.dataset, self.dataset.sample(index, epoch)
        number = int(sample["token"])
        boxes = Objects.of(sample["boxes"], sample["labels"])
        points = _cloud(sample)
        view = self._view(number, camera=_camera(sample, dataset), found=boxes, truth=NOTHING, points=points)
        name, said, below = look_name(dataset.part, epoch), self._told(sample, index, epoch), self._radar(sample)
        if below is not None:
            said.append(
                f"below the picture: the network's radar input, range upwards and {NAMES[sample['radar_product']]}"
            )
        return Seen(name, self._drawn(view, name, number, below), tuple(said))

    def _number(self, index: int) -> int:
        return int(self.dataset.tokens[index])

    def _view(
        self, number: int, *, camera: Any, found: Objects, truth: Objects, points: Array | None = None
    ) -> RadialView:
        return RadialView(
            token=f"{number:06d}",
            camera=camera,
            radar=None if self._maps is None else azimuth_map(self._maps, number),
            reach=self.dataset.source.description.range_max,
            truth=truth,
            found=found,
            points=points,
        )

    def _drawn(self, view: RadialView, title: str, number: int, below: Image | None = None) -> Image:
        return finished(
            panels(view, view.found, below),
            [],
            title=title,
            subtitle=f"{self.dataset.source.frame_name(number)}   sample {view.token}",
            learnt=view.found,
            others=view.truth,
            classes=CLASSES,
            counts=counted_as(self.dataset.part),
        )

    def _radar(self, sample: Sample) -> Image | None:
        """The radar's input of the network as a picture."""
        product, content = sample["radar_product"], sample["radar"]
        if content is None or product not in NAMES:
            return None
        if sample["radar_kind"] == "raw":
            source, section = self.dataset.source, self.dataset.section
            table = source.table_file if product == "ra" else None
            chain = Chain(source.description, table, section.signal_precision)
            content = as_real(chain.compute(content, [PARTS[product]])[PARTS[product]])
        return level_picture(content)

    def _told(self, sample: Sample, index: int, epoch: int) -> list[str]:
        dataset, said = self.dataset, list[str]()
        if sample["token"] != dataset.tokens[index]:
            said.append(f"in place of {dataset.tokens[index]}, which has no boxes")
        if dataset.part == "eval" or not dataset.section.augment:
            said.append("not augmented")
        elif sample["image"] is not None:
            number = int(sample["token"])
            height, width = dataset.source.picture(number).shape[:2]
            drawn = dataset.draw_augmentation((height, width), index, epoch)
            said.append(f"picture: {'as it is' if drawn.distortion is None else words(drawn.distortion)}")
            said += [] if drawn.mask is None else [masked(drawn.mask)]
        points = _cloud(sample)
        if points is not None:
            said.append(f"{len(points)} points of the radar, drawn from above")
        return said


def _maps(dataset: RadialDataset) -> tuple[Source | None, str]:
    """The split opened for its range-azimuth maps, or why it cannot be."""
    section = dataset.section.model_copy(update={"radar": "ra", "signal_on": "loader", "camera": False})
    try:
        return open_source(section, dataset.root, dataset.split, []), ""
    except DataError as error:  # no usable calibration table, or a converted layout without the maps
        return None, f"; no range-azimuth map: {error.what}"


def _camera(sample: Sample, dataset: RadialDataset) -> Any:
    """The picture that the network gets, without padding, and the calibration that it gets."""
    if sample["image"] is None:
        return None
    section, (height, width) = dataset.section, sample["image_size"]
    picture = shown(sample["image"], section.mean, section.std, bgr=section.bgr)[:height, :width]
    given = sample["calibration"]
    return undistorted(picture, CameraCalibration(given["K"], given["dist"], given["rvec"], given["tvec"]))


def _cloud(sample: Sample) -> Array | None:
    """(n, 2) x, y of the radar's point cloud, where the network gets one that is made already."""
    if sample["radar_kind"] != "pc" or sample["radar"] is None:
        return None
    distance, azimuth, elevation = sample["radar"][:, 0], sample["radar"][:, 2], sample["radar"][:, 3]
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth)], -1).astype(np.float64)


def level_picture(content: NDArray[Any]) -> NDArray[np.uint8]:
    """(S, C, 3) RGB of a radar's map (S, C, receivers, 2) or (S, A): the mean level of the receivers in dB above the
    median of all, the first range at the bottom.
    """
    values = np.asarray(content, np.float64)
    power = values**2 if values.ndim == 2 else (values**2).sum(-1).mean(-1)
    level = 10 * np.log10(np.maximum(power, np.finfo(np.float64).tiny))
    above = (level - np.median(level)).clip(min=0)
    return heat(above / max(float(above.max()), 1.0))[::-1]


def _objects(boxes: Array) -> Objects:
    return Objects.of(boxes, np.full(len(boxes), CAR, np.int64))
