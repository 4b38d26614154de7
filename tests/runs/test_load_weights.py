"""Weights come into a model from folders of ours and files of others, by one way for training and evaluation."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from portbev.config.schema import ModelSection, RunConfig
from portbev.errors import CheckpointError
from portbev.models import DetectionModel, Imported
from portbev.nn.key_names import KeyNames
from portbev.runs.checkpoint import Checkpoint, write_checkpoint
from portbev.runs.weights import load_any

NAMES = KeyNames([(r"^head\.", "pts_bbox_head.")])


class Net(DetectionModel):
    derived_buffers = ("voxel_size",)

    def __init__(self, seed: int, classes: int = 3, voxel: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.register_buffer("voxel_size", torch.tensor([voxel]))
        self.stem = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, classes)


class Family:
    name = "net"
    config = ModelSection
    takes: tuple[str, ...] = ()

    def build(self, config: Any) -> Net:
        return Net(0)

    def agree(self, config: RunConfig) -> list[str]:
        return []

    def import_state(self, checkpoint: Any, model: DetectionModel, *, partial: bool = False) -> Imported:
        return NAMES.import_state(checkpoint, model, partial=partial)


class WholeOnly(Family):
    def import_state(self, checkpoint: Any, model: DetectionModel) -> Imported:  # type: ignore[override]
        return NAMES.import_state(checkpoint, model)


def folder(source: Net, path: Path) -> Path:
    average = {key: value + 1 if value.is_floating_point() else value for key, value in source.state_dict().items()}
    write_checkpoint(Checkpoint(5, source.state_dict(), average, {"optimizer": {}}), path)
    return path


def saved(content: Any, path: Path) -> Path:
    torch.save(content, path)
    return path


FORMS: dict[str, Callable[[Net, Path], Path]] = {
    "a checkpoint of ours": lambda net, at: folder(net, at / "step_00000005"),
    "a run directory": lambda net, at: folder(net, at / "run/checkpoints/step_00000005").parents[1],
    "a folder of checkpoints": lambda net, at: folder(net, at / "run/checkpoints/step_00000005").parent,
    "its file": lambda net, at: folder(net, at / "step_00000005") / "model.safetensors",
    "its file under another name": lambda net, at: (folder(net, at / "s") / "model.safetensors").rename(at / "x.bin"),
    "exported": lambda net, at: saved(NAMES.export_state(net), at / "exported.pth"),
    "our own names": lambda net, at: saved({"model": net.state_dict()}, at / "own.pth"),
    "our own names, compiled": lambda net, at: saved(
        {"state_dict": {f"module._orig_mod.{k}": v for k, v in net.state_dict().items()}}, at / "c.pth"
    ),
    "beside a namespace": lambda net, at: saved(
        {"args": argparse.Namespace(path=at), "model": NAMES.export_state(net)["state_dict"]}, at / "n.pth"
    ),
    "a folder with one file": lambda net, at: saved(net.state_dict(), at / "weights.pth").parent,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("partial", [False, True])
def test_the_same_weights_from(form: str, partial: bool, tmp_path: Path) -> None:
    source, target = Net(1, voxel=0.25), Net(2)
    path = FORMS[form](source, tmp_path)
    kind, notes = load_any(path, target, Family(), use_ema=False, partial=partial)
    assert kind == "model"
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value) or key == "voxel_size", key
    assert target.voxel_size.item() == 0.5
    assert any("not taken from the checkpoint, where they differ: voxel_size" in note for note in notes)


def test_the_average_of_ours_is_read_where_it_is_wanted(tmp_path: Path) -> None:
    source, target = Net(1), Net(2)
    kind, notes = load_any(folder(source, tmp_path / "s"), target, Family())
    assert kind == "ema" and torch.equal(target.head.weight, source.head.weight + 1)
    assert notes == ["computed from the configuration, not taken from the checkpoint, where they differ: voxel_size"]


def test_the_average_of_a_file_of_others_is_read_where_it_is_wanted(tmp_path: Path) -> None:
    source, target = Net(1), Net(2)
    state = NAMES.export_state(source)["state_dict"]
    average = {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}
    path = saved({"state_dict": state, "ema_state_dict": average}, tmp_path / "both.pth")
    load_any(path, target, Family(), use_ema=False)
    assert torch.equal(target.head.weight, source.head.weight)
    _, notes = load_any(path, target, Family())
    assert torch.equal(target.head.weight, source.head.weight + 1)
    assert "the average of the weights (ema_state_dict) is read" in notes


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_of_other_classes_is_refused_or_taken_in_part(form: str, tmp_path: Path) -> None:
    source, target = Net(1, classes=7), Net(2)
    own = target.head.weight.detach().clone()
    path = FORMS[form](source, tmp_path)
    with pytest.raises(CheckpointError, match=r"2 misshaped \(.*head\.weight \(7, 4\) for \(3, 4\)") as caught:
        load_any(path, target, Family(), use_ema=False)
    assert caught.value.where == str(path) and "--init-partial" in caught.value.cure
    assert torch.equal(target.stem.weight, Net(2).stem.weight)  # nothing was loaded
    _, notes = load_any(path, target, Family(), use_ema=False, partial=True)
    assert torch.equal(target.stem.weight, source.stem.weight)
    assert torch.equal(target.head.weight, own)
    assert sum("7 of 10 weights were taken" in note and "2 misshaped" in note for note in notes) == 1


def test_a_family_without_partial_says_so(tmp_path: Path) -> None:
    path = saved(NAMES.export_state(Net(1)), tmp_path / "exported.pth")
    load_any(path, Net(2), WholeOnly())
    with pytest.raises(CheckpointError, match="'net' takes whole checkpoints only"):
        load_any(path, Net(2), WholeOnly(), partial=True)


def test_a_safetensors_file_of_another_model_is_refused(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2)}, tmp_path / "x.safetensors")
    for partial in (False, True):
        with pytest.raises(CheckpointError, match=r"x\.safetensors: holds 1 tensors, but none of the model's"):
            load_any(tmp_path / "x.safetensors", Net(2), Family(), partial=partial)
