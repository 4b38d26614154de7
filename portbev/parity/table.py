"""The figures of a run: accuracy, speed, memory; and their difference to a baseline. May import: parity.runs."""

from __future__ import annotations

from portbev.parity.document import Metric
from portbev.parity.runs import Run

METRICS = {
    metric.key: metric
    for metric in (
        Metric(key="mean_ap", name="mAP", title="mean average precision", better="higher", kind="accuracy"),
        Metric(key="trans_err", name="mATE", title="translation error", unit="m", better="lower", kind="accuracy"),
        Metric(key="scale_err", name="mASE", title="scale error, 1 - IoU", better="lower", kind="accuracy"),
        Metric(key="orient_err", name="mAOE", title="orientation error", unit="rad", better="lower", kind="accuracy"),
        Metric(key="vel_err", name="mAVE", title="velocity error", unit="m/s", better="lower", kind="accuracy"),
        Metric(key="attr_err", name="mAAE", title="attribute error, 1 - accuracy", better="lower", kind="accuracy"),
        Metric(key="nd_score", name="NDS", title="nuScenes detection score", better="higher", kind="accuracy"),
        Metric(
            key="training_fps",
            name="train FPS",
            title="training throughput: six-camera sets over all devices",
            unit="1/s",
            better="higher",
            kind="cost",
        ),
        Metric(
            key="inference_fps",
            name="infer FPS",
            title="inference throughput: six-camera sets",
            unit="1/s",
            better="higher",
            kind="cost",
        ),
        Metric(
            key="training_memory",
            name="train mem",
            title="peak memory in training",
            unit="B",
            better="lower",
            kind="cost",
        ),
        Metric(
            key="inference_memory",
            name="infer mem",
            title="peak memory in inference",
            unit="B",
            better="lower",
            kind="cost",
        ),
    )
}
"""The report's columns, in order."""

TP_ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err", "attr_err")


def values(run: Run) -> dict[str, float | None]:
    """The run's figure for each of :data:`METRICS`; None where it was not measured."""
    return {
        "mean_ap": run.metric("mean_ap"),
        **{key: run.metric("tp_errors", key) for key in TP_ERRORS},
        "nd_score": run.metric("nd_score"),
        "training_fps": run.number("training", "fps"),
        "inference_fps": run.metric("inference", "fps"),
        "training_memory": run.number("training", "peak_memory"),
        "inference_memory": run.metric("inference", "peak_memory"),
    }


def differences(run: Run, baseline: Run) -> dict[str, float | None]:
    """``run`` minus ``baseline``; accuracy only where both were evaluated alike (see :func:`why_not_comparable`)."""
    mine, theirs = values(run), values(baseline)
    accuracy = why_not_comparable(run, baseline) is None
    found: dict[str, float | None] = {}
    for key, metric in METRICS.items():
        a, b = mine[key], theirs[key]
        allowed = accuracy or metric.kind == "cost"
        found[key] = a - b if allowed and a is not None and b is not None else None
    return found


def why_not_comparable(run: Run, baseline: Run) -> str | None:
    """Why the accuracy of two runs of one group may not be subtracted; None if it may."""
    for one in (run, baseline):
        if one.metrics is None:
            return f"{one.label} was not evaluated"
        if not one.finished:
            return f"{one.label} is not finished ({one.meta['status']})"
    for key, text in (("step", "step"), ("weights", "weights"), ("split", "split"), ("samples", "sample count")):
        mine, theirs = (run.metrics or {}).get(key), (baseline.metrics or {}).get(key)
        if mine != theirs:
            return f"evaluated with another {text} than the baseline ({mine} and {theirs})"
    return None
