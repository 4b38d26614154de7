"""Camera images by the painter's algorithm.

The road is warped from its picture from above; solids are drawn from back to front as shaded convex faces. The fourth
channel of the canvas holds the index of the object drawn, so that the object in each pixel is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev_world.light import Light
from portbev_world.mesh import Mesh
from portbev_world.order import boxes_hide, footprints_hide, paint_order
from portbev_world.rig import Camera
from portbev_world.road import Ground

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_NEAR = 0.2
_FAR = 130.0
_GUARD = 3.0  # faces that leave the picture by more than this many half-widths are clipped
_NO_OWNER = 255
_SHIFT = 4
#: Below this size on the canvas, in pixels, an object is drawn without its painted details.
_PLAIN_BELOW = 9.0


@dataclass(frozen=True)
class Body:
    """An object to draw: its mesh and size (length, width, height) [m]."""

    mesh: Mesh
    size: tuple[float, float, float]


@dataclass(frozen=True)
class Picture:
    """A rendered view.

    Attributes:
        image: (H, W, 3) blue green red.
        owner: (S*H, S*W) index into ``seen`` of the body in each canvas pixel, 255 for none; S canvas pixels per image
            pixel and axis.
        seen: indices of the bodies in the field of view.
        visible: (len(seen),) canvas pixels that show each body.
        whole: (len(seen),) canvas pixels that would show it without occlusion.
    """

    image: Image
    owner: Image
    seen: list[int]
    visible: NDArray[np.int64]
    whole: NDArray[np.int64]


@dataclass(frozen=True)
class View:
    """A camera in the world: its global position (3,) and the yaw of its optical axis."""

    camera: Camera
    position: Array
    yaw: float

    @classmethod
    def of(cls, camera: Camera, ego: Array) -> View:
        """The view from an ego pose (x, y, yaw)."""
        cos, sin = np.cos(ego[2]), np.sin(ego[2])
        x, y, z = camera.position
        position = np.array([ego[0] + cos * x - sin * y, ego[1] + sin * x + cos * y, z])
        return cls(camera, position, float(ego[2] + camera.yaw))

    @property
    def axes(self) -> Array:
        """(3, 3) rows: the camera's right, down and forward axes in the global frame."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        return np.array([[sin, -cos, 0.0], [0.0, 0.0, -1.0], [cos, sin, 0.0]])


def render(
    view: View, bodies: list[Body], poses: Array, ground: Ground, light: Light, shadows: Image, scale: int, count: bool
) -> Picture:
    """Render the image of a camera.

    Args:
        view: the camera.
        bodies: N objects.
        poses: (N, 3) global x, y, yaw of each.
        ground: the road from above.
        light: sun and sky.
        shadows: shadow mask, the size of the ground's second level.
        scale: canvas pixels per image pixel and axis.
        count: whether to measure ``whole``, for which partly hidden bodies are drawn a second time.
    """
    canvas = _background(view, ground, light, shadows)
    if scale > 1:
        canvas = np.asarray(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)
    canvas = np.asarray(cv2.cvtColor(canvas, cv2.COLOR_BGR2BGRA), np.uint8)
    seen = _in_view(view, bodies, poses)
    sizes = np.array([bodies[i].size[:2] for i in seen]).reshape(-1, 2)
    placed = poses[seen].reshape(-1, 3)
    away = np.hypot(*(placed[:, :2] - view.position[:2]).T)
    drawings = [_Drawing(view, bodies[i], poses[i], light, scale) for i in seen]
    order = paint_order(footprints_hide(placed, sizes, view.position[:2]), away)
    for index in order:
        drawings[index].draw(canvas, index)
    owner = canvas[:, :, 3]
    visible = np.bincount(owner.ravel(), minlength=256)[: len(seen)]
    whole = visible.copy()
    if count:
        _count_whole(drawings, order, whole, owner.shape)
    image = canvas[:, :, :3]
    if scale > 1:
        image = np.asarray(cv2.resize(image, view.camera.size, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture(np.ascontiguousarray(image), owner, seen, visible, whole)


def cast_shadows(ground: Ground, bodies: list[Body], poses: Array, sun: Array, onto: Image) -> Image:
    """Add the bodies' shadows to a copy of a mask of the ground's second level."""
    mask = onto.copy()
    matrix = ground.matrix(1)
    for body, pose in zip(bodies, poses, strict=True):
        length, width, height = body.size
        reach = min(height, 14.0) / sun[2]
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [0.47 * length, 0.47 * width]
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        base = corners @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]
        points = np.concatenate([base, base - reach * 0.92 * sun[:2]])
        pixels = points @ matrix[:2, :2].T + matrix[:2, 2]
        hull = cv2.convexHull(np.round(pixels * 16).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 255, cv2.LINE_AA, 4)
    return mask


def _background(view: View, ground: Ground, light: Light, shadows: Image) -> Image:
    """Sky above the horizon, and ground below it with shadows and haze; farther ground comes from coarser levels."""
    camera = view.camera
    width, height = camera.size
    image = np.empty((height, width, 3), np.uint8)
    sky = light.sky(camera, view.yaw)
    image[: len(sky)] = sky
    focal, horizon = float(camera.intrinsic[1, 1]), float(camera.intrinsic[1, 2])
    first = int(np.floor(horizon)) + 1
    if first >= height:
        return image
    right, _, forward = view.axes
    from_ground = np.array(
        [
            [right[0], right[1], -right @ view.position],
            [0.0, 0.0, view.position[2]],
            [forward[0], forward[1], -forward @ view.position],
        ]
    )
    to_pixels = camera.intrinsic @ from_ground
    depth = view.position[2] * focal / (np.arange(first, height) - horizon)
    footprint = depth * np.sqrt(depth / view.position[2]) / focal
    level = np.clip(np.floor(np.log2(np.maximum(footprint / ground.resolution, 1e-9)) + 0.6), 0, len(ground.levels) - 1)
    for number in np.unique(level).astype(int):
        rows = np.nonzero(level == number)[0] + first
        top, count = int(rows[0]), len(rows)
        lift = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1.0]])
        matrix = lift @ to_pixels @ np.linalg.inv(ground.matrix(number))
        image[top : top + count] = cv2.warpPerspective(
            ground.levels[number], matrix, (width, count), flags=cv2.INTER_LINEAR, borderValue=ground.border
        )
    lift = np.array([[1, 0, 0], [0, 1, -first], [0, 0, 1.0]])
    matrix = lift @ to_pixels @ np.linalg.inv(ground.matrix(1))
    shade = cv2.warpPerspective(shadows, matrix, (width, height - first), flags=cv2.INTER_LINEAR)
    fade = light.fade(depth)[:, None].astype(np.float32)
    lit = (light.ambient + light.direct * light.sun[2]).astype(np.float32)
    keep = (1 - fade) * (1 - np.float32(light.shadow / 255) * shade)
    part = (
        image[first:].astype(np.float32) * keep[:, :, None] * lit + (fade * light.haze.astype(np.float32))[:, None, :]
    )
    image[first:] = np.clip(part, 0, 255).astype(np.uint8)
    return image


def _in_view(view: View, bodies: list[Body], poses: Array) -> list[int]:
    """Indices of the bodies that may be in the image: the nearest 255 of them."""
    radius = np.array([np.hypot(body.size[0], body.size[1]) / 2 for body in bodies])
    offset = poses[:, :2] - view.position[:2]
    axes = view.axes
    depth, right = offset @ axes[2, :2], offset @ axes[0, :2]
    camera = view.camera
    focal, centre, width = camera.intrinsic[0, 0], camera.intrinsic[0, 2], camera.size[0]
    left_edge, right_edge = -(centre + 1) / focal, (width - centre) / focal
    inside = (right - left_edge * depth) / np.hypot(1, left_edge) > -radius
    inside &= (right_edge * depth - right) / np.hypot(1, right_edge) > -radius
    inside &= (depth > _NEAR - radius) & (np.hypot(depth, right) < _FAR)
    chosen = np.nonzero(inside)[0]
    nearest = chosen[np.argsort(np.hypot(depth, right)[chosen], kind="stable")][:_NO_OWNER]
    return [int(i) for i in nearest]


class _Drawing:
    """The faces of one body projected to the canvas, ordered from back to front."""

    def __init__(self, view: View, body: Body, pose: Array, light: Light, scale: int) -> None:
        mesh = body.mesh
        cos, sin = np.cos(pose[2]), np.sin(pose[2])
        rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
        position = np.array([pose[0], pose[1], 0.0])
        eye = (view.position - position) @ rotation
        self.camera_points = (mesh.vertices @ rotation.T + position - view.position) @ view.axes.T
        depth = self.camera_points[:, 2]
        intrinsic = view.camera.intrinsic
        self.focal, self.centre = intrinsic[[0, 1], [0, 1]], intrinsic[:2, 2]
        self.scale = scale
        width, height = view.camera.size
        self.limits = _guard(intrinsic, width, height)
        safe = (depth >= _NEAR) & (self.camera_points @ self.limits.T >= 0).all(axis=1)
        self.all_safe = bool(safe.all())
        self.safe = safe
        self.pixels = self._project(self.camera_points)
        away = float(np.hypot(eye[0], eye[1]))
        plain = self.focal[0] * scale * max(body.size) / max(away, 1.0) < _PLAIN_BELOW
        facing = np.einsum("fk,fk->f", eye - mesh.points, mesh.normals) > 1e-6
        if plain:
            facing &= ~mesh.is_decal
        self.faces = self._sorted_faces(mesh, eye, facing)
        sun = light.sun @ rotation
        lit = light.ambient + np.clip(mesh.normals @ sun, 0, None)[:, None] * light.direct
        fade = float(light.fade(away))
        self.colours = np.clip(mesh.colours * lit * (1 - fade) + light.haze * fade, 0, 255).tolist()
        self.mesh = mesh

    def _sorted_faces(self, mesh: Mesh, eye: Array, facing: NDArray[np.bool_]) -> list[int]:
        middle = mesh.boxes.mean(axis=1)
        distance = np.linalg.norm(middle - eye, axis=1)
        order = paint_order(boxes_hide(mesh.boxes, eye), distance) if len(distance) > 1 else [0]
        faces: list[int] = []
        for part in order:
            start, end = mesh.part_faces[part]
            faces.extend((np.nonzero(facing[start:end])[0] + start).tolist())
        return faces

    def _project(self, points: Array) -> NDArray[np.int32]:
        """Canvas coordinates in 1/16 pixel; undefined for points outside the guard planes."""
        depth = np.where(points[:, 2:] >= _NEAR / 2, points[:, 2:], 1.0)
        pixels = points[:, :2] / depth * self.focal + self.centre
        canvas = (pixels + 0.5) * self.scale - 0.5
        fixed: NDArray[np.int32] = np.round(np.clip(canvas, -1e6, 1e6) * (1 << _SHIFT)).astype(np.int32)
        return fixed

    def outline(self, face: int) -> NDArray[np.int32] | None:
        """Corners of a face on the canvas; None when all of it is outside the guard planes."""
        corners = self.mesh.faces[face]
        if self.all_safe or self.safe[corners].all():
            return self.pixels[corners]
        points = _clip(self.camera_points[corners], self.limits)
        return self._project(points) if len(points) > 2 else None

    def draw(self, canvas: Image, index: int) -> None:
        """Draw the faces; write ``index`` to the fourth channel."""
        for face in self.faces:
            outline = self.outline(face)
            if outline is not None:
                blue, green, red = self.colours[face]
                cv2.fillConvexPoly(canvas, outline, (blue, green, red, index), cv2.LINE_8, _SHIFT)

    def bounds(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Columns and rows (left, top, right, bottom) of the canvas that the body may cover."""
        if not self.all_safe:
            return 0, 0, shape[1], shape[0]
        low, high = self.pixels.min(axis=0) >> _SHIFT, (self.pixels.max(axis=0) >> _SHIFT) + 2
        left, top = np.clip(low - 1, 0, [shape[1], shape[0]])
        right, bottom = np.clip(high, 0, [shape[1], shape[0]])
        return int(left), int(top), int(right), int(bottom)


def _count_whole(drawings: list[_Drawing], order: list[int], whole: NDArray[np.int64], shape: tuple[int, ...]) -> None:
    """Count the canvas pixels of each body drawn alone, for bodies that a later one may have covered."""
    bounds = np.array([drawing.bounds(shape) for drawing in drawings]).reshape(-1, 4)
    scratch = np.zeros(shape, np.uint8)
    for rank, index in enumerate(order):
        left, top, right, bottom = (int(side) for side in bounds[index])
        if right <= left or bottom <= top:
            continue
        later = bounds[order[rank + 1 :]]
        over = (later[:, 0] < right) & (later[:, 2] > left) & (later[:, 1] < bottom) & (later[:, 3] > top)
        if not over.any():
            continue
        drawing = drawings[index]
        for face in drawing.faces:
            outline = drawing.outline(face)
            if outline is not None:
                cv2.fillConvexPoly(scratch, outline, 1, cv2.LINE_8, _SHIFT)
        patch = scratch[top:bottom, left:right]
        whole[index] = int(cv2.countNonZero(np.ascontiguousarray(patch)))
        patch[:] = 0


def _guard(intrinsic: Array, width: int, height: int) -> Array:
    """(4, 3) guard planes through the eye, outside the image; points with a product >= 0 are inside."""
    fx, fy, cx, cy = intrinsic[0, 0], intrinsic[1, 1], intrinsic[0, 2], intrinsic[1, 2]
    left, right = (cx + _GUARD * width / 2) / fx, (width - cx + _GUARD * width / 2) / fx
    up, down = (cy + _GUARD * height / 2) / fy, (height - cy + _GUARD * height / 2) / fy
    return np.array([[1, 0, left], [-1, 0, right], [0, 1, up], [0, -1, down]], dtype=np.float64)


def _clip(points: Array, limits: Array) -> Array:
    """The part of a convex polygon before the near plane and within the guard planes (Sutherland-Hodgman)."""
    planes = [(np.array([0, 0, 1.0]), _NEAR), *((plane, 0.0) for plane in limits)]
    for normal, offset in planes:
        value = points @ normal - offset
        if (value >= 0).all():
            continue
        if (value < 0).all():
            return points[:0]
        kept = []
        for i in range(len(points)):
            j = (i + 1) % len(points)
            if value[i] >= 0:
                kept.append(points[i])
            if (value[i] >= 0) != (value[j] >= 0):
                kept.append(points[i] + (points[j] - points[i]) * (value[i] / (value[i] - value[j])))
        points = np.array(kept)
    return points
