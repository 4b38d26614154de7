"""Solids made of flat, coloured faces.

Object frame: x forward, y left, z up, origin on the ground below the middle of the object; metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

#: Sides of a box, by the index of their face.
RIGHT, FRONT, LEFT, BACK = 0, 1, 2, 3


@dataclass(frozen=True)
class Mesh:
    """A solid of convex parts. The faces of a part are consecutive; a decal follows the face that it is painted on.

    Attributes:
        vertices: (V, 3) metres.
        faces: vertex indices of each face.
        normals: (F, 3) outward unit normals.
        points: (F, 3) one point of each face.
        colours: (F, 3) albedo, blue green red, 0 to 255.
        is_decal: (F,) whether the face is painted on another one.
        part_faces: (P, 2) index of the first face of each part, and of the face after its last one.
        boxes: (P, 2, 3) lowest and highest corner of the box around each part.
    """

    vertices: Array
    faces: list[NDArray[np.int64]]
    normals: Array
    points: Array
    colours: Array
    is_decal: NDArray[np.bool_]
    part_faces: NDArray[np.int64]
    boxes: Array


@dataclass
class MeshBuilder:
    """Collects parts; colours are given as red, green, blue from 0 to 255."""

    vertices: list[Array] = field(default_factory=list)
    faces: list[list[NDArray[np.int64]]] = field(default_factory=list)
    colours: list[list[Colour]] = field(default_factory=list)
    decals: list[list[bool]] = field(default_factory=list)
    hosts: list[list[int]] = field(default_factory=list)
    rims: list[tuple[Array, Array]] = field(default_factory=list)
    count: int = 0

    def extrude(
        self, start: Array, end: Array, colour: Colour, cap: Colour | None = None, start_cap: bool = False
    ) -> Part:
        """Add the convex solid between two polygons of (N, 3) corners; the start is closed only with ``start_cap``."""
        corners = len(start)
        base = self.count
        self.vertices.append(np.concatenate([start, end]))
        self.rims.append((start, end))
        self.count += 2 * corners
        first, second = base + np.arange(corners), base + corners + np.arange(corners)
        after = np.roll(np.arange(corners), -1)
        faces = [np.array([first[i], first[j], second[j], second[i]]) for i, j in enumerate(after)]
        colours: list[Colour] = [colour] * corners
        faces.append(second)
        colours.append(cap or colour)
        if start_cap:
            faces.append(first)
            colours.append(cap or colour)
        self.faces.append(faces)
        self.colours.append(colours)
        self.decals.append([False] * len(faces))
        self.hosts.append(list(range(len(faces))))
        return Part(self, len(self.faces) - 1)

    def box(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        z: tuple[float, float],
        colour: Colour,
        *,
        top: Colour | None = None,
        front: float = 0.0,
        back: float = 0.0,
        side: float = 0.0,
        shift: float = 0.0,
    ) -> Part:
        """Add a box whose top is narrowed by ``front``, ``back`` and ``side`` metres and moved forward by ``shift``."""
        low = np.array([[x[0], y[0], z[0]], [x[1], y[0], z[0]], [x[1], y[1], z[0]], [x[0], y[1], z[0]]])
        ends = x[0] + back + shift, x[1] - front + shift
        high = np.array(
            [
                [ends[0], y[0] + side, z[1]],
                [ends[1], y[0] + side, z[1]],
                [ends[1], y[1] - side, z[1]],
                [ends[0], y[1] - side, z[1]],
            ]
        )
        return self.extrude(low, high, colour, top, start_cap=shift != 0)

    def cylinder(
        self,
        position: tuple[float, float],
        radii: tuple[float, float],
        z: tuple[float, float],
        colour: Colour,
        sides: int = 8,
        top: Colour | None = None,
    ) -> Part:
        """Add an upright cylinder or cone frustum with ``radii`` at its two heights ``z``."""
        angle = 2 * np.pi * (np.arange(sides) + 0.5) / sides
        ring = np.stack([np.cos(angle), np.sin(angle), np.zeros(sides)], axis=1)
        centre = np.array([position[0], position[1], 0.0])
        low, high = (centre + radius * ring + [0, 0, height] for radius, height in zip(radii, z, strict=True))
        return self.extrude(low, high, colour, top)

    def disc(self, x: float, z: float, radius: float, y: tuple[float, float], colour: Colour, sides: int = 10) -> Part:
        """Add a wheel: a cylinder whose axis is y."""
        angle = 2 * np.pi * np.arange(sides) / sides
        ring = np.stack([x + radius * np.cos(angle), np.zeros(sides), z + radius * np.sin(angle)], axis=1)
        return self.extrude(np.add(ring, [0, y[0], 0]), np.add(ring, [0, y[1], 0]), colour, start_cap=True)

    def build(self, size: tuple[float, float, float] | None = None) -> Mesh:
        """The finished mesh; with ``size`` (length, width, height) it is stretched to that box."""
        vertices = np.concatenate(self.vertices)
        if size is not None:
            solid = [
                face
                for part, decals in zip(self.faces, self.decals, strict=True)
                for face, decal in zip(part, decals, strict=True)
                if not decal
            ]
            vertices = _fit(vertices, vertices[np.unique(np.concatenate(solid))], size)
        faces: list[NDArray[np.int64]] = []
        normals: list[Array] = []
        colours, decals, parts, boxes = [], [], [], []
        for part, part_faces in enumerate(self.faces):
            start = len(faces)
            solid = [face for face, decal in zip(part_faces, self.decals[part], strict=True) if not decal]
            part_vertices = vertices[np.unique(np.concatenate(solid))]
            centre = part_vertices.mean(axis=0)
            for host in [i for i, decal in enumerate(self.decals[part]) if not decal]:
                normal = _normal(vertices[part_faces[host]], centre)
                for index in [i for i, face_host in enumerate(self.hosts[part]) if face_host == host]:
                    faces.append(part_faces[index])
                    colours.append(self.colours[part][index])
                    decals.append(self.decals[part][index])
                    normals.append(normal)
            parts.append((start, len(faces)))
            boxes.append((part_vertices.min(axis=0), part_vertices.max(axis=0)))
        return Mesh(
            vertices=vertices,
            faces=faces,
            normals=np.array(normals),
            points=np.array([vertices[face[0]] for face in faces]),
            colours=np.array(colours, dtype=np.float64)[:, ::-1].copy(),
            is_decal=np.array(decals),
            part_faces=np.array(parts),
            boxes=np.array(boxes),
        )


@dataclass(frozen=True)
class Part:
    """A part of a mesh under construction, on which decals can be painted."""

    builder: MeshBuilder
    index: int

    def paint(self, side: int, outline: Sequence[tuple[float, float]], colour: Colour) -> Part:
        """Paint a convex polygon on a side face.

        Its coordinates run from 0 to 1 along the face's lower edge (on the right side from back to front, on the left
        from front to back, on the front from right to left, on the back from left to right) and upward; they may
        leave that range.
        """
        builder = self.builder
        start, end = builder.rims[self.index]
        after = (side + 1) % len(start)
        corners = start[side], start[after], end[after], end[side]
        u, v = np.array(outline, dtype=np.float64).T[:, :, None]
        points = (
            (1 - u) * (1 - v) * corners[0] + u * (1 - v) * corners[1] + u * v * corners[2] + (1 - u) * v * corners[3]
        )
        builder.vertices.append(points)
        builder.faces[self.index].append(builder.count + np.arange(len(points)))
        builder.count += len(points)
        builder.colours[self.index].append(colour)
        builder.decals[self.index].append(True)
        builder.hosts[self.index].append(side)
        return self

    def panel(self, side: int, u: tuple[float, float], v: tuple[float, float], colour: Colour) -> Part:
        """Paint a rectangle on a side face."""
        return self.paint(side, [(u[0], v[0]), (u[1], v[0]), (u[1], v[1]), (u[0], v[1])], colour)

    def wheel(self, side: int, u: float, v: float, radius: tuple[float, float], hub: Colour = (150, 152, 156)) -> Part:
        """Paint a wheel: a dark disc with a hub; ``radius`` in face units along u and v."""
        angle = 2 * np.pi * np.arange(12) / 12
        for scale, colour in ((1.0, (22.0, 22.0, 24.0)), (0.55, hub)):
            ring = [(u + scale * radius[0] * np.cos(a), v + scale * radius[1] * np.sin(a)) for a in angle]
            self.paint(side, ring, colour)
        return self


def _fit(vertices: Array, solid: Array, size: tuple[float, float, float]) -> Array:
    """Scale the vertices so that the box around ``solid`` gets the size; z = 0 stays at 0."""
    low, high = solid.min(axis=0), solid.max(axis=0)
    low[2] = 0
    middle = (low + high) / 2
    middle[2] = 0
    fitted: Array = (vertices - middle) * np.array(size) / (high - low)
    return fitted


def _normal(corners: Array, inside: Array) -> Array:
    """Unit normal of a face that points away from ``inside``."""
    normal = _cross(corners[1] - corners[0], corners[2] - corners[0])
    normal = normal / np.sqrt(normal @ normal)
    return -normal if normal @ (corners[0] - inside) < 0 else normal


def _cross(a: Array, b: Array) -> Array:
    """``numpy.cross`` of two single vectors, ten times as fast."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
