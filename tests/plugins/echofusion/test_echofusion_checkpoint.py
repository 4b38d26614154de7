"""Official checkpoints of EchoFusion in and out, and the configurations that come with it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from echofusion_cases import build

from portbev.config import load_config
from portbev.errors import CheckpointError
from portbev_echofusion.checkpoint import export_state, import_state, official_name
from portbev_echofusion.family import EchoFusionFamily
from portbev_echofusion.model import EchoFusion

CONFIGS = Path(__file__).parents[3] / "configs" / "echofusion"
VARIANTS = {"rt_img": 384, "rt": 384, "rd_img": 384, "adc_img": 384, "ra_img": None, "pc_img": None}


def on_meta(name: str) -> EchoFusion:
    config = load_config(CONFIGS / f"{name}.yaml")
    with torch.device("meta"):
        return EchoFusion(config.model)


def test_range_time_with_images_has_the_official_size() -> None:
    """Counted on the original's modules."""
    model = on_meta("rt_img")
    assert len({official_name(key) for key in model.state_dict()}) == 1327
    assert sum(p.numel() for p in model.parameters()) + model.head.code_weights.numel() == 88_152_257
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 87_926_905


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_takes_what_its_data_give(name: str) -> None:
    config, model = load_config(CONFIGS / f"{name}.yaml"), on_meta(name)
    assert config.data.kind == "radial"
    assert config.data.radar == model.config.radar.input
    assert config.data.camera == model.config.camera == ("img" in name)
    embedder = model.radar.embedder
    assert (None if embedder is None else embedder.in_channels) == VARIANTS[name]
    assert any(key.startswith("img_neck.") for key in model.state_dict()) == model.config.camera


@pytest.mark.parametrize("name", ["laptop", "tiny_test"])
def test_small_configurations_fit_the_radar_of_their_data(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    radar = config.model.radar
    assert f"samples={radar.samples}&chirps={radar.chirps}&" in str(config.data.root)


@pytest.mark.parametrize("radar", ["rt", "rd", "adc", "ra", "pc"])
def test_import_after_export_is_the_identity(radar: str) -> None:
    source, target = build(1, radar={"input": radar}), build(2, radar={"input": radar})
    exported = export_state(source)["state_dict"]
    wrapped = {"meta": {"epoch": 24}, "state_dict": {f"module.{name}": w for name, w in exported.items()}}
    target.load_state_dict(import_state(wrapped, target).state)
    for key, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[key]), key
    assert list(export_state(target)["state_dict"]) == list(exported)
    assert len(exported) == len(source.state_dict())


def test_missing_unexpected_and_misshaped_keys_are_listed() -> None:
    model = build()
    state = export_state(model)["state_dict"]
    del state["pts_bbox_head.query_embedding.weight"]
    state["pts_bbox_head.surprise"] = torch.zeros(1)
    state["radar_embedder.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        EchoFusionFamily().import_state({"state_dict": state}, model)
    text = str(error.value)
    assert "1 missing (pts_bbox_head.query_embedding.weight)" in text
    assert "1 unexpected (pts_bbox_head.surprise)" in text
    assert "1 misshaped (radar_embedder.bias (3,) for (8,))" in text
