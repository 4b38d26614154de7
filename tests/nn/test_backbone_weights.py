"""Image backbones from the files that people have: a detector's, one of self-supervised training, other versions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev.errors import CheckpointError
from portbev.nn.backbone_weights import load_resnet
from portbev.nn.resnet import ResNet

State = dict[str, Tensor]


def resnet(seed: int, depth: int = 18, **options: Any) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(depth, base_channels=8, **options)


def under(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


FC = {"fc.weight": torch.ones(10, 64), "fc.bias": torch.ones(10)}
NECK = {f"{name}.weight": torch.ones(3) for name in ("neck.lateral", "bbox_head.cls", "bbox_head.box")}
FILES: dict[str, tuple[Callable[[State], Any], list[str]]] = {
    "torchvision": (lambda s: {**s, **FC}, []),
    "before batches were counted": (lambda s: {k: v for k, v in s.items() if "num_batches" not in k}, []),
    "a detector": (
        lambda s: {"meta": {}, "state_dict": {**under(s, "backbone."), **NECK}},
        ["left aside: state_dict.neck (1), state_dict.bbox_head (2)"],
    ),
    "a detector in bird's-eye view": (lambda s: {"state_dict": under(s, "img_backbone.")}, []),
    "in parallel": (lambda s: {"state_dict": under(s, "module.backbone.")}, []),
    "a model": (lambda s: {"state_dict": under(s, "model.backbone.img_backbone.")}, []),
    "torchvision's detector": (lambda s: {"model": under(s, "backbone.body.")}, []),
    "a transformer": (lambda s: {"model": under(s, "backbone.0.body.")}, []),
    "contrast": (
        lambda s: {
            "state_dict": {
                **under({k: v * 0 for k, v in s.items()}, "module.encoder_k."),
                **under(s, "module.encoder_q."),
                "module.queue": torch.ones(4),
            }
        },
        ["the backbone in state_dict.encoder_q is read, not the one in state_dict.encoder_k", "left aside: "],
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_backbone_is_found_in(kind: str, tmp_path: Path) -> None:
    make, notes = FILES[kind]
    source, target, path = resnet(1), resnet(2), tmp_path / "file.pth"
    state = source.state_dict()
    torch.save(make(state), path)
    said = load_resnet(target, str(path))
    for key, value in target.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert len(said) == len(notes)
    assert all(note in line and str(path) in line for note, line in zip(notes, said, strict=True))


def test_deformable_stages_take_plain_weights_and_keep_fresh_offsets(tmp_path: Path) -> None:
    source, target = resnet(1, 50), resnet(2, 50, deformable_stages=(3, 4))
    torch.save(source.state_dict(), tmp_path / "r50.pth")
    (note,) = load_resnet(target, str(tmp_path / "r50.pth"))
    assert "the offsets of 9 deformable convolutions start fresh" in note
    assert torch.equal(target.layer3[0].conv2.weight, source.layer3[0].conv2.weight)
    assert not target.layer3[0].conv2.conv_offset.weight.any()
    x = torch.randn(1, 3, 64, 64)
    plain, deformed = source.eval()(x)[1], target.eval()(x)[1]
    assert torch.equal(plain, deformed)  # the stages before the deformable ones


@pytest.mark.parametrize("name", [".conv2.conv_offset.", ".conv2_offset."])
def test_offsets_that_the_file_has_are_taken(name: str, tmp_path: Path) -> None:
    source, target = resnet(1, 50, deformable_stages=(4,)), resnet(2, 50, deformable_stages=(4,))
    with torch.no_grad():
        source.layer4[1].conv2.conv_offset.weight.fill_(0.25)
    state = {k.replace(".conv2.conv_offset.", name): v for k, v in source.state_dict().items()}
    torch.save({"state_dict": under(state, "backbone.")}, tmp_path / "dcn.pth")
    assert load_resnet(target, str(tmp_path / "dcn.pth")) == []
    assert torch.equal(target.layer4[1].conv2.conv_offset.weight, source.layer4[1].conv2.conv_offset.weight)


def test_offsets_of_version_one_do_not_fit_and_start_fresh(tmp_path: Path) -> None:
    source, target = resnet(1, 50, deformable_stages=(4,)), resnet(2, 50, deformable_stages=(4,))
    state = {k: v[:18] if ".conv_offset." in k else v for k, v in source.state_dict().items()}
    torch.save(state, tmp_path / "dcn1.pth")
    assert "start fresh" in load_resnet(target, str(tmp_path / "dcn1.pth"))[0]


def test_a_backbone_that_ends_early_leaves_later_stages_aside(tmp_path: Path) -> None:
    source, target = resnet(1), resnet(2, reads=(1, 2))
    torch.save(source.state_dict(), tmp_path / "r18.pth")
    (note,) = load_resnet(target, str(tmp_path / "r18.pth"))
    assert note == "60 weights of stages that the model does not read left aside"
    assert torch.equal(target.layer2[0].conv1.weight, source.layer2[0].conv1.weight)


@pytest.mark.parametrize(
    ("there", "here", "said"),
    [
        (101, 50, "is a ResNet-101 there and a ResNet-50 here"),
        (34, 18, "is a ResNet-34 there and a ResNet-18 here"),
        (50, 18, "is a ResNet-50 there and a ResNet-18 here"),
        (18, 50, "is a ResNet-18 there and a ResNet-50 here"),
    ],
)
def test_another_depth_is_named(there: int, here: int, said: str, tmp_path: Path) -> None:
    torch.save({"state_dict": under(resnet(1, there).state_dict(), "backbone.")}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=said) as caught:
        load_resnet(resnet(2, here), str(tmp_path / "x.pth"))
    assert caught.value.where.endswith("x.pth") and caught.value.cure


def test_another_width_and_no_resnet_are_told(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(ResNet(18, base_channels=16).state_dict(), tmp_path / "wide.pth")
    with pytest.raises(CheckpointError, match=r"100 misshaped .*conv1\.weight \(16, 3, 7, 7\) for \(8, 3, 7, 7\)"):
        load_resnet(resnet(2), str(tmp_path / "wide.pth"))
    torch.save({"model": {"backbone.bottom_up.res2.0.conv1.weight": torch.ones(3)}}, tmp_path / "d2.pth")
    with pytest.raises(CheckpointError, match="names of detectron2"):
        load_resnet(resnet(2), str(tmp_path / "d2.pth"))
    torch.save({"blocks.0.attn.qkv.weight": torch.ones(3)}, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=r"no weights of a ResNet: 1 tensors, first blocks\.0\.attn\.qkv\.weight"):
        load_resnet(resnet(2), str(tmp_path / "vit.pth"))
