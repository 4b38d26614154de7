"""Tables in Markdown of what ``portbev bench`` measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

DIFFERS = 1e-2
"""From this difference to the first provider's result on a contender is marked in the table."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def seconds(value: float | None) -> str:
    """Milliseconds with three digits."""
    return "" if value is None else f"{value * 1e3:.3g}"


def amount(value: float | None, unit: float) -> str:
    """A number in a unit with three digits, without an exponent."""
    if value is None:
        return ""
    number = value / unit
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def shapes(row: dict[str, Any]) -> str:
    """Shapes of the first two tensors."""
    found = [str(value) for value in row["shapes"].values() if isinstance(value, str) and "[" in value]
    return " ".join(text[text.index("[") + 1 : -1].replace(", ", "x") for text in found[:2])


def _environment(content: dict[str, Any]) -> str:
    environment = content["environment"]
    facts = [content["device"], f"torch {environment.get('torch')}"]
    if content["backend"] == "cpu":
        facts.append(f"{environment.get('torch_threads')} threads")
    if content["emulated"]:
        facts.append("emulated: the figures say nothing about the device")
    if content["status"] != "finished":
        facts.append(content["status"])
    return ", ".join(map(str, facts))


def ops_table(content: dict[str, Any]) -> str:
    """One line per case, direction and contender."""
    found = content["limits"]
    peaks = ", ".join(f"{name} {peak / 1e12:.3g} TFLOP/s" for name, peak in found["matrix_flops_per_s"].items())
    rows = []
    for row in content["rows"]:
        for direction in ("forward", "backward"):
            for number, result in enumerate(row.get(direction, {}).get("results", [])):
                work = row[direction]
                first = [row["operator"], shapes(row), row["dtype"], direction] if number == 0 else [""] * 4
                moved = [amount(work["bytes"], 1e6), amount(work["flops"], 1e9)] if number == 0 else [""] * 2
                rows.append([*first, *moved, *_result(result)])
    header = ["operator", "shapes", "dtype", "direction", "MB", "GFLOP", "by", "ms", "ratio", "of the limit", "MB more"]
    return (
        f"{_environment(content)}. Copy {found['copy_bytes_per_s'] / 1e9:.3g} GB/s; matrix products {peaks}.\n\n"
        + markdown([*header, "J"], rows)
        + _absent(content["rows"])
    )


def _result(result: dict[str, Any]) -> list[str]:
    name = result["name"] if result["ours"] else f"*{result['name']}*"
    if result["note"]:
        name += f" ({result['note']})"
    if "failed" in result:
        return [name, "failed", "", "", "", ""]
    if result.get("difference", 0.0) > DIFFERS:
        name += f" (differs by {result['difference']:.1g})"
    return [
        name,
        seconds(result["seconds"]),
        f"{result['ratio']:.2f}",
        amount(result["of_limit"], 1),
        amount(result["memory"], 1e6),
        amount(result.get("joules"), 1),
    ]


def _absent(rows: list[dict[str, Any]]) -> str:
    """Who is not here, and why; what failed, and how."""
    absent = {f"{row['operator']} by {name}: {why}": None for row in rows for name, why in row["absent"].items()}
    for row in rows:
        for direction in ("forward", "backward"):
            for result in row.get(direction, {}).get("results", []):
                if "failed" in result:
                    absent[f"{row['operator']} by {result['name']}, {direction}: failed: {result['failed']}"] = None
    return "".join(f"\n* {line}" for line in absent) + "\n" if absent else ""


def step_table(content: dict[str, Any]) -> str:
    """One line per configuration and part."""
    header = ["configuration", "part", "samples", "s", "samples/s", "peak memory, GiB", "J"]
    rows = [
        [row["config"], row["part"], str(row["samples"]), "failed: " + row["failed"], "", "", ""]
        if "failed" in row
        else [
            row["config"],
            row["part"],
            str(row["samples"]),
            f"{row['seconds']:.3g}",
            f"{row['samples_per_s']:.3g}",
            amount(row["peak_memory"], 2**30),
            amount(row.get("joules"), 1),
        ]
        for row in content["rows"]
    ]
    return f"{_environment(content)}.\n\n" + markdown(header, rows)
