"""Shapes of motor vehicles and trailers.

Each function takes the size (length, width, height) in metres and a generator for colours and details.
"""

from __future__ import annotations

import numpy as np

from portbev_world.mesh import BACK, FRONT, LEFT, RIGHT, Colour, Mesh, MeshBuilder, Part

Size = tuple[float, float, float]
GLASS: Colour = (46, 62, 78)
DARK: Colour = (30, 30, 33)
LAMP: Colour = (250, 244, 214)
REAR: Colour = (214, 24, 28)

CAR_PAINTS = (
    (236, 238, 240), (196, 200, 204), (120, 124, 130), (44, 46, 50), (158, 28, 34), (34, 66, 128),
    (60, 104, 140), (28, 74, 58), (142, 120, 96), (92, 22, 36), (210, 214, 206), (74, 78, 84),
)  # fmt: skip
TRUCK_PAINTS = ((228, 230, 232), (40, 84, 150), (170, 36, 34), (56, 116, 84), (210, 120, 36), (90, 94, 100))
BUS_PAINTS = ((222, 170, 34), (196, 40, 44), (36, 128, 96), (48, 92, 168), (232, 108, 30), (130, 60, 132))


def car(size: Size, rng: np.random.Generator, paint: Colour | None = None, roof_light: bool = False) -> Mesh:
    """A saloon, hatchback, estate or SUV."""
    length, width, height = size
    colour = paint or pick(rng, CAR_PAINTS)
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    waist = height * rng.uniform(0.54, 0.6)
    build.box((-half + 0.15, half - 0.15), (-wide + 0.1, wide - 0.1), (0.14, 0.3), DARK)
    body = build.box((-half, half), (-wide, wide), (0.3, waist), colour, front=0.12, back=0.06, side=0.06)
    _lights(body, 0.6, 0.9)
    _axles(body, length, waist - 0.3, 0.3, (0.19, 0.81), 0.33)
    body.panel(FRONT, (0.25, 0.75), (0.12, 0.45), DARK).panel(BACK, (0.36, 0.64), (0.35, 0.62), (232, 232, 226))
    tail = -half + (0.12 if rng.random() < 0.6 else 0.75)
    nose = half - rng.uniform(1.2, 1.45)
    cabin = build.box(
        (tail, nose),
        (-wide + 0.08, wide - 0.08),
        (waist, height),
        colour,
        front=0.75,
        back=0.35 if tail < -half + 0.5 else 0.6,
        side=0.2,
    )
    cabin.panel(FRONT, (0.08, 0.92), (0.08, 0.9), GLASS).panel(BACK, (0.1, 0.9), (0.15, 0.88), GLASS)
    for side in (RIGHT, LEFT):
        cabin.panel(side, (0.06, 0.47), (0.1, 0.85), GLASS).panel(side, (0.52, 0.94), (0.1, 0.85), GLASS)
    if roof_light:
        build.box((-0.3, 0.1), (-0.55, 0.0), (height, height + 0.14), (30, 60, 220))
        build.box((-0.3, 0.1), (0.0, 0.55), (height, height + 0.14), (220, 30, 40))
        for side in (RIGHT, LEFT):
            body.panel(side, (0.0, 1.0), (0.45, 0.75), (30, 50, 140))
    return build.build(size)


def truck(size: Size, rng: np.random.Generator) -> Mesh:
    """A lorry: a cab and a closed or open body behind it."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    cab_height = min(height, rng.uniform(2.3, 2.7)) if height > 2.4 else height * 0.95
    cab_length = min(2.0, 0.32 * length)
    split = half - cab_length
    build.box((-half + 0.1, half - 0.2), (-wide + 0.2, wide - 0.2), (0.35, 0.85), DARK)
    cab = build.box(
        (split, half), (-wide + 0.05, wide - 0.05), (0.45, cab_height), pick(rng, TRUCK_PAINTS), front=0.18, side=0.06
    )
    cab.panel(FRONT, (0.08, 0.92), (0.5, 0.88), GLASS).panel(FRONT, (0.15, 0.85), (0.12, 0.36), DARK)
    cab.panel(FRONT, (0.02, 0.14), (0.08, 0.2), LAMP).panel(FRONT, (0.86, 0.98), (0.08, 0.2), LAMP)
    for side, span in ((RIGHT, (0.3, 0.85)), (LEFT, (0.15, 0.7))):
        cab.panel(side, span, (0.5, 0.86), GLASS)
    load = pick(rng, ((232, 232, 228), (236, 236, 236), (188, 192, 196), (196, 176, 140), (62, 104, 160)))
    bed = build.box((-half, split - 0.15), (-wide, wide), (0.9, height), load)
    stripe = pick(rng, TRUCK_PAINTS)
    for side in (RIGHT, LEFT):
        bed.panel(side, (0.0, 1.0), (0.0, 0.05), DARK).panel(side, (0.15, 0.85), (0.4, 0.68), stripe)
    bed.panel(BACK, (0.49, 0.51), (0.06, 0.96), DARK).panel(BACK, (0.04, 0.16), (0.02, 0.08), REAR)
    bed.panel(BACK, (0.84, 0.96), (0.02, 0.08), REAR)
    _axles(bed, length - cab_length - 0.15, height - 0.9, 0.9, (0.18, 0.34) if length > 6 else (0.24,), 0.48)
    _axles(cab, cab_length, cab_height - 0.45, 0.45, (0.52,), 0.48)
    return build.build(size)


def bus(size: Size, rng: np.random.Generator) -> Mesh:
    """A city bus or coach: a long box with a band of windows."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    colour = pick(rng, BUS_PAINTS)
    roof = (236, 236, 232) if rng.random() < 0.5 else colour
    build.box((-half + 0.1, half - 0.1), (-wide + 0.12, wide - 0.12), (0.2, 0.35), DARK)
    body = build.box((-half, half), (-wide, wide), (0.35, height), colour, top=roof, front=0.1, side=0.08)
    panes = max(4, round(length / 1.6))
    for side in (RIGHT, LEFT):
        body.panel(side, (0.0, 1.0), (0.0, 0.13), (236, 236, 230))
        body.panel(side, (0.02, 0.98), (0.43, 0.84), DARK)
        for pane in range(panes):
            low = 0.03 + 0.94 * pane / panes
            body.panel(side, (low, low + 0.94 / panes - 0.012), (0.46, 0.82), GLASS)
    for door in (0.9, 0.5):
        body.panel(RIGHT, (door - 0.05, door + 0.05), (0.04, 0.84), (70, 84, 96))
        body.panel(RIGHT, (door - 0.002, door + 0.002), (0.04, 0.84), DARK)
    body.panel(FRONT, (0.05, 0.95), (0.32, 0.8), GLASS).panel(FRONT, (0.18, 0.82), (0.85, 0.96), (20, 20, 22))
    body.panel(FRONT, (0.25, 0.75), (0.88, 0.93), (250, 170, 40)).panel(BACK, (0.12, 0.88), (0.5, 0.84), GLASS)
    _lights(body, 0.08, 0.18)
    _axles(body, length, height - 0.35, 0.35, (0.22, 0.78), 0.5)
    return build.build(size)


def trailer(size: Size, rng: np.random.Generator) -> Mesh:
    """A semi-trailer: a long ribbed body on axles at the back, landing legs in front."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    colour = pick(rng, ((206, 208, 210), (224, 226, 226), (172, 178, 184), (126, 146, 166), (192, 186, 174)))
    build.box((-half + 0.3, -half + 0.4 * length), (-wide + 0.25, wide - 0.25), (0.4, 1.1), DARK)
    build.box((half - 0.28 * length, half - 0.25 * length), (-wide + 0.4, wide - 0.4), (0.0, 1.1), (96, 98, 102))
    body = build.box((-half, half), (-wide, wide), (1.1, height), colour)
    ribs = max(4, round(length / 1.1))
    shade = darker(colour, 0.72)
    for side in (RIGHT, LEFT):
        for rib in range(1, ribs):
            body.panel(side, (rib / ribs - 0.006, rib / ribs + 0.006), (0.04, 0.97), shade)
        for mark in range(0, 10):
            body.panel(side, (mark / 10 + 0.02, mark / 10 + 0.06), (0.0, 0.035), REAR if mark % 2 else (240, 240, 240))
    body.panel(BACK, (0.485, 0.515), (0.05, 0.96), DARK).panel(BACK, (0.3, 0.32), (0.08, 0.92), (90, 92, 96))
    body.panel(BACK, (0.68, 0.7), (0.08, 0.92), (90, 92, 96))
    for mark in range(6):
        body.panel(BACK, (mark / 6, (mark + 1) / 6), (0.0, 0.045), (240, 240, 240) if mark % 2 else REAR)
    body.panel(FRONT, (0.15, 0.85), (0.35, 0.7), shade)
    _axles(body, length, height - 1.1, 1.1, (0.08, 0.18, 0.28), 0.5)
    return build.build(size)


def construction_vehicle(size: Size, rng: np.random.Generator) -> Mesh:
    """An excavator on tracks or a wheel loader, in construction yellow or orange."""
    length, width, height = size
    build = MeshBuilder()
    half, wide = length / 2, width / 2
    colour = pick(rng, ((250, 190, 20), (244, 176, 12), (246, 140, 16)))
    deck = 0.36 * height
    if rng.random() < 0.6:
        for low, high in ((-wide, -wide + 0.6), (wide - 0.6, wide)):
            track = build.box((-half, half - 0.3 * length), (low, high), (0.0, 0.3 * height), DARK, front=0.3, back=0.3)
            for side in (RIGHT, LEFT):
                track.panel(side, (0.12, 0.88), (0.3, 0.62), (92, 90, 84))
        build.box((-half + 0.4, half - 0.35 * length), (-wide + 0.65, wide - 0.65), (0.3, deck), (62, 60, 58))
    else:
        for x in (-half + 0.8, half - 0.42 * length):
            for low, high in ((-wide, -wide + 0.5), (wide - 0.5, wide)):
                build.disc(x, 0.78, 0.76, (low, high), DARK, 12)
        build.box((-half + 0.2, half - 0.3 * length), (-wide + 0.55, wide - 0.55), (0.5, deck), (62, 60, 58))
    engine = build.box(
        (-half, -half + 0.34 * length), (-wide + 0.1, wide - 0.1), (deck, 0.72 * height), colour, back=0.15
    )
    for side in (RIGHT, LEFT, BACK):
        engine.panel(side, (0.2, 0.8), (0.3, 0.62), DARK)
    cab = build.box(
        (-half + 0.36 * length, -half + 0.58 * length), (-0.1 * width, wide - 0.15), (deck, height), colour, front=0.12
    )
    for side in (RIGHT, FRONT, LEFT, BACK):
        cab.panel(side, (0.1, 0.9), (0.3, 0.92), GLASS)
    build.box(
        (-half + 0.36 * length, -half + 0.58 * length), (-wide + 0.15, -0.12 * width), (deck, 0.6 * height), colour
    )
    reach = half - 0.02 * length
    build.box(
        (-half + 0.6 * length, -half + 0.72 * length),
        (-0.34 * width, -0.18 * width),
        (0.45 * height, 0.93 * height),
        colour,
        shift=0.12 * length,
    )
    build.box(
        (reach - 0.2 * length, reach - 0.08 * length),
        (-0.34 * width, -0.18 * width),
        (0.3 * height, 0.93 * height),
        colour,
        shift=-0.03 * length,
    )
    bucket = build.box(
        (reach - 0.2 * length, half), (-0.42 * width, 0.3 * width), (0.05, 0.28 * height), (106, 100, 88), front=0.1
    )
    bucket.panel(FRONT, (0.0, 1.0), (0.0, 0.25), DARK)
    return build.build(size)


def pick(rng: np.random.Generator, choices: tuple[Colour, ...]) -> Colour:
    """A random one of the colours, made a little lighter or darker."""
    base = choices[int(rng.integers(len(choices)))]
    factor = float(rng.uniform(0.88, 1.08))
    return (min(255.0, base[0] * factor), min(255.0, base[1] * factor), min(255.0, base[2] * factor))


def darker(colour: Colour, factor: float) -> Colour:
    """The colour multiplied by ``factor``."""
    return (factor * colour[0], factor * colour[1], factor * colour[2])


def _lights(body: Part, low: float, high: float) -> None:
    """Paint headlamps and tail lamps between two heights, in units of the body's height."""
    for left, right in ((0.03, 0.2), (0.8, 0.97)):
        body.panel(FRONT, (left, right), (low, high), LAMP).panel(BACK, (left, right), (low, high), REAR)


def _axles(body: Part, length: float, height: float, base: float, axles: tuple[float, ...], radius: float) -> None:
    """Paint wheels on both sides of a body whose lower edge is at height ``base``; the wheels stand on the ground.

    ``axles``: positions of the axles as shares of the length, from the back.
    """
    for side in (RIGHT, LEFT):
        for axle in axles:
            u = axle if side == RIGHT else 1 - axle
            body.wheel(side, u, (radius - base) / height, (radius / length, radius / height))
