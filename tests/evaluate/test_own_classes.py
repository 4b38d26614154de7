"""mAP over the classes that a model finds, beside that over all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from portbev.evaluate.benchmark import Benchmark
from portbev.evaluate.inference import own_classes

FIGURES = {"car": 0.5, "truck": 0.0, "bus": 0.25}
JUDGE = cast("Benchmark", SimpleNamespace(class_figures=lambda record: FIGURES))


def test_a_model_of_fewer_classes_has_a_mean_of_its_own() -> None:
    record: dict[str, Any] = {}
    notes = own_classes(record, JUDGE, ("bus", "car"))
    assert record == {"mean_ap_own_classes": 0.375} and "does not find truck" in notes[0]


@pytest.mark.parametrize("classes", [None, ("car", "truck", "bus"), ("something else",)])
def test_others_have_none(classes: tuple[str, ...] | None) -> None:
    record: dict[str, Any] = {}
    assert own_classes(record, JUDGE, classes) == [] and record == {}


def test_what_is_not_scored_has_none() -> None:
    assert own_classes({"scored": False}, JUDGE, ("car",)) == []
