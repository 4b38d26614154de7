"""Which provider served each operator of a run: the ledger of :mod:`portbev.kernels` as the record keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field


class PassedOver(BaseModel):
    """A provider that was asked and did not serve, why, and how often."""

    provider: str
    reason: str
    times: int = 1


class LedgerPage(BaseModel):
    """One operator: calls by provider in each direction, who was passed over, whose bits may vary, and how kernels were
    launched."""

    forward: dict[str, int] = Field(default_factory=dict)
    backward: dict[str, int] = Field(default_factory=dict)
    passed_over: list[PassedOver] = Field(default_factory=list)
    not_deterministic: list[str] = Field(default_factory=list)  # providers that served
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)  # kernel -> block sizes, compiler's version ...


Ledger = dict[str, LedgerPage]
"""Operator -> its page."""


def merge_ledgers(first: Mapping[str, LedgerPage], second: Mapping[str, LedgerPage]) -> Ledger:
    """Both as one: counts add up."""
    merged = {operator: page.model_copy(deep=True) for operator, page in first.items()}
    for operator, page in second.items():
        into = merged.setdefault(operator, LedgerPage())
        for total, calls in ((into.forward, page.forward), (into.backward, page.backward)):
            for provider, times in calls.items():
                total[provider] = total.get(provider, 0) + times
        into.not_deterministic = sorted({*into.not_deterministic, *page.not_deterministic})
        into.settings = {**page.settings, **into.settings}
        for passed in page.passed_over:
            _add(into.passed_over, passed)
    return merged


def _add(known: list[PassedOver], passed: PassedOver) -> None:
    for record in known:
        if (record.provider, record.reason) == (passed.provider, passed.reason):
            record.times += passed.times
            return
    known.append(passed.model_copy())
