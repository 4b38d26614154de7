"""Curves of logs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portbev.errors import PortbevError
from portbev.files import atomic_write
from portbev.logs.series import Log

FORMATS = ("png", "pdf", "svg")


def draw(
    logs: Sequence[Log],
    keys: Sequence[str],
    out: Path,
    *,
    mode: str = "train",
    legend: Sequence[str] = (),
    title: str = "",
    interval: int = 1,
    by_epoch: bool = False,
) -> list[str]:
    """Draw every key of every log into one picture.

    Args:
        legend: a text per curve, log by log; empty: made of the names.
        interval: one row of so many is drawn.

    Returns:
        The texts of the curves.

    Raises:
        PortbevError: a key that a log lacks, a legend of another length, another format, nothing to draw.
    """
    from matplotlib.figure import Figure

    if out.suffix.lstrip(".") not in FORMATS:
        raise PortbevError(f"there is no picture of kind {out.suffix!r}", where="--out", cure=f"One of {FORMATS}")
    columns = [(log, log.find(key, mode)) for log in logs for key in keys]
    texts = list(legend) or _texts(logs, keys)
    if len(texts) != len(columns):
        cure = f"Give {len(columns)}: {len(logs)} logs with {len(keys)} keys each, in that order"
        raise PortbevError(f"the legend has {len(texts)} texts", where="--legend", cure=cure)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axis = "epoch" if by_epoch else "iter"
    for (log, column), text in zip(columns, texts, strict=True):
        rows = log.part(mode)[[axis, column]].dropna().sort_values(axis).iloc[::interval]
        if rows.empty:
            raise PortbevError(f"there is nothing of {column!r} to draw", where=log.name, cure="Leave it out")
        axes.plot(rows[axis], rows[column], label=text, marker="o" if mode == "eval" else None, linewidth=1.2)
    axes.set(xlabel=axis, ylabel=keys[0] if len(keys) == 1 else "", title=title)
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    with atomic_write(out) as temporary:
        figure.savefig(temporary, format=out.suffix.lstrip("."), dpi=150)
    return texts


def _texts(logs: Sequence[Log], keys: Sequence[str]) -> list[str]:
    several = len(logs) > 1
    return [f"{log.name}: {key}" if several else key for log in logs for key in keys]
