"""Batches as torch's loader gives them when it pins: tuples have become lists on the way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from portbev.models import move_batch

sys.path[:0] = [str(Path(__file__).parent / family) for family in ("bevdepth", "bevformer", "echofusion")]


def bevdepth() -> tuple[Any, Any]:
    from bevdepth_cases import make_batch, small

    from portbev_bevdepth.model import BEVDepth

    torch.manual_seed(0)
    return BEVDepth(small()), make_batch(small())


def bevformer() -> tuple[Any, Any]:
    from bevformer_cases import build, make_batch

    return build(quirks="official"), make_batch(2, 2)


def echofusion() -> tuple[Any, Any]:
    from echofusion_cases import build, make_batch

    return build(), make_batch(2)


@pytest.mark.parametrize("make", [bevdepth, bevformer, echofusion])
def test_a_pinned_batch_gives_the_same_losses(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor.clone())
    losses = []
    for pinned in (False, True):
        model, batch = make()
        model.train()
        prepare = model.preparation(training=True)
        if prepare is not None:
            batch["prepared"] = prepare(batch)
        moved = move_batch(pin_memory(batch) if pinned else batch, torch.device("cpu"))
        with torch.no_grad():
            losses.append(model.losses(model(moved), moved))
    assert losses[0] == losses[1]
