"""``portbev bench roofline``: the least time of each operator on some accelerators, on paper.

Bytes and FLOPs are those of :mod:`portbev.bench.traffic`, the limits those of the makers' data sheets, without
sparsity. Nothing is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portbev.bench.cases import Case, find_cases
from portbev.bench.document import Document
from portbev.bench.models import config_names
from portbev.bench.sketches import sketch_of
from portbev.bench.tables import amount, markdown, shapes
from portbev.bench.traffic import Work

DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True)
class Sheet:
    """A device's limits.

    Attributes:
        bandwidth: bytes/s of its memory.
        vector: FLOP/s of float32 outside matrix units.
        matrix: dtype -> FLOP/s of products of matrices; float32 is exact, without TF32.
    """

    name: str
    bandwidth: float
    vector: float
    matrix: dict[str, float]

    def seconds(self, work: Work, dtype: str, *, matrix: bool) -> float:
        """The least time of some work."""
        return work.seconds(self.bandwidth, self.matrix[dtype] if matrix else self.vector)

    def bound(self, work: Work, dtype: str, *, matrix: bool) -> str:
        """What decides it: ``bytes`` or ``FLOPs``."""
        return "bytes" if self.seconds(work, dtype, matrix=matrix) == work.bytes / self.bandwidth else "FLOPs"


SHEETS = (
    Sheet("H100 SXM", 3.35e12, 67e12, {"float32": 67e12, "float16": 989e12}),
    Sheet("MI300X", 5.3e12, 163.4e12, {"float32": 163.4e12, "float16": 1307e12}),
)


def draw_roofline(configs: Sequence[str], overrides: Sequence[str], folder: Path | None) -> Document:
    """One row per case, dtype and direction; configurations that the plugins offer where none is named."""
    names = list(configs) or config_names(quick=False)
    sheets = [{"name": s.name, "bytes_per_s": s.bandwidth, "flops_per_s": s.vector, "matrix": s.matrix} for s in SHEETS]
    document = Document("roofline", {"configs": names, "devices": sheets}, roofline_table, folder)
    for case in find_cases(names, overrides):
        document.content["rows"] += rows(case)
    document.end("finished")
    return document


def rows(case: Case) -> list[dict[str, Any]]:
    """The rows of a case."""
    sketch, found = sketch_of(case.operator), []
    for dtype in DTYPES if sketch.halved else ("float32",):
        traffic = Case(case.operator, _cast(case, DTYPES[dtype]), case.trained).traffic()
        for direction, work in (("forward", traffic.forward), ("backward", traffic.backward)):
            if work is None:
                continue
            found.append(
                {
                    "operator": case.operator,
                    "shapes": case.shapes,
                    "models": case.models,
                    "dtype": dtype,
                    "direction": direction,
                    "bytes": work.bytes,
                    "flops": work.flops,
                    "limits": {
                        sheet.name: {
                            "seconds": sheet.seconds(work, dtype, matrix=sketch.matrix),
                            "by": sheet.bound(work, dtype, matrix=sketch.matrix),
                        }
                        for sheet in SHEETS
                    },
                }
            )
    return found


def _cast(case: Case, dtype: torch.dtype) -> Any:
    """The call with what can be in half precision in ``dtype``."""
    halved = {name: getattr(case.call, name) for name in sketch_of(case.operator).halved}
    return case.call._replace(**{name: value.to(dtype) for name, value in halved.items() if isinstance(value, Tensor)})


def roofline_table(content: dict[str, Any]) -> str:
    """One line per case and dtype: forward / backward; microseconds on each device."""
    names = [sheet["name"] for sheet in content["devices"]]
    lines: dict[str, list[dict[str, Any]]] = {}
    for row in content["rows"]:
        lines.setdefault(f"{row['operator']} {row['shapes']} {row['dtype']}", []).append(row)
    header = ["operator", "shapes", "configuration: calls", "dtype", "MB", "GFLOP", *(f"{name}, µs" for name in names)]
    return markdown(header, [_line(directions, names) for directions in lines.values()])


def _line(directions: list[dict[str, Any]], names: list[str]) -> list[str]:
    first = directions[0]
    calls = "; ".join(f"{model}: {count}" for model, count in first["models"].items())
    return [
        first["operator"],
        shapes(first),
        calls,
        first["dtype"],
        " / ".join(amount(row["bytes"], 1e6) for row in directions),
        " / ".join(amount(row["flops"], 1e9) for row in directions),
        *(" / ".join(_least(row["limits"][name]) for row in directions) for name in names),
    ]


def _least(limit: dict[str, Any]) -> str:
    """Microseconds, with a mark where FLOPs decide."""
    return amount(limit["seconds"], 1e-6) + ("" if limit["by"] == "bytes" else " (FLOPs)")
