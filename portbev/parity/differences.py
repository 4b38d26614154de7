"""What was not the same: environment, configuration, and who computed each operator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from portbev.config.section import flatten
from portbev.parity.document import DifferenceRow, Differences, OperatorLedger, PassedOver
from portbev.parity.runs import LabelledRun
from portbev.parity.settings import differing_keys, settings
from portbev.runs.ledger import LedgerPage

_DIRECTIONS = ("forward", "backward")


def environment(runs: Sequence[LabelledRun]) -> Differences:
    """Backend, device, libraries, precision and determinism of the runs."""
    facts = []
    for run in runs:
        backend = {f"backend.{key}": value for key, value in run.record.backend.model_dump().items()}
        switches = {name: getattr(run.record, name) for name in ("precision", "amp", "deterministic", "portbev")}
        facts.append({**backend, **switches, **flatten(run.record.environment)})
    return compare([run.label for run in runs], facts)


def configuration(runs: Sequence[LabelledRun]) -> Differences:
    """The resolved configurations, key by key."""
    facts = [{**settings(run.record), "(seed)": run.record.seed} for run in runs]
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


def reported_keys(run: LabelledRun, baseline: LabelledRun) -> list[str]:
    """Settings in which a run differs from the one it is compared with, without those on which no number depends."""
    differing = differing_keys(baseline.record, run.record)
    return [key for key, meaning in differing.items() if meaning.is_reported]


def ledger(groups: Sequence[Sequence[LabelledRun]]) -> list[OperatorLedger]:
    """Per operator: who served it in each run, how often, and why others were passed over.

    ``groups``: the runs that are compared with each other; an operator differs where it differs inside a group.
    """
    operators = sorted({operator for runs in groups for run in runs for operator in run.record.kernels})
    return [_operator(operator, groups) for operator in operators]


def _operator(operator: str, groups: Sequence[Sequence[LabelledRun]]) -> OperatorLedger:
    served: dict[str, dict[str, dict[str, int]]] = {direction: {} for direction in _DIRECTIONS}
    passed = []
    for run in [run for runs in groups for run in runs]:
        page = run.record.kernels.get(operator, LedgerPage())
        served["forward"][run.label] = dict(sorted(page.forward.items()))
        served["backward"][run.label] = dict(sorted(page.backward.items()))
        passed += [PassedOver(run=run.label, **record.model_dump()) for record in page.passed_over]
    # How often is not the question here: runs of other lengths count differently.
    differs = any(
        len({tuple(served[direction][run.label]) for run in runs}) > 1 for direction in _DIRECTIONS for runs in groups
    )
    return OperatorLedger(operator=operator, differs=differs, served=served, passed_over=passed)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
