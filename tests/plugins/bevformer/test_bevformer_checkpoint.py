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


@pytest.mark.parametrize(
    ("changes", "said", "kept"),
    [
        (
            {"classes": ("car", "truck")},
            "other classes (2 there, 10 here: model.classes)",
            "head.cls_branches.0.6.weight",
        ),
        ({"bev_size": (6, 7)}, "another BEV size (42 there, 48 here: model.bev_size)", "bev_queries.embedding.weight"),
        ({"cameras": 2}, "another number of cameras (2 there, 3 here: model.cameras)", "features.cams_embeds"),
    ],
)
def test_a_fine_tune_takes_what_fits(changes: Any, said: str, kept: str) -> None:
    source, target = build(1, **changes), build(2)
    content = {"state_dict": {f"module.{name}": w for name, w in export_state(source)["state_dict"].items()}}
    with pytest.raises(CheckpointError) as error:
        import_state(content, target)
    assert said in str(error.value)
    own = target.state_dict()[kept].clone()
    imported = import_state(content, target, partial=True)
    target.load_state_dict(imported.state)
    assert sum(said in note for note in imported.notes) == 1
    assert torch.equal(target.state_dict()[kept], own)
    theirs, ours = source.state_dict(), target.state_dict()
    fitting = [key for key, value in ours.items() if value.shape == theirs[key].shape]
    assert len(fitting) > 0.9 * len(ours)
    assert all(torch.equal(theirs[key], ours[key]) for key in fitting)


def test_classes_in_another_order_are_named() -> None:
    names = list(build().config.classes)
    content = {"meta": {"CLASSES": [names[1], names[0], *names[2:]]}, **export_state(build(1))}
    (note,) = import_state(content, build(2)).notes
    assert f"({names[0]} 1 there, 0 here, {names[1]} 0 there, 1 here)" in note


def test_a_file_without_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="holds no weights"):
        import_state({"epoch": 3}, build())
