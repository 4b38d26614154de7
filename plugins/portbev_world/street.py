"""Shapes of people, cycles, street furniture and surroundings.

Each function takes the size (length, width, height) in metres and a generator for colours and details.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from portbev_world.mesh import BACK, FRONT, LEFT, RIGHT, Colour, Mesh, MeshBuilder
from portbev_world.vehicles import DARK, GLASS, LAMP, REAR, Size, darker, pick

SKIN = ((240, 200, 172), (206, 156, 118), (150, 104, 76), (98, 66, 48), (226, 182, 150))
HAIR = ((32, 26, 24), (84, 56, 36), (160, 128, 84), (110, 108, 106))
SHIRTS = (
    (196, 40, 48), (40, 92, 176), (238, 238, 238), (44, 44, 50), (58, 128, 84),
    (222, 186, 60), (134, 70, 140), (96, 142, 190), (188, 110, 84), (120, 124, 130),
)  # fmt: skip
TROUSERS = ((40, 48, 72), (34, 34, 38), (92, 84, 72), (70, 88, 120), (126, 116, 100))
HI_VIS: Colour = (206, 240, 40)


def pedestrian(size: Size, rng: np.random.Generator, worker: bool = False) -> Mesh:
    """A walking person: legs apart, swinging arms, head."""
    length, width, height = size
    build = MeshBuilder()
    shirt = HI_VIS if worker else pick(rng, SHIRTS)
    trousers, skin = pick(rng, TROUSERS), pick(rng, SKIN)
    hair = (244.0, 196.0, 30.0) if worker else pick(rng, HAIR)
    hip, shoulder, chin = 0.47 * height, 0.82 * height, 0.86 * height
    stride, hand, thick = 0.5 * length, 0.5 * width, height / 1.77
    leg, shoulders, sleeve = (0.03 * width, 0.28 * width), 0.33 * width, 0.35 * width
    front, back = stride - 0.22 * thick, stride - 0.1 * thick
    build.box((-0.02, 0.16 * thick), leg, (0.0, hip), trousers, shift=-0.1 * thick)
    build.box((-back, -back + 0.18 * thick), (-leg[1], -leg[0]), (0.0, hip), trousers, shift=front)
    torso = build.box((-0.13 * thick, 0.13 * thick), (-shoulders, shoulders), (hip, shoulder), shirt, side=-0.02)
    if worker:
        for side in (FRONT, BACK):
            torso.panel(side, (0.0, 1.0), (0.35, 0.47), (240, 240, 240))
    build.box((-0.06 * thick, 0.08 * thick), (sleeve, hand), (0.46 * height, shoulder), shirt, shift=-0.05)
    arm = (stride - 0.2 * thick, stride)
    build.box(arm, (-hand, -sleeve), (0.48 * height, shoulder), shirt, shift=-stride + 0.16 * thick)
    build.cylinder((0, 0), (0.055 * thick, 0.055 * thick), (shoulder, chin), skin, 6)
    head = build.cylinder((0, 0), (0.1 * thick, 0.11 * thick), (chin, 0.94 * height), skin, 8)
    for behind in (2, 3, 4):
        head.panel(behind, (0.0, 1.0), (0.0, 1.0), hair)
    build.cylinder((-0.01, 0), (0.125 * thick, 0.09 * thick), (0.94 * height, height), hair, 8)
    return build.build(size)


def motorcycle(size: Size, rng: np.random.Generator, rider: bool) -> Mesh:
    """A motorcycle or scooter: thick wheels and a full body."""
    length, width, height = size
    build = MeshBuilder()
    half = length / 2
    paint = pick(rng, ((178, 24, 30), (30, 32, 36), (28, 70, 150), (34, 34, 38), (226, 120, 24)))
    radius = 0.32
    for x in (-half + radius, half - radius):
        build.disc(x, radius, radius, (-0.09, 0.09), (20, 20, 22))
        build.disc(x, radius, 0.5 * radius, (-0.1, 0.1), (140, 142, 146), 8)
    build.box((-0.42, 0.4), (-0.18, 0.18), (0.22, 0.5), (70, 72, 76))
    body = build.box((-half + 0.2, half - 0.55), (-0.2, 0.2), (0.5, 0.78), paint, front=0.1, back=0.3, side=0.05)
    body.panel(BACK, (0.2, 0.8), (0.4, 0.8), REAR)
    shield = build.box((half - 0.52, half - 0.3), (-0.2, 0.2), (0.55, 1.0), paint, front=0.12)
    shield.panel(FRONT, (0.25, 0.75), (0.5, 0.85), LAMP)
    build.box((half - 0.62, half - 0.55), (-width / 2, width / 2), (0.95, 1.03), DARK)
    if rider:
        _rider(build, rng, seat=0.8, height=max(height, 1.5), lean=0.12, helmet=True)
    else:
        build.box((-half + 0.3, half - 0.9), (-0.14, 0.14), (0.79, 0.86), DARK)
        build.box((half - 0.5, half - 0.45), (-0.16, 0.16), (1.01, height), GLASS, shift=-0.05)
    return build.build(size)


def bicycle(size: Size, rng: np.random.Generator, rider: bool) -> Mesh:
    """A bicycle: thin wheels and an open frame."""
    length, width, height = size
    build = MeshBuilder()
    half, radius = length / 2, 0.34
    paint = pick(rng, ((40, 160, 96), (220, 220, 220), (60, 150, 210), (214, 60, 110), (236, 200, 40)))
    for x in (-half + radius, half - radius):
        _open_wheel(build, x, radius)
    build.box((-half + radius, -half + radius + 0.06), (-0.03, 0.03), (0.3, 0.36), paint)
    build.box((-0.22, 0.36), (-0.03, 0.03), (0.72, 0.79), paint)
    build.box((-0.24, -0.17), (-0.03, 0.03), (0.28, 0.72), paint, shift=-0.03)
    build.box((0.3, 0.37), (-0.03, 0.03), (0.34, 0.72), paint, shift=0.02)
    build.box((-0.16, 0.26), (-0.03, 0.03), (0.27, 0.34), paint)
    build.box((-0.36, -0.12), (-0.08, 0.08), (0.86, 0.93), DARK)
    build.box((half - 0.5, half - 0.44), (-width / 2, width / 2), (0.96, 1.02), DARK)
    if rider:
        _rider(build, rng, seat=0.94, height=max(height, 1.6), lean=0.22, helmet=rng.random() < 0.5)
    return build.build(size)


def _open_wheel(build: MeshBuilder, x: float, radius: float) -> None:
    """A tyre of eight straight pieces, open in the middle."""
    angle = 2 * np.pi * np.arange(9) / 8
    for start, end in pairwise(angle):
        ring = [
            (r * np.cos(a), r * np.sin(a))
            for a, r in ((start, radius), (end, radius), (end, radius - 0.07), (start, radius - 0.07))
        ]
        side = np.array([[x + dx, 0.0, radius + dz] for dx, dz in ring])
        build.extrude(np.add(side, [0, -0.025, 0]), np.add(side, [0, 0.025, 0]), (26, 26, 28), start_cap=True)


def _rider(build: MeshBuilder, rng: np.random.Generator, seat: float, height: float, lean: float, helmet: bool) -> None:
    shirt, trousers, skin = pick(rng, SHIRTS), pick(rng, TROUSERS), pick(rng, SKIN)
    for low, high in ((-0.24, -0.1), (0.1, 0.24)):
        build.box((0.0, 0.2), (low, high), (0.28, seat - 0.02), trousers, shift=-0.12)
    top = height - 0.3
    build.box((-0.3, -0.02), (-0.21, 0.21), (seat, top), shirt, shift=lean)
    for low, high in ((-0.3, -0.22), (0.22, 0.3)):
        build.box((0.1, 0.4), (low, high), (seat + 0.16, top - 0.04), shirt, shift=-0.18, front=0.12)
    head = -0.14 + lean
    build.cylinder((head, 0), (0.1, 0.12), (top + 0.02, top + 0.16), skin, 8)
    build.cylinder(
        (head, 0), (0.14, 0.09), (top + 0.16, height), (230.0, 230.0, 232.0) if helmet else pick(rng, HAIR), 8
    )


def traffic_cone(size: Size, rng: np.random.Generator) -> Mesh:
    """A cone or delineator: orange with white bands on a dark foot."""
    length, _, height = size
    build = MeshBuilder()
    orange, white = pick(rng, ((255, 104, 16), (255, 88, 24))), (244.0, 244.0, 240.0)
    half = length / 2
    build.box((-half, half), (-half, half), (0.0, 0.06), (40, 36, 34) if rng.random() < 0.6 else orange)
    foot, tip = 0.8 * half, 0.2 * half
    levels = (0.06, 0.3, 0.5, 0.68, 0.84, 1.0)
    for band, (low, high) in enumerate(pairwise(levels)):
        radii = (foot + (tip - foot) * low, foot + (tip - foot) * high)
        build.cylinder((0, 0), radii, (low * height if band else 0.06, high * height), white if band % 2 else orange, 8)
    return build.build(size)


def barrier(size: Size, rng: np.random.Generator) -> Mesh:
    """A jersey barrier with bold stripes; its long side is y, as nuScenes annotates it."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    style = int(rng.integers(3))
    base: Colour = ((226, 226, 222), (250, 118, 30), (188, 186, 180))[style]
    stripe: Colour = ((206, 30, 34), (244, 244, 240), (232, 150, 30))[style]
    foot = build.box((-half, half), (-wide, wide), (0.0, 0.28 * height), base, front=0.22 * length, back=0.22 * length)
    wall = build.box(
        (-0.28 * length, 0.28 * length),
        (-wide, wide),
        (0.28 * height, height),
        base,
        front=0.08 * length,
        back=0.08 * length,
    )
    for side in (FRONT, BACK):
        foot.panel(side, (0.3, 0.42), (0.0, 0.3), DARK).panel(side, (0.58, 0.7), (0.0, 0.3), DARK)
        for start in np.arange(0.02, 0.9, 0.25):
            slanted = [(start, 0.15), (start + 0.11, 0.15), (start + 0.15, 0.9), (start + 0.04, 0.9)]
            wall.paint(side, slanted, stripe)
    for side in (RIGHT, LEFT):
        wall.panel(side, (0.0, 1.0), (0.3, 0.8), stripe)
    return build.build(size)


def bicycle_rack(size: Size, rng: np.random.Generator) -> Mesh:
    """A row of steel hoops along x."""
    length, width, height = size
    build = MeshBuilder()
    steel = (168.0, 172.0, 176.0)
    for x in np.linspace(-length / 2 + 0.03, length / 2 - 0.03, max(2, round(length / 0.9))):
        for y in (-width / 2, width / 2 - 0.06):
            build.box((x - 0.03, x + 0.03), (y, y + 0.06), (0.0, height - 0.06), steel)
        build.box((x - 0.03, x + 0.03), (-width / 2, width / 2), (height - 0.06, height), steel)
    return build.build(size)


def debris(size: Size, rng: np.random.Generator) -> Mesh:
    """Cardboard boxes and bags."""
    length, width, height = size
    build = MeshBuilder()
    build.box(
        (-length / 2, 0.05 * length),
        (-width / 2, width / 2),
        (0, height),
        pick(rng, ((176, 136, 92), (60, 62, 60))),
        side=0.05,
    )
    build.box(
        (0.08 * length, length / 2),
        (-width / 2, 0.2 * width),
        (0, 0.6 * height),
        pick(rng, ((150, 112, 74), (90, 96, 90))),
    )
    return build.build(size)


def pushable(size: Size, rng: np.random.Generator) -> Mesh:
    """A wheeled rubbish bin."""
    length, width, height = size
    build = MeshBuilder()
    colour = pick(rng, ((44, 92, 60), (52, 56, 64), (34, 70, 120)))
    build.box(
        (-length / 2 + 0.06, length / 2 - 0.06),
        (-width / 2 + 0.04, width / 2 - 0.04),
        (0, 0.9 * height),
        colour,
        front=-0.05,
        back=-0.05,
        side=-0.03,
    )
    build.box(
        (-length / 2, length / 2),
        (-width / 2, width / 2),
        (0.9 * height, height),
        darker(colour, 0.7),
        front=0.1,
    )
    return build.build(size)


def animal(size: Size, rng: np.random.Generator) -> Mesh:
    """A dog."""
    length, width, height = size
    build = MeshBuilder()
    fur = pick(rng, ((120, 82, 50), (46, 40, 36), (206, 190, 166)))
    half, wide = length / 2, width / 2
    for x in (-half + 0.15, half - 0.4):
        for y in (-wide, wide - 0.07):
            build.box((x, x + 0.08), (y, y + 0.07), (0, 0.5 * height), fur)
    build.box((-half + 0.1, half - 0.28), (-wide, wide), (0.5 * height, 0.85 * height), fur)
    build.box((half - 0.26, half), (-0.7 * wide, 0.7 * wide), (0.65 * height, height), fur, front=0.08)
    return build.build(size)


def stroller(size: Size, rng: np.random.Generator) -> Mesh:
    """A pram."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    colour = pick(rng, SHIRTS)
    for x in (-half + 0.14, half - 0.14):
        for low, high in ((-wide, -wide + 0.06), (wide - 0.06, wide)):
            build.disc(x, 0.13, 0.13, (low, high), DARK, 8)
    build.box((-half + 0.2, half - 0.1), (-wide + 0.07, wide - 0.07), (0.3, 0.65), colour, front=0.08)
    build.box((half - 0.45, half - 0.1), (-wide + 0.07, wide - 0.07), (0.66, height), colour, front=0.12, back=0.05)
    build.box((-half, -half + 0.05), (-wide + 0.07, wide - 0.07), (0.85, 0.9), DARK)
    return build.build(size)


def building(size: Size, rng: np.random.Generator) -> Mesh:
    """A house with rows of windows, facing the road with its right and left sides."""
    length, width, height = size
    build = MeshBuilder()
    colour = pick(
        rng, ((164, 98, 78), (198, 186, 164), (150, 152, 156), (216, 208, 194), (178, 142, 108), (122, 116, 120))
    )
    body = build.box((-length / 2, length / 2), (-width / 2, width / 2), (0, height), colour, top=(110, 106, 104))
    storeys, columns = max(2, round(height / 3.2)), max(2, round(length / 4.0))
    pane: Colour = (88, 110, 130)
    for side, count in (
        (RIGHT, columns),
        (LEFT, columns),
        (FRONT, max(2, round(width / 4))),
        (BACK, max(2, round(width / 4))),
    ):
        body.panel(side, (0.0, 1.0), (0.0, 0.5 / height), darker(colour, 0.6))
        for storey in range(storeys):
            low = (storey + 0.3) / storeys
            for column in range(count):
                left = (column + 0.25) / count
                body.panel(side, (left, left + 0.5 / count), (low, low + 0.5 / storeys), pane)
    return build.build(size)


def tree(size: Size, rng: np.random.Generator) -> Mesh:
    """A trunk and a crown of three storeys."""
    length, _, height = size
    build = MeshBuilder()
    radius = length / 2
    green = pick(rng, ((66, 104, 48), (84, 120, 58), (52, 88, 50), (112, 122, 52)))
    build.cylinder((0, 0), (0.16, 0.12), (0, 0.42 * height), (96, 74, 56), 6)
    lighter = darker(green, 1.12)
    build.cylinder((0, 0), (0.62 * radius, radius), (0.4 * height, 0.58 * height), green, 9)
    build.cylinder((0, 0), (radius, 0.8 * radius), (0.58 * height, 0.8 * height), lighter, 9)
    build.cylinder((0, 0), (0.8 * radius, 0.25 * radius), (0.8 * height, height), green, 9)
    return build.build(size)


def street_lamp(size: Size, rng: np.random.Generator) -> Mesh:
    """A pole with an arm."""
    length, _, height = size
    build = MeshBuilder()
    steel = (120.0, 124.0, 128.0)
    half = length / 2
    build.cylinder((-half + 0.1, 0), (0.09, 0.06), (0, height - 0.12), steel, 6)
    build.box((-half, half), (-0.08, 0.08), (height - 0.12, height), steel)
    return build.build(size)


def traffic_sign(size: Size, rng: np.random.Generator) -> Mesh:
    """A sign on a post."""
    _, width, height = size
    build = MeshBuilder()
    build.box((-0.04, 0.04), (-0.04, 0.04), (0, height - width), (140, 142, 146))
    plate = build.box((-0.05, 0.05), (-width / 2, width / 2), (height - width, height), (224, 226, 226))
    plate.panel(FRONT, (0.08, 0.92), (0.08, 0.92), pick(rng, ((30, 80, 170), (200, 30, 36), (30, 130, 80))))
    return build.build(size)
