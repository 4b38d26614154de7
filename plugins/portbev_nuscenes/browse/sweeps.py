"""Key frames with sweeps as a training sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.shown import shown
from portbev.geometry import transform
from portbev.viz.scene import Objects, View
from portbev.viz.seen import Seen, Strip, counted_as, draw_seen, look_name
from portbev_nuscenes.batches import SweepSample
from portbev_nuscenes.browse.annotated import Annotated, cameras_of
from portbev_nuscenes.config import ImageAug
from portbev_nuscenes.recorded import CLASSES
from portbev_nuscenes.samples.augment import BevTransform, ImageTransform
from portbev_nuscenes.samples.sweeps import SweepDataset

Array = NDArray[np.float64]


class SweepBrowser(Annotated[SweepDataset]):
    """Draws what the model gets of each sample; the frame is the augmented ego frame."""

    def seen(self, index: int, epoch: int) -> Seen:
        """Pictures, matrices, depth and boxes of the sample itself."""
        section, sample = self.dataset.section, self.dataset.sample(index, epoch)
        view = seen_view(sample, section.cameras, section.image, self.scene(index))
        name = look_name(self.dataset.part, epoch)
        earlier = [
            Strip(
                tuple(_picture(picture, section.image) for picture in sample["images"][place]),
                tuple(f"key frame -{steps}  {_short(camera)}" for camera in section.cameras),
            )
            for place, steps in enumerate(section.sweeps)
            if place
        ]
        image = draw_seen(
            view, title=name, subtitle=self._subtitle(index), strips=earlier, counts=counted_as(self.dataset.part)
        )
        return Seen(name, image, (*self._told(index, epoch), *_points_told(sample["depth"])))

    def _told(self, index: int, epoch: int) -> list[str]:
        transforms, bev = self.dataset.draw(index, epoch)
        names = self.dataset.section.cameras
        how = "" if self.dataset.augmented else "not augmented; "
        if len(set(transforms)) == 1:
            return [f"{how}all cameras: {image_words(transforms[0])}", f"bird's-eye view: {bev_words(bev)}"]
        lines = [f"{_short(name)}: {image_words(one)}" for name, one in zip(names, transforms, strict=True)]
        return [*lines, f"bird's-eye view: {bev_words(bev)}"]


def seen_view(sample: SweepSample, names: tuple[str, ...], section: ImageAug, scene: str) -> View:
    """The sample's arrays as a view whose global and ego frames are the frame of the network."""
    augmented2ego = np.linalg.inv(sample["bda"].astype(np.float64))
    intrinsics, poses = [], []
    for n in range(len(names)):
        ida, intrinsic = (sample[key][0, n].astype(np.float64) for key in ("ida", "intrin"))
        pixels = np.eye(3)
        pixels[:2] = ida[:2, [0, 1, 3]]
        intrinsics.append(pixels @ intrinsic[:3, :3])
        poses.append(np.linalg.inv(sample["sensor2ego"][0, n].astype(np.float64)) @ augmented2ego)
    depth = sample["depth"]
    pictures = [_picture(picture, section) for picture in sample["images"][0]]
    depths = None if depth is None else [depth_pixels(one) for one in depth]
    cameras, layout = cameras_of(names, pictures, intrinsics, poses, depths)
    points = [
        unprojected(camera.depths, camera.intrinsic, camera.global2camera)
        for camera in cameras.values()
        if camera.depths is not None
    ]
    nothing = Objects.of(np.zeros((0, 9)), np.zeros(0, np.int64))
    return View(
        token=sample["token"],
        scene=scene,
        cameras=cameras,
        layout=layout,
        points=np.concatenate(points) if points else np.zeros((0, 3)),
        global2ego=np.eye(4),
        truth=nothing,
        predictions=Objects.of(sample["boxes"], sample["labels"]),
        classes=CLASSES,
    )


def depth_pixels(depth: NDArray[np.float32]) -> Array:
    """(n, 3) [u v depth] of the pixels of a depth map (H, W) that have one."""
    v, u = np.nonzero(depth)
    return np.stack([u, v, depth[v, u]], -1).astype(np.float64)


def unprojected(pixels: Array, intrinsic: Array, frame2camera: Array) -> Array:
    """Points (n, 3) in the frame, of (n, 3) [u v depth]; ``intrinsic`` (3, 3) may hold an augmentation of pixels."""
    rays = np.concatenate([pixels[:, :2], np.ones((len(pixels), 1))], 1) @ np.linalg.inv(intrinsic).T
    return transform(np.linalg.inv(frame2camera), rays * pixels[:, 2:])


def image_words(transform: ImageTransform) -> str:
    """An augmentation of a picture in words."""
    left, upper = transform.crop
    flip = ", mirrored" if transform.flip else ""
    turn = f", rotated {transform.rotate:+.2f} degrees" if transform.rotate else ""
    return f"resized by {transform.resize:.4g}, cropped at {left}, {upper}{flip}{turn}"


def bev_words(transform: BevTransform) -> str:
    """An augmentation of the bird's-eye view in words."""
    words = []
    if transform.rotate:
        words.append(f"rotated {transform.rotate:+.2f} degrees")
    if transform.scale != 1:
        words.append(f"scaled by {transform.scale:.4f}")
    words += [f"{axis} negated" for axis, flip in (("x", transform.flip_x), ("y", transform.flip_y)) if flip]
    return ", ".join(words) or "as it is"


def _picture(image: NDArray[np.float32], section: ImageAug) -> NDArray[np.uint8]:
    return shown(image, section.mean, section.std, bgr=section.reverse_channels)


def _short(camera: str) -> str:
    return camera.removeprefix("CAM_").replace("_", " ").lower()


def _points_told(depth: NDArray[np.float32] | None) -> list[str]:
    return [] if depth is None else [f"depth labels: {int(np.count_nonzero(depth))} pixels, drawn as points"]
