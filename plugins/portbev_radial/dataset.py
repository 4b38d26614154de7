"""RADIal samples for EchoFusion-like models."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

from portbev.boxes import wrap_angle
from portbev.data import BoxCounts, Part, Summary
from portbev.data.pictures.pixels import padded_size, scaled_size
from portbev.errors import DataError
from portbev.models import Batch
from portbev.paths import DataPath, as_path
from portbev.rng import generator
from portbev.signal import read_calibration
from portbev_radial.batches import RadialBatch
from portbev_radial.classes import CAR, DETECTION_CLASSES
from portbev_radial.config import RadialData
from portbev_radial.looks import SIZE_CURE, facts, picture_size
from portbev_radial.pictures import Augmentation, draw_augmentation, network_input
from portbev_radial.sources import Source, open_source
from portbev_radial.truth import counting, told

Array = NDArray[np.float64]


class Sample(TypedDict):
    """One sample; the shapes are those of :class:`portbev_radial.batches.RadialBatch` without B."""

    image: NDArray[np.float32] | None
    image_size: tuple[int, int]
    radar: NDArray[Any] | None
    radar_kind: str
    radar_product: str
    calibration: dict[str, Array]
    table: str
    description: Any
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    token: str


class RadialDataset:
    """The samples of one split, augmented for training and unchanged for evaluation.

    Every random draw depends on (seed, epoch, index) alone: not on the order of the calls, nor on workers or ranks.

    Attributes:
        tokens: numSample of each index with six digits; with ``data.repeat`` a training sample comes several times.
        root, version, split: the data root, its layout (``raw`` or ``converted``), the split.
        notes: omissions, for the run's record.
        source: reads the split's files.
    """

    benchmark = "radial"
    classes: tuple[str, ...] = DETECTION_CLASSES

    def __init__(self, section: RadialData, root: DataPath, part: Part, *, seed: int) -> None:
        self.root, self.part, self.seed, self.section = as_path(root), part, seed, section
        self.split = section.train_split if part == "train" else section.eval_split
        self.notes: list[str] = []
        self.source: Source = open_source(section, self.root, self.split, self.notes)
        self.version = self.source.version
        self._calibration = self._camera() if section.camera else {}
        self._size: tuple[int, int] | None = None
        self._read = [self.source.boxes(number) for number in self.source.numbers]
        self._boxes, self._dropped = self._counting()
        self.samples = self._choose()
        self.tokens = [self._token(sample) for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    def _counting(self) -> tuple[list[Array], list[Counter[str]]]:
        """The boxes of each sample that count, and why its others do not."""
        both = [counting(boxes, self.section) for boxes in self._read]
        dropped = [reasons for _, reasons in both]
        self.notes += told(sum(dropped, Counter()), self.section, self.split)
        return [boxes for boxes, _ in both], dropped

    def _choose(self) -> NDArray[np.int64]:
        """Indices of the samples among those of the source."""
        count = len(self.source.numbers)
        if not count:
            message = f"split {self.split!r} has no samples that can be read"
            first = f"The first problem: {self.notes[0]}" if self.notes else "Choose another split"
            raise DataError(message, where=str(self.root), cure=first)
        self._filled = np.array([i for i in range(count) if len(self._boxes[i])], np.int64)
        if self.part == "eval":
            return np.arange(count)
        if not len(self._filled):
            reasons = ", ".join(f"{n} {reason}" for reason, n in sum(self._dropped, Counter()).items())
            what = f"split {self.split!r} has no boxes to train on" + (f" ({reasons})" if reasons else "")
            cure = "Widen data.x_range and data.y_range" if reasons else f"Look at {self.source.boxes_name}"
            raise DataError(what, where=str(self.root), cure=cure)
        empty = count - len(self._filled)
        if empty and self.section.filter_empty:
            self.notes.append(f"{empty} samples of {self.split} without boxes are replaced by others when they come up")
        return np.tile(np.arange(count), self.section.repeat)

    def _camera(self) -> dict[str, Array]:
        """The camera's calibration in pixels of the network's input, with the names of the batch."""
        camera = self.source.camera.scaled(self.section.scale)
        named = {"K": camera.intrinsic, "dist": camera.distortion}
        return {**named, "rvec": camera.rotation, "tvec": camera.translation}

    def _token(self, sample: int) -> str:
        return f"{self.source.numbers[int(sample)]:06d}"

    def subset(self, indices: NDArray[np.int64] | list[int] | slice) -> RadialDataset:
        """The same dataset with only these of its samples, in this order."""
        subset = copy.copy(self)
        subset.samples = self.samples[indices]
        subset.tokens = [subset._token(sample) for sample in subset.samples]
        return subset

    @property
    def labelled(self) -> bool:
        """RADIal's splits all have annotations."""
        return True

    def check(self) -> None:
        """Sizes of files and pictures, and the calibrations, before the first step.

        Raises:
            DataError: a truncated or overlong file, pictures of several sizes or of another size than the calibration
                is for, or a calibration table that is needed and cannot be read.
        """
        self.source.check()
        if self.section.radar in ("ra", "pc") and self.source.radar_kind == "raw":
            read_calibration(self.source.table_file, self.source.description)
        if self.section.camera:
            self._size = picture_size(self.source, self.root)

    def summary(self) -> Summary:
        """Samples and boxes, each once, whatever ``data.repeat`` is."""
        samples = np.unique(self.samples)
        read = sum(len(self._read[sample]) for sample in samples)
        boxes = [self._boxes[sample] for sample in samples]
        dropped = sum((self._dropped[sample] for sample in samples), Counter[str]())
        return Summary(
            samples=len(samples),
            boxes={self.classes[CAR]: BoxCounts(read=read, kept=sum(map(len, boxes)))},
            dropped=dict(dropped),
            facts=facts(boxes, self.source, self._padding()),
        )

    def _padding(self) -> float | None:
        """Share of the network's input that is padding; None before :meth:`check` or without pictures."""
        if self._size is None:
            return None
        height, width = scaled_size(self._size, self.section.scale)
        padded = padded_size((height, width), self.section.pad_divisor)
        return 1 - height * width / (padded[0] * padded[1])

    def streams(self) -> list[list[int]] | None:
        """None: samples are independent of each other."""
        return None

    def digest(self) -> str:
        """SHA-256 of the split's frames and boxes, the calibrations and the radar's description."""
        digest = hashlib.sha256(self.source.identity(self.section.radar in ("ra", "pc")).encode())
        for sample in np.unique(self.samples):
            digest.update(f"{self._token(sample)} {self.source.frame_name(self.source.numbers[sample])}\n".encode())
            digest.update(np.ascontiguousarray(self._read[sample]).tobytes())
        return digest.hexdigest()

    def annotated(self, index: int) -> tuple[Array, Array]:
        """The boxes of a sample that count, and those that do not, whatever is wrong with them: (n, 9) each."""
        position = self.samples[index]
        kept, others = self._boxes[position], self._read[position]
        known = {row.tobytes() for row in kept}
        return kept, others[[row.tobytes() not in known for row in others]]

    def truth(self, index: int) -> tuple[Array, NDArray[np.int64]]:
        """Ground truth of the evaluation: the boxes (n, 9) of a sample that count, and labels (n,)."""
        boxes = self._boxes[self.samples[index]]
        return boxes, np.full(len(boxes), CAR, np.int64)

    def sample(self, index: int, epoch: int) -> Sample:
        """The sample at ``index`` as it is seen in ``epoch``.

        Raises:
            DataError: a file that is missing or damaged.
        """
        training = self.part == "train"
        position = self._refill(int(self.samples[index]), index, epoch)
        number = self.source.numbers[position]
        image, size = None, (0, 0)
        if self.section.camera:
            picture = self._picture(number)
            augmentation = self.draw_augmentation(_size(picture), index, epoch)
            image, size = network_input(picture, self.section, augmentation)
        boxes = self._boxes[position].copy()
        if training:
            boxes[:, 6] = wrap_angle(boxes[:, 6])
        return Sample(
            image=image,
            image_size=size,
            radar=None if self.section.radar == "none" else self.source.radar(number),
            radar_kind=self.source.radar_kind,
            radar_product=self.section.radar,
            calibration=self._calibration,
            table=str(self.source.table_file),
            description=self.source.description,
            boxes=boxes.astype(np.float32),
            labels=np.full(len(boxes), CAR, np.int64),
            token=self._token(position),
        )

    def draw_augmentation(self, size: tuple[int, int], index: int, epoch: int) -> Augmentation:
        """How the picture of ``size`` (height, width) of a sample is augmented in ``epoch``."""
        if self.part == "eval" or not self.section.augment:
            return Augmentation()
        return draw_augmentation(size, self.section, generator(self.seed, "radial augment", epoch, index))

    def picture_size(self) -> tuple[int, int]:
        """(height, width) of the pictures as they are stored."""
        if self._size is None:
            self._size = _size(self.source.picture(self.source.numbers[0]))
        return self._size

    def request(self, index: int) -> dict[str, NDArray[Any]]:
        """What the sample at ``index`` is made of, see :class:`portbev_radial.requests.RadialRequests`.

        Raises:
            DataError: a file that is missing or damaged.
        """
        number = self.source.numbers[int(self.samples[index])]
        found: dict[str, NDArray[Any]] = {}
        if self.section.radar != "none":
            found["radar"] = self.source.radar(number)
        if self.section.camera:
            camera = self.source.camera
            found |= {
                "image": np.ascontiguousarray(self._picture(number)[..., ::-1]),
                "intrinsics": camera.intrinsic,
                "distortion": camera.distortion,
                "rotation": camera.rotation,
                "translation": camera.translation,
            }
        return found

    def _refill(self, position: int, index: int, epoch: int) -> int:
        """The sample itself; in training, if it has no boxes, a random one that has."""
        if self.part == "eval" or not self.section.filter_empty or len(self._boxes[position]):
            return position
        rng = generator(self.seed, "radial refill", epoch, index)
        return int(self._filled[int(rng.integers(len(self._filled)))])

    def _picture(self, number: int) -> NDArray[np.uint8]:
        """A picture, which must have the size of the others."""
        picture, size = self.source.picture(number), self.picture_size()
        if _size(picture) != size:
            sizes = " x ".join(map(str, _size(picture)[::-1])), " x ".join(map(str, size[::-1]))
            what = f"the picture of sample {number:06d} is {sizes[0]}, others are {sizes[1]}"
            raise DataError(what, where=str(self.root), cure=SIZE_CURE)
        return picture

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """A batch of at least one sample."""
        images = [sample["image"] for sample in samples if sample["image"] is not None]
        radar = [torch.from_numpy(sample["radar"]) for sample in samples if sample["radar"] is not None]
        identity: Array = np.broadcast_to(np.eye(4), (len(samples), 4, 4)).copy()
        batch = RadialBatch(
            images=torch.from_numpy(np.stack(images)) if images else None,
            image_size=samples[0]["image_size"],
            radar=(radar if samples[0]["radar_kind"] == "pc" else torch.stack(radar)) if radar else None,
            radar_kind=samples[0]["radar_kind"],
            radar_product=samples[0]["radar_product"],
            calibration={
                name: np.stack([sample["calibration"][name] for sample in samples])
                for name in samples[0]["calibration"]
            },
            table=samples[0]["table"],
            description=samples[0]["description"],
            boxes=[sample["boxes"] for sample in samples],
            labels=[sample["labels"] for sample in samples],
            tokens=[sample["token"] for sample in samples],
            frame2global=identity,
        )
        return batch


def _size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    return int(picture.shape[0]), int(picture.shape[1])
