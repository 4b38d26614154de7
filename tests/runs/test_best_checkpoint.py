"""Which checkpoint is the best one, whichever way is better."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from portbev.runs.checkpoint import Checkpoint
from portbev.runs.checkpoints import Checkpoints


@pytest.mark.parametrize(("better", "steps"), [("higher", [1, 2, 2, 2, 5]), ("lower", [1, 1, 3, 3, 3])])
def test_the_best_follows_its_direction_and_ignores_what_is_not_defined(
    tmp_path: Path, better: str, steps: list[int]
) -> None:
    saved = Checkpoints(tmp_path, keep=9)
    found = []
    for step, value in enumerate([0.5, 0.6, 0.4, None, 0.7], 1):
        saved.save(Checkpoint(step, {"w": torch.zeros(1)}, None, {}))
        saved.mark_best(step, "metric", value, better=better)
        best = saved.best()
        assert best is not None
        found.append(best.step)
    assert found == steps


def test_an_undefined_value_alone_makes_no_best(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path)
    saved.save(Checkpoint(1, {"w": torch.zeros(1)}, None, {}))
    saved.mark_best(1, "metric", None)
    assert saved.best() is None
