"""What is said of bits that may vary."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

from portbev import determinism
from portbev.kernels import KERNELS, Kernel, Kernels
from portbev.precision import Determinism
from portbev.runtime import activate


def kernel(operator: str, provider: str, priority: int, **options: Any) -> Kernel:
    return Kernel(operator, provider, forward=lambda call: call, priority=priority, **options)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Kernels:
    found = Kernels()
    for name in ("double", "halve", "square"):
        found.add_reference(kernel(name, "reference", 0))
    monkeypatch.setattr(determinism, "KERNELS", found)
    return found


OFFERED = (
    kernel("double", "atomic", 30, deterministic=False),
    kernel("double", "ordered", 20),
    kernel("halve", "atomic", 30, deterministic=False),
    kernel("square", "ordered", 20),
    kernel("square", "behind", -1, deterministic=False),
)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("required", []),
        (
            "preferred",
            [
                "compute.deterministic is preferred, not bit-reproducible are: "
                "double by atomic (required: ordered, reference); halve by atomic (required: reference)"
            ],
        ),
        (
            "off",
            [
                "compute.deterministic is off, not bit-reproducible are: "
                "double by atomic (required: ordered, reference); halve by atomic (required: reference); "
                "torch's own functions (required: its deterministic ones)"
            ],
        ),
    ],
)
def test_one_line_says_which_operators_vary_and_who_would_serve_instead(
    table: Kernels, setting: Determinism, said: list[str]
) -> None:
    table.use("npu", table.rank("npu", OFFERED, deterministic=setting))
    assert determinism.forecast(setting) == said


def test_a_choice_that_leaves_nobody_else_says_so(table: Kernels) -> None:
    table.use("npu", table.rank("npu", OFFERED, choice={"square": "behind", "double": "ordered", "halve": "reference"}))
    (line,) = determinism.forecast("preferred")
    assert line.endswith("are: square by behind (required: nobody)")


def test_torchs_functions_without_a_deterministic_algorithm_are_kept_and_not_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    monkeypatch.setattr(warnings, "filters", [("always", None, Warning, None, 0)])
    try:
        activate("cpu")
        assert determinism.heard() == []
        with determinism.listening():
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
            with determinism.listening():  # an evaluation within a training
                warnings.warn("something else", stacklevel=1)
        assert KERNELS.ledger.torch == {"put_"}
        assert shown == ["something else"]
        assert determinism.heard() == ["not bit-reproducible: torch has no deterministic algorithm for put_"]
        assert determinism.heard({"put_"}) == []
        activate("cpu", deterministic="required")
        with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))
    finally:
        activate("cpu", deterministic="off")
