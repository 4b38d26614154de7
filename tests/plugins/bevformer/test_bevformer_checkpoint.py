"""Official checkpoints of BEVFormer in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from bevformer_cases import build

from portbev.config import load_config
from portbev.errors import CheckpointError
from portbev_bevformer.checkpoint import export_state, import_state
from portbev_bevformer.family import BevFormerFamily
from portbev_bevformer.model import BEVFormer

CONFIGS = Path(__file__).parents[3] / "configs" / "bevformer"
# entries of the state, parameters, trainable parameters, counted on the original's modules
OFFICIAL = {
    "tiny": (643, 33_521_157, 33_245_627),
    "small": (1001, 59_463_619, None),
    "base": (1089, 69_034_947, None),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_official_configurations_have_the_official_size(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    with torch.device("meta"):
        model = BEVFormer(config.model)
    entries, parameters, trainable = OFFICIAL[name]
    assert len(export_names(model)) == entries
    weights = sum(p.numel() for p in model.parameters()) + model.head.code_weights.numel()
    assert weights == parameters
    if trainable is not None:
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


def export_names(model: BEVFormer) -> set[str]:
    from portbev_bevformer.checkpoint import official_name

    return {official_name(key) for key in model.state_dict()}


def ema_hook(state: dict[str, Any]) -> dict[str, Any]:
    """The state as OpenMMLab's EMA hook leaves it: a second copy among the weights."""
    return {**state, **{"ema_" + name.replace(".", "_"): torch.zeros_like(w) for name, w in state.items()}}


WRAPPED = {
    "a state_dict": lambda state: {"meta": {"epoch": 24}, "state_dict": state, "optimizer": {}},
    "weights alone": lambda state: state,
    "data parallel": lambda state: {"state_dict": {f"module.{name}": w for name, w in state.items()}},
    "EMA hook": lambda state: {"state_dict": ema_hook(state)},
    "average beside the weights": lambda state: {
        "state_dict": {name: torch.zeros_like(w) for name, w in state.items()},
        "ema_state_dict": {f"module.{name}": w for name, w in state.items()},
    },
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_import_after_export_is_the_identity(wrapper: str) -> None:
    source, target = build(1), build(2)
    imported = import_state(WRAPPED[wrapper](export_state(source)["state_dict"]), target)
    target.load_state_dict(imported.state)
    for key, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[key]), key
    again = export_state(target)["state_dict"]
    assert list(again) == list(export_state(source)["state_dict"])


def test_missing_unexpected_and_misshaped_keys_are_listed() -> None:
    model = build()
    state = export_state(model)["state_dict"]
    del state["pts_bbox_head.query_embedding.weight"]
    state["pts_bbox_head.surprise"] = torch.zeros(1)
    state["img_neck.lateral_convs.0.conv.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        BevFormerFamily().import_state({"state_dict": state}, model)
    text = str(error.value)
    assert "1 missing (pts_bbox_head.query_embedding.weight)" in text
    assert "1 unexpected (pts_bbox_head.surprise)" in text
    assert "1 misshaped (img_neck.lateral_convs.0.conv.bias (3,) for (16,))" in text


def test_a_file_without_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        import_state({"epoch": 3}, build())
