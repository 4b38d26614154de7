"""How long steps took, epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from portbev.errors import PortbevError
from portbev.logs.series import Log

TIME = "time"

SPREADS = 6.0
"""Of the middle half's width above its upper end, from which on a step is an outlier (Tukey's far out is 3)."""


@dataclass(frozen=True)
class Times:
    """Seconds of the steps of a log.

    Attributes:
        epochs: a row per epoch: ``epoch``, ``steps``, ``mean``, ``median``, ``slowest``.
        mean, median: of all steps.
        slowest, fastest: epochs, counted from 1, by their mean.
        spread: standard deviation of the epochs' means.
        data: share of the time that waited for data; None where the log does not say.
        left_out: outliers, and steps that stand first in their epoch, which are not counted.
    """

    epochs: pd.DataFrame
    mean: float
    median: float
    slowest: int
    fastest: int
    spread: float
    data: float | None
    left_out: int


def times_of(log: Log, *, outliers: bool = False) -> Times:
    """Times of a log's steps; with ``outliers`` of all of them.

    As in mmdet's ``cal_train_time``, the first line of each epoch is left out (workers start); besides, steps far above
    the others, which wrote a checkpoint or evaluated.

    Raises:
        PortbevError: the log has no times.
    """
    if TIME not in log.train.columns:
        raise PortbevError("the log has no times of steps", where=log.name, cure="Name a log of training")
    rows = log.train[["iter", "epoch", TIME]].dropna().sort_values("iter")
    rows = rows.assign(number=_epochs(log, rows))
    kept = rows if outliers else _usual(rows)
    if kept.empty:
        kept = rows
    grouped = kept.groupby("number")[TIME]
    epochs = grouped.agg(["count", "mean", "median", "max"]).reset_index()
    epochs.columns = pd.Index(["epoch", "steps", "mean", "median", "slowest"])
    means = epochs["mean"]
    waited = log.train.loc[kept.index, "data_time"].sum() / kept[TIME].sum() if "data_time" in log.train else None
    return Times(
        epochs,
        float(kept[TIME].mean()),
        float(kept[TIME].median()),
        int(epochs["epoch"][means.idxmax()]),
        int(epochs["epoch"][means.idxmin()]),
        float(means.std(ddof=0)),
        None if waited is None else float(waited),
        len(rows) - len(kept),
    )


def _epochs(log: Log, rows: pd.DataFrame) -> pd.Series:
    """Number of each row's epoch, from 1."""
    if log.per_epoch is None:
        return rows["epoch"].astype(int).clip(lower=1)
    return ((rows["iter"] - 1) // log.per_epoch).astype(int) + 1


def _usual(rows: pd.DataFrame) -> pd.DataFrame:
    later = rows[rows.duplicated("number")]
    if later.empty:
        return later
    low, high = later[TIME].quantile(0.25), later[TIME].quantile(0.75)
    return later[later[TIME] <= high + SPREADS * max(high - low, 0.01 * high)]
