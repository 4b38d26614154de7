"""Image backbones end at the last stage that is read, and start from weights or train as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from portbev.errors import CheckpointError, ConfigError
from portbev.nn.image_backbone import load_backbone
from portbev.nn.pretrained import fit_state
from portbev.nn.resnet import ResNet
from portbev.runs.tensors import load_weights


@dataclass
class Section:
    weights: str | None = None
    frozen_stages: int = -1


def network(**changes: object) -> ResNet:
    torch.manual_seed(3)
    return ResNet(18, base_channels=4, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("reads", [(2,), (1, 3), (3, 2), (4,)])
def test_a_network_ends_at_the_last_stage_that_is_read_with_the_bits_of_the_whole(reads: tuple[int, ...]) -> None:
    whole, short = network(), network(reads=reads)
    after = torch.rand(3)
    network()
    assert torch.equal(torch.rand(3), after)  # what is drawn after it does not depend on what is read
    assert {key.split(".")[0] for key in short.state_dict() if "layer" in key} == {
        f"layer{stage}" for stage in range(1, max(reads) + 1)
    }
    assert all(torch.equal(value, whole.state_dict()[key]) for key, value in short.state_dict().items())
    x = torch.randn(2, 3, 32, 64)
    outputs, everything = short.eval()(x), whole.eval()(x)
    assert [output.shape[1] for output in outputs] == list(short.out_channels)
    assert all(torch.equal(output, everything[stage - 1]) for output, stage in zip(outputs, reads, strict=True))


def test_every_weight_of_a_network_that_is_not_read_to_the_end_gets_a_gradient() -> None:
    short = network(reads=(2, 3))
    torch.stack([output.sum() for output in short(torch.randn(2, 3, 32, 32))]).sum().backward()
    assert all(weight.grad is not None for weight in short.parameters())


@pytest.mark.parametrize("where", ["load_weights", "fit_state", "load_backbone"])
def test_checkpoints_with_stages_that_are_not_read_are_loaded_with_a_note(where: str, tmp_path: Path) -> None:
    donor, model = ResNet(18, base_channels=4), torch.nn.ModuleDict({"img": network(reads=(2, 3))})
    state = {f"img.{key}": value for key, value in donor.state_dict().items()}
    if where == "load_weights":
        notes = load_weights(model, state, "here")
    elif where == "fit_state":
        imported = fit_state({"state_dict": state}, model)
        notes = imported.notes
        model.load_state_dict(imported.state)
    else:
        torch.save(donor.state_dict(), tmp_path / "resnet.pth")
        short = model["img"]
        assert isinstance(short, ResNet)
        notes = load_backbone(short, Section(str(tmp_path / "resnet.pth")))
    unread = sum(key.startswith("layer4.") for key in donor.state_dict())
    assert any(f"{unread} weights of stages that the model does not read" in note for note in notes)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("frozen", "said"),
    [
        ({"frozen_stages": 1}, ["frozen_stages is 1", "image_backbone.frozen_stages=-1"]),
        ({"frozen_stages": 0}, ["frozen_stages is 0", "image_backbone.frozen_stages=-1"]),
        ({"frozen_norms": True}, ["frozen_norms is true", "image_backbone.frozen_norms=false"]),
        (
            {"frozen_stages": 2, "frozen_norms": True},
            [
                "frozen_stages is 2 and frozen_norms is true",
                "frozen_stages=-1 --set model.image_backbone.frozen_",
            ],
        ),
    ],
)
def test_frozen_layers_without_weights_are_refused_with_both_keys_and_cures(
    frozen: dict[str, object], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_backbone(network(**frozen), Section(None))
    text = str(refused.value)
    assert all(part in text for part in [*said, "model.image_backbone.weights=FILE", "--init"]), text
    assert "\n" not in text


def test_a_backbone_that_trains_as_a_whole_may_start_at_random() -> None:
    fresh = network()
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    assert load_backbone(fresh, Section(None)) == []
    assert all(torch.equal(value, before[key]) for key, value in fresh.state_dict().items())


def test_a_file_of_weights_that_is_not_there_is_named_with_its_key(tmp_path: Path) -> None:
    gone = tmp_path / "resnet18.pth"
    with pytest.raises(CheckpointError) as refused:
        load_backbone(network(frozen_stages=1), Section(str(gone)))
    assert str(gone) in str(refused.value) and "model.image_backbone.weights" in str(refused.value)
    assert "\n" not in str(refused.value)
