"""RADIal's evaluations in plain loops over boxes, and polygon clipping one corner at a time, in world coordinates."""

from __future__ import annotations

import math

import numpy as np

PI = math.pi


def corners(box, sign=1.0):
    """Corners of a footprint, counter-clockwise."""
    cos, sin = math.cos(box[6]), sign * math.sin(box[6])
    half = [(box[3] / 2, box[4] / 2), (-box[3] / 2, box[4] / 2), (-box[3] / 2, -box[4] / 2), (box[3] / 2, -box[4] / 2)]
    return [(box[0] + x * cos - y * sin, box[1] + x * sin + y * cos) for x, y in half]


def polygon_area(points):
    """Shoelace formula about the first corner."""
    if len(points) < 3:
        return 0.0
    x0, y0 = points[0]
    total = 0.0
    for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1], strict=True):
        total += (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    return abs(total) / 2


def shared(first, second):
    """Area that two convex counter-clockwise polygons share."""
    result = list(first)
    for (ax, ay), (bx, by) in zip(second, second[1:] + second[:1], strict=True):
        before, result = result, []
        sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in before]
        for index, (point, side) in enumerate(zip(before, sides, strict=True)):
            other, other_side = before[(index + 1) % len(before)], sides[(index + 1) % len(before)]
            if side >= 0:
                result.append(point)
            if (side >= 0) != (other_side >= 0):
                share = side / (side - other_side)
                result.append((point[0] + share * (other[0] - point[0]), point[1] + share * (other[1] - point[1])))
    return polygon_area(result)


def bev(p, g, sign=1.0):
    area = shared(corners(p, sign), corners(g, sign))
    return area / (p[3] * p[4] + g[3] * g[4] - area)


def volume(p, g, sign=1.0, sunk=False):
    low, other = (b[2] - (b[5] / 2 if sunk else 0) for b in (p, g))
    height = max(0.0, min(low + p[5], other + g[5]) - max(low, other))
    both = shared(corners(p, sign), corners(g, sign)) * height
    return both / (p[3] * p[4] * p[5] + g[3] * g[4] * g[5] - both)


def let(moving, fixed):
    """Slide ``moving`` along its ray towards ``fixed``."""
    share = (moving[0] * fixed[0] + moving[1] * fixed[1]) / (moving[0] ** 2 + moving[1] ** 2 + 1e-6)
    x, y = moving[0] * share, moving[1] * share
    if not math.hypot(x - moving[0], y - moving[1]) < 0.1 * (math.hypot(fixed[0], fixed[1]) + 1e-6):
        return 0.0
    sizes = []
    for box in (moving, fixed):
        turn = abs(math.remainder(box[6], PI))
        sizes.append((box[4], box[3]) if turn > PI / 4 else (box[3], box[4]))
    (dx, dy), (ex, ey) = sizes
    width = max(0.0, min(x + dx / 2, fixed[0] + ex / 2) - max(x - dx / 2, fixed[0] - ex / 2))
    depth = max(0.0, min(y + dy / 2, fixed[1] + ey / 2) - max(y - dy / 2, fixed[1] - ey / 2))
    return width * depth / (dx * dy + ex * ey - width * depth)


OVERLAP = {
    ("bev", "official"): lambda p, g: bev(p, g, -1.0),
    ("bev", "fixed"): bev,
    ("3d", "official"): lambda p, g: volume(p, g, -1.0, sunk=True),
    ("3d", "fixed"): volume,
    ("let", "official"): lambda p, g: let(g, p),
    ("let", "fixed"): let,
}


def reported(predictions, truth, kind, threshold, bounds, quirks):
    """(AP, recall, mean IoU of the pairs) of one cell."""
    official = quirks == "official"
    ranked, overlaps, truths, number = [], [], 0, 0
    for p, g in zip(predictions, truth, strict=True):
        found = [(number, box) for box in p if box[7] > 0.01 and _inside(box, bounds, official)]
        there = [box for box in g if _inside(box, bounds, official)]
        if official and not (found and there):
            continue
        truths += len(there)
        found = [(number + index, box) for index, (_, box) in enumerate(found)]
        number += len(found)
        owner = [0 if official else -1] * len(there)
        for own, box in sorted(found, key=lambda item: -item[1][7]):
            best, target = min(threshold, 1 - 1e-10), None
            for index, other in enumerate(there):
                if owner[index] > 0 or (not official and owner[index] >= 0):
                    continue
                value = OVERLAP[kind, quirks](box, other)
                if value >= best:
                    best, target = value, index
            ranked.append((box[7], target is not None))
            if target is not None:
                owner[target] = own
                overlaps.append(best)
    if not truths or not ranked:
        return 0.0, 0.0, 0.0
    ranked.sort(key=lambda item: -item[0])
    hits = np.cumsum([hit for _, hit in ranked])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / truths
    at = [max((p for p, r in zip(precision, recall, strict=True) if r >= wanted), default=0.0) for wanted in LEVELS]
    return 100 * float(np.mean(at)), 100 * float(recall[-1]), float(np.mean(overlaps)) if overlaps else 0.0


LEVELS = np.linspace(0, 1, 101)


def _inside(box, bounds, official):
    if bounds is None:
        return True
    distance = math.sqrt(box[0] ** 2 + box[1] ** 2 + box[2] ** 2)
    return (bounds[0] < distance if official else bounds[0] <= distance) and distance < bounds[1]


def training(predictions, truth, quirks, fixed_size):
    """(mAP, mAR, range error, angle error)."""
    official = quirks == "official"
    rows = []
    for score in [0.1 * step for step in range(1, 10)]:
        right = wrong = missed = 0
        errors = []
        for given_p, given_g in zip(predictions, truth, strict=True):
            p, g = [[*box] for box in given_p], [[*box] for box in given_g]
            if fixed_size:
                for box in p + g:
                    box[3], box[4], box[6] = 4.0, 1.8, 0.0
            kept = []
            for index in sorted((i for i in range(len(p)) if p[i][7] > score), key=lambda i: -p[i][7]):
                if all(bev(p[index], p[other]) <= 0.05 for other in kept):
                    kept.append(index)
            kept = [i for i in kept if 5 <= p[i][0] - (math.cos(p[i][6]) * p[i][3] / 2 if official else 0) <= 100]
            near = [j for j in range(len(g)) if 5 <= g[j][0] <= 100]
            used = set()
            for rank, i in enumerate(kept):
                overlaps = {j: bev(p[i], g[j]) for j in near if official or j not in used}
                hits = [j for j, value in overlaps.items() if value >= 0.5]
                if not official and hits:
                    hits = [max(hits, key=lambda j: (overlaps[j], j))]
                right, wrong = right + bool(hits), wrong + (not hits)
                used.update(hits)
                for j in hits:
                    a, b = (given_p[rank], given_g[near.index(j)]) if official else (given_p[i], given_g[j])
                    turn = math.degrees(math.atan2(a[1], a[0]) - math.atan2(b[1], b[0]))
                    errors.append((abs(math.hypot(a[0], a[1]) - math.hypot(b[0], b[1])), abs(turn)))
            missed += len(near) - len(used)
        precision, recall = (right / (right + wrong), right / (right + missed)) if right else (0.0, 0.0)
        rows.append((precision, recall, *(np.mean(errors, 0) if errors else (np.nan, np.nan))))
    columns = np.array(rows).T
    means = [float(np.nanmean(column)) if not np.isnan(column).all() else float("nan") for column in columns]
    return tuple(means)
