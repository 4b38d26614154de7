"""Bytes that a compiled kernel asks for in a row: ``python -m portbev_triton.traffic``, on any machine.

Counted in Triton's own intermediate form of a kernel, where every load and store still has its shape: each element of a
tile once, times the turns of the loops around it. What stands under an ``if`` is left out (marks of gradients that are
not finite). Samples and additions, tiles of (points, rows, channels), are told apart from the rest: they are served by
the caches, where neighbours share them, and what of them reaches memory is between once for each value and once for
each corner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from portbev_triton.compile import compile_variant, variants
from portbev_triton.launch import settings
from portbev_triton.variants import Variant

_ACCESS = re.compile(r"(tt\.load|tt\.store|tt\.atomic_rmw)\b.* : \(?tensor<((?:\d+x)+)!tt\.ptr<[a-z]+(\d+)>")
_LOOP = re.compile(r"scf\.for .* = %c(\d+)_\w+ to %c(\d+)_\w+ step %c(\d+)_")


@dataclass(frozen=True)
class Traffic:
    """Bytes for each row of a call, all heads together.

    Attributes:
        read: loaded in order, each element once.
        written: stored in order.
        sampled: channels of the corners of points.
        added: terms of sums.
    """

    read: float
    written: float
    sampled: float
    added: float


@dataclass(frozen=True)
class _Access:
    operation: str
    shape: tuple[int, ...]
    bytes: int  # of all elements and turns


def traffic(variant: Variant, architecture: str = "sm_90") -> Traffic:
    """What ``variant``, a kernel over rows and heads, moves for a row."""
    constants = variant.constants
    rows = settings(variant.name, architecture)["BLOCK"] // constants["BLOCK_POINTS"]
    each = constants["HEADS"] / rows
    moved = {"read": 0.0, "written": 0.0, "sampled": 0.0, "added": 0.0}
    for access in _accesses(compile_variant(variant, architecture).asm["ttgir"]):
        samples = access.shape == (constants["BLOCK_POINTS"], rows, constants["BLOCK_CHANNELS"])
        kind = {"tt.load": "sampled" if samples else "read", "tt.store": "written"}.get(access.operation, "added")
        moved[kind] += access.bytes * each
    return Traffic(**moved)


def _accesses(text: str) -> Iterator[_Access]:
    """Loads, stores and additions of tiles, with the turns of their loops. A loop of unknown length counts once."""
    turns: list[int] = [1]
    for line in text.splitlines():
        code = line.split(" loc(")[0].rstrip()
        if code.lstrip().startswith("}") and len(turns) > 1:
            turns.pop()
        found = _ACCESS.search(code)
        if found and turns[-1]:
            shape = tuple(int(size) for size in found[2].rstrip("x").split("x"))
            size = int(found[3]) // 8
            for length in (*shape, turns[-1]):
                size *= length
            yield _Access(found[1], shape, size)
        if code.endswith("{") and not code.lstrip().startswith(("module", "tt.func")):
            loop = _LOOP.search(code)
            if loop:
                first, last, step = (int(number) for number in loop.groups())
                turns.append(turns[-1] * -(-(last - first) // step))
            else:
                turns.append(turns[-1] if "scf.for" in code else 0)


def main() -> None:
    """The command: a table of the kernels of deformable attention, in bytes for a row of BEVFormer-base's."""
    print("| kernel | variant | read | written | sampled | added |\n" + "|---" * 6 + "|")
    for variant in variants():
        if "deform_attn" in variant.name and "softmax" not in variant.name:
            moved = traffic(variant)
            cells = (moved.read, moved.written, moved.sampled, moved.added)
            print(f"| {variant.name} | {variant.label} | " + " | ".join(f"{cell:,.0f}" for cell in cells) + " |")


if __name__ == "__main__":
    main()
