"""What a person sees of ``portbev parity ops``: in 80 columns in a file, in those of the terminal on one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 80
_NAME = 14
"""Characters of an operator's name that a narrow terminal shows at least."""
_SHORT = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}


def table(content: Mapping[str, Any], width: int = WIDTH) -> str:
    """A line for each operator and provider: the worst rms and largest error of its calls, in units of rounding.

    Where ``width`` has no room for the operators' names, the last dtypes are left out, and this is said.
    """
    dtypes = list(content["dtypes"])
    names = max((len(row["operator"]) for row in content["rows"]), default=8) + 1
    while len(dtypes) > 1 and _room(width, dtypes) < min(names, _NAME):
        dtypes.pop()
    wide = min(_room(width, dtypes), max(names, _room(WIDTH, dtypes)))
    lines = [
        f"{'operator':{wide}.{wide}}{'by':13}{'calls':>5} " + "".join(f"{_SHORT[d]:>9}" for d in dtypes) + "  verdict",
        "-" * (width - _room(width, dtypes) + wide),
    ]
    for (operator, by), rows in _grouped(content["rows"]).items():
        judged = [row for row in rows if row["verdict"] != "absent"]
        if not judged:
            continue
        cells = "".join(f"{_worst([row for row in judged if row['dtype'] == dtype]):>9}" for dtype in dtypes)
        verdict = "FAULT" if any(row["verdict"] == "fault" for row in judged) else "rounding"
        name = operator if len(operator) < wide else operator[: wide - 2] + "~"
        lines.append(f"{name:{wide}}{by[:12]:13}{len(judged):>5} {cells} {verdict:>8}")
    gone = [_SHORT[dtype] for dtype in content["dtypes"] if dtype not in dtypes]
    lines += [f"left out for width: {', '.join(gone)}"] if gone else []
    return "\n".join(lines) + "\n"


def _room(width: int, dtypes: Sequence[str]) -> int:
    """Characters that are left for the names of operators."""
    return width - 13 - 6 - 9 * len(dtypes) - 9


def summary(content: Mapping[str, Any], width: int = WIDTH) -> str:
    """Sizes, who passed what over, faults with what to look at, and the conclusion."""
    rows = content["rows"]
    lines = [*_sizes(rows), *_absent(rows), *_notes(rows)]
    found = [line for row in rows if row["verdict"] == "fault" for line in fault_lines(row)]
    said = list(content.get("says", ()))
    if content["emulated"]:
        said.append("emulated: says that the logic is portable, nothing of the device's own numbers")
    return "\n".join([*(part for line in lines for part in _wrapped(line, width)), *found, *map(str, said)]) + "\n"


def fault_lines(row: Mapping[str, Any]) -> list[str]:
    """One line: who, what, where to look."""
    more = f" (and {len(row['faults']) - 1} more)" if len(row["faults"]) > 1 else ""
    look = f": {row['look_at']}" if row["look_at"] else ""
    shapes = " ".join("x".join(map(str, v)) for v in row["size"].values() if isinstance(v, list) and v)
    case = row["case"] if not shapes else f"{row['case'].split(':')[0]}"
    return [f"FAULT {row['operator']} by {row['by']}, {row['dtype']} [{case}]: {row['faults'][0]}{more}{look}"]


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    """rms/largest."""
    figures = [one for row in rows for one in row.get("results", {}).values()]
    if not figures:
        return "raises" if rows else "-"
    return f"{_short(max(one['rms'] or 0.0 for one in figures))}/{_short(max(one['max'] or 0.0 for one in figures))}"


def _short(number: float) -> str:
    """In four characters at most."""
    if number < 10:
        return f"{number:.1f}"
    return f"{number:.0f}" if number < 1e4 else f"{number:.0e}".replace("e+0", "e")


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault((row["operator"], row["by"]), []).append(row)
    return found


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    scaled = sum(bool(row["scaled_from"]) for row in rows)
    return [
        "",
        "Ratios of the device's error to that of a correctly rounded evaluation: rms/largest of the worst result.",
        f"Sizes: {scaled} of {len(rows)} rows are on smaller tensors than the model's (both are in the JSON).",
    ]


def _absent(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    counted: dict[str, int] = {}
    for row in rows:
        if row["verdict"] == "absent":
            text = f"{row['operator']} by {row['by']}, {row['dtype']}: {row['reason']}"
            counted[text] = counted.get(text, 0) + 1
    lines = [f"not judged: {text}" + (f" ({times} calls)" if times > 1 else "") for text, times in counted.items()]
    return lines if len(lines) <= 12 else [*lines[:12], f"not judged: {len(lines) - 12} more, in the JSON"]


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    counted: dict[str, int] = {}
    for row in rows:
        for note in row.get("notes", ()):
            text = f"{row['operator']} by {row['by']}: {note.split(' in ')[0] if 'second run' in note else note}"
            counted[text] = counted.get(text, 0) + 1
    return [f"note: {text}" + (f" ({times} rows)" if times > 1 else "") for text, times in counted.items()]


def _wrapped(line: str, width: int = WIDTH) -> list[str]:
    folded = textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return folded or [""]
