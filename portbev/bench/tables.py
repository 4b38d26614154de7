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
        threads = environment.get("torch_threads")
        facts.append(f"{threads} thread{'s' if threads != 1 else ''}")
    if content["emulated"]:
        facts.append("emulated: the figures say nothing about the device")
    if content["status"] != "finished":
        facts.append(content["status"])
    return ", ".join(map(str, facts))


def ops_table(content: dict[str, Any]) -> str:
    """One line per case and direction: the first provider, and the ratios of the others to it. *Peers* in italics."""
    found = content["limits"]
    peaks = ", ".join(f"{name} {peak / 1e12:.3g} TFLOP/s" for name, peak in found["matrix_flops_per_s"].items())
    header = ["operator", "shapes", "dtype", "direction", "MB", "GFLOP", "by", "ms", "of the limit", "others: ratio"]
    return (
        f"{_environment(content)}; {content['method']}. "
        f"Copy {found['copy_bytes_per_s'] / 1e9:.3g} GB/s; matrix products {peaks}.\n\n"
        + _filled([*header, "MB more", "J"], [line for row in content["rows"] for line in _lines(row)])
        + _remarks(content["rows"])
    )


def _filled(header: list[str], rows: list[list[str]]) -> str:
    """A table without the columns that have nothing in them."""
    kept = [index for index in range(len(header)) if any(row[index] for row in rows)]
    return markdown([header[index] for index in kept], [[row[index] for index in kept] for row in rows])


def _lines(row: dict[str, Any]) -> list[list[str]]:
    lines = []
    for direction in ("forward", "backward"):
        if direction in row:
            work, results = row[direction], row[direction]["results"]
            first: dict[str, Any] = next((result for result in results if "failed" not in result), {})
            others = ", ".join(_other(result) for result in results if result is not first)
            what = [row["operator"], shapes(row), row["dtype"], direction]
            moved = [amount(work["bytes"], 1e6), amount(work["flops"], 1e9)]
            timed = [_named(first), amount(first.get("seconds"), 1e-3), amount(first.get("of_limit"), 1), others]
            lines.append([*what, *moved, *timed, amount(first.get("memory"), 1e6), amount(first.get("joules"), 1)])
    return lines


def _named(result: dict[str, Any]) -> str:
    """A contender, and how its result differs, if it does."""
    if not result:
        return "nobody"
    differs = result.get("difference", 0.0)
    name = result["name"] if result["ours"] else f"*{result['name']}*"
    return f"{name} (differs by {differs:.1g})" if differs > DIFFERS else str(name)


def _other(result: dict[str, Any]) -> str:
    return f"{_named(result)} {'failed' if 'failed' in result else amount(result['ratio'], 1)}"


def _remarks(rows: list[dict[str, Any]]) -> str:
    """What is to be known of contenders; who is not here, and why; what failed, and how."""
    said: dict[str, None] = {}
    for row in rows:
        for direction in ("forward", "backward"):
            for result in row.get(direction, {}).get("results", []):
                who = f"{row['operator']} by {result['name']}"
                if result["note"]:
                    said[f"{who}: {result['note']}"] = None
                if "failed" in result:
                    said[f"{who}, {direction}: failed: {result['failed']}"] = None
        said |= {f"{row['operator']} by {name}: {why}": None for name, why in row["absent"].items()}
    return "".join(["\n", *(f"* {line}\n" for line in said)]) if said else ""


def step_table(content: dict[str, Any]) -> str:
    """One line per configuration and part."""
    header = ["configuration", "part", "samples", "s", "samples/s", "peak memory, GiB", "J"]
    rows = [
        [row["config"], row["part"], str(row["samples"]), "failed", "", "", ""]
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
    failed = [
        f"* {row['config']}, {row['part']}: failed: {row['failed']}\n" for row in content["rows"] if "failed" in row
    ]
    return f"{_environment(content)}.\n\n" + markdown(header, rows) + "".join(["\n", *failed] if failed else [])
