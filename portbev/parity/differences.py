"""What was not the same: environment, configuration, and who computed each operator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from portbev.config import NEUTRAL_KEYS
from portbev.parity.document import DifferenceRow, Differences, OperatorLedger, PassedOver
from portbev.parity.runs import Run

_DIRECTIONS = ("forward", "backward")


def environment(runs: Sequence[Run]) -> Differences:
    """Backend, device, libraries, precision and determinism of the runs."""
    facts = []
    for run in runs:
        backend = {f"backend.{key}": value for key, value in run.meta["backend"].items()}
        switches = {key: run.get(key) for key in ("precision", "amp", "deterministic", "portbev")}
        facts.append({**backend, **switches, **flatten(run.meta["environment"])})
    return compare([run.label for run in runs], facts)


def configuration(runs: Sequence[Run]) -> Differences:
    """The resolved configurations, key by key."""
    facts = [{**flatten(run.meta["config"]), "(seed)": run.get("seed")} for run in runs]
    return compare([run.label for run in runs], facts)


def compare(labels: Sequence[str], facts: Sequence[Mapping[str, Any]]) -> Differences:
    """Split ``facts`` (one mapping per run) into what differs and what all share."""
    keys = list(dict.fromkeys(key for fact in facts for key in fact))
    differing, common = [], {}
    for key in keys:
        texts = [_text(fact[key]) if key in fact else None for fact in facts]
        if len(set(texts)) > 1:
            differing.append(DifferenceRow(key=key, values=dict(zip(labels, texts, strict=True))))
        else:
            common[key] = str(texts[0])
    return Differences(differing=differing, common=common)


def config_keys(run: Run, baseline: Run) -> list[str]:
    """Configuration keys in which two runs differ and that can change a number."""
    mine, theirs = flatten(run.meta["config"]), flatten(baseline.meta["config"])
    keys = [key for key in dict.fromkeys([*theirs, *mine]) if key not in NEUTRAL_KEYS]
    return [key for key in keys if mine.get(key) != theirs.get(key)]


def ledger(groups: Sequence[Sequence[Run]]) -> list[OperatorLedger]:
    """Per operator: who served it in each run, how often, and why others were passed over.

    ``groups``: the runs that are compared with each other; an operator differs where it differs inside a group.
    """
    operators = sorted({operator for runs in groups for run in runs for operator in run.meta["kernels"]})
    return [_operator(operator, groups) for operator in operators]


def _operator(operator: str, groups: Sequence[Sequence[Run]]) -> OperatorLedger:
    served: dict[str, dict[str, dict[str, int]]] = {direction: {} for direction in _DIRECTIONS}
    passed = []
    for run in [run for runs in groups for run in runs]:
        page = run.meta["kernels"].get(operator, {})
        for direction in _DIRECTIONS:
            served[direction][run.label] = dict(sorted(page.get(direction, {}).items()))
        passed += [
            PassedOver(
                run=run.label,
                provider=str(record.get("provider")),
                reason=str(record.get("reason")),
                times=int(record.get("times", 1)),
            )
            for record in page.get("passed_over", [])
        ]
    # How often is not the question here: runs of other lengths count differently.
    differs = any(
        len({tuple(served[direction][run.label]) for run in runs}) > 1 for direction in _DIRECTIONS for runs in groups
    )
    return OperatorLedger(operator=operator, differs=differs, served=served, passed_over=passed)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as ``a.b.c`` -> value; lists stay whole."""
    if not isinstance(value, Mapping) or (prefix and not value):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
