"""``portbev convert detectron|regnet|backbone``: names change, every shape is checked, and what is written loads."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from portbev.cli import main
from portbev.convert.weights import convert_weights
from portbev.errors import CheckpointError
from portbev.nn.backbone_weights import load_resnet
from portbev.nn.resnet import ResNet

WIDTH = 4


def resnet(**options: Any) -> ResNet:
    torch.manual_seed(0)
    network = ResNet(50, base_channels=WIDTH, **options)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return network


def weights(network: ResNet) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if "num_batches" not in name}


def caffe_blobs(state: dict[str, Tensor]) -> Iterator[tuple[str, Any]]:
    """The blobs of Detectron: normalisations have scale and bias alone."""
    letters = {"1": "a", "2": "b", "3": "c"}
    for name, value in state.items():
        if "running" in name:
            continue
        part = name.rpartition(".")[2]
        stem = re.match(r"(conv|bn)1\.", name)
        inside = re.match(r"layer(\d)\.(\d+)\.(?:(conv|bn)(\d)|downsample\.(\d))", name)
        if stem:
            kind, place = stem[1], "conv1"
        else:
            assert inside is not None
            branch = "branch1" if inside[5] else f"branch2{letters[inside[4]]}"
            place = f"res{int(inside[1]) + 1}_{inside[2]}_{branch}"
            kind = inside[3] or ("bn" if inside[5] == "1" else "conv")
        blob = f"{'res_' if stem and kind == 'bn' else ''}{place}{'_bn' if kind == 'bn' else ''}"
        yield f"{blob}_{'w' if kind == 'conv' else 's' if part == 'weight' else 'b'}", value.numpy()


def detectron2_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    named = {}
    for name, value in state.items():
        if name.startswith(("conv1.", "bn1.")):
            named[name.replace("bn1.", "stem.conv1.norm.").replace("conv1.w", "stem.conv1.w")] = value
            continue
        stage, block, rest = re.match(r"layer(\d)\.(\d+)\.(.*)", name).groups()  # type: ignore[union-attr]
        rest = rest.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        rest = re.sub(r"bn(\d)", r"conv\1.norm", rest)
        named[f"res{int(stage) + 1}.{block}.{rest}"] = value
    return named


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("wrapped", [True, False])
def test_detectrons_blobs_become_a_resnet_that_loads(wrapped: bool, tmp_path: Path) -> None:
    network = resnet()
    state = weights(network)
    for name in state:  # what its affine layers are
        if "running" in name:
            state[name].fill_(1.0 if "var" in name else 0.0)
    blobs: dict[str, Any] = dict(caffe_blobs(state))
    blobs |= {"fc1000_w": blobs["conv1_w"], "conv1_w_momentum": blobs["conv1_w"]}
    path, out = tmp_path / "R-50.pkl", tmp_path / "r50.safetensors"
    path.write_bytes(pickle.dumps({"blobs": blobs} if wrapped else blobs, protocol=2))
    assert main(["convert", "detectron", str(path), "-o", str(out)]) == 0
    assert same(load_file(out), state)
    fresh = ResNet(50, base_channels=WIDTH, style="caffe")
    assert load_resnet(fresh, str(out)) == []
    assert torch.equal(fresh.layer4[2].bn3.weight, network.layer4[2].bn3.weight)


def test_a_bias_of_a_convolution_goes_into_the_normalisation_behind_it(tmp_path: Path) -> None:
    network = resnet().double().eval()
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.fill_(1.0 if "var" in name else 0.0)
    blobs: dict[str, Any] = dict(caffe_blobs(weights(network)))
    bias = torch.linspace(-1, 1, WIDTH, dtype=torch.float64)
    path = tmp_path / "biased.pkl"
    path.write_bytes(pickle.dumps({**blobs, "conv1_b": bias.numpy()}))
    converted = ResNet(50, base_channels=WIDTH).double().eval()
    converted.load_state_dict(convert_weights("detectron", path).weights, strict=False)
    picture = torch.randn(1, 3, 16, 16, dtype=torch.float64)
    stem = torch.nn.functional.conv2d(picture, network.conv1.weight, bias, 2, 3)
    torch.testing.assert_close(converted.bn1(converted.conv1(picture)), network.bn1(stem))


def test_detectron2s_names_become_torchvisions(tmp_path: Path) -> None:
    state = weights(resnet())
    named = {f"backbone.bottom_up.{name}": value for name, value in detectron2_names(state).items()}
    path = tmp_path / "model.pth"
    torch.save({"model": {**named, "proposal_generator.rpn_head.conv.weight": torch.zeros(3)}}, path)
    found = convert_weights("detectron", path)
    assert same(found.weights, state)
    assert any("proposal_generator" in note for note in found.notes)


def test_a_detectors_backbone_is_taken_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = weights(resnet(deformable_stages=(3, 4)))
    detector = {f"img_backbone.{name}": value for name, value in state.items()}
    path, out = tmp_path / "detector.pth", tmp_path / "backbone.pth"
    torch.save({"state_dict": {**detector, "img_neck.lateral_convs.0.conv.weight": torch.zeros(2)}}, path)
    assert main(["convert", "backbone", str(path), "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "ResNet-50" in said and "the backbone at state_dict.img_backbone" in said
    assert "left aside: 1 other tensors (img_neck.lateral_convs.0.conv.weight)" in said.replace("state_dict.", "")
    written = torch.load(out, weights_only=True)["state_dict"]
    assert same(written, state)
    load_resnet(ResNet(50, base_channels=WIDTH, deformable_stages=(3, 4)), str(out))


def test_of_two_copies_the_one_without_average_is_taken_and_the_other_named(tmp_path: Path) -> None:
    state = weights(resnet())
    averaged = {name: value + 1 for name, value in state.items()}
    path = tmp_path / "both.pth"
    torch.save({"ema_state_dict": averaged, "state_dict": state}, path)
    found = convert_weights("backbone", path)
    assert same(found.weights, state)
    assert found.notes == ["the backbone at state_dict", "left aside: the backbones at ema_state_dict"]


def regnet(widths: tuple[int, ...] = (4, 6), blocks: int = 2) -> dict[str, Tensor]:
    """pycls' names of a small RegNetX."""
    state = {"stem.conv.weight": torch.randn(3, 3, 3, 3)}
    norms = [("stem.bn", 3)]
    channels = 3
    for stage, width in enumerate(widths, 1):
        for block in range(1, blocks + 1):
            place = f"s{stage}.b{block}"
            if block == 1:
                state[f"{place}.proj.weight"] = torch.randn(width, channels, 1, 1)
                norms.append((f"{place}.bn", width))
            state[f"{place}.f.a.weight"] = torch.randn(width, channels, 1, 1)
            state[f"{place}.f.b.weight"] = torch.randn(width, 2, 3, 3)
            state[f"{place}.f.c.weight"] = torch.randn(width, width, 1, 1)
            norms += [(f"{place}.f.{letter}_bn", width) for letter in "abc"]
            channels = width
    for name, count in norms:
        state |= {f"{name}.{part}": torch.randn(count) for part in ("weight", "bias", "running_mean", "running_var")}
    return state


def test_pycls_regnet_gets_mmdetections_names(tmp_path: Path) -> None:
    state = regnet()
    path, out = tmp_path / "RegNetX.pyth", tmp_path / "regnetx.pth"
    torch.save({"epoch": 99, "model_state": {**state, "head.fc.weight": torch.zeros(5, 6)}}, path)
    assert main(["convert", "regnet", str(path), "-o", str(out)]) == 0
    written = torch.load(out, weights_only=True)["state_dict"]
    assert len(written) == len(state)
    for ours, theirs in (
        ("conv1.weight", "stem.conv.weight"),
        ("bn1.running_var", "stem.bn.running_var"),
        ("layer2.0.downsample.0.weight", "s2.b1.proj.weight"),
        ("layer2.0.downsample.1.bias", "s2.b1.bn.bias"),
        ("layer1.1.conv2.weight", "s1.b2.f.b.weight"),
        ("layer1.1.bn3.running_mean", "s1.b2.f.c_bn.running_mean"),
    ):
        assert torch.equal(written[ours], state[theirs])


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("kind", "make", "said"),
    [
        ("backbone", lambda: without(weights(resnet()), "layer3.1.bn2.bias"), "1 missing (layer3.1.bn2.bias)"),
        ("backbone", lambda: {**weights(resnet()), "layer1.0.extra.weight": torch.ones(1)}, "1 unexpected"),
        ("backbone", lambda: {**weights(resnet()), "bn1.bias": torch.ones(1)}, "bn1.bias (1,) for (4,)"),
        ("backbone", lambda: {"head.weight": torch.ones(1)}, "holds no ResNet with"),
        ("detectron", lambda: without(detectron2_names(weights(resnet())), "res4.0.shortcut.weight"), "missing"),
        ("detectron", lambda: weights(resnet()), "Detectron's names"),
        ("regnet", lambda: without(regnet(), "s1.b2.f.a.weight"), "layer1.1.conv1.weight is missing"),
        ("regnet", lambda: {**regnet(), "s2.b1.f.a.weight": torch.zeros(6, 9, 1, 1)}, "does not take the 4 channels"),
        ("regnet", lambda: {**regnet(), "s1.b1.f.se.f_ex.0.weight": torch.zeros(1)}, "RegNetY"),
        ("regnet", lambda: {**regnet(), "something.else": torch.zeros(1)}, "1 unknown"),
    ],
)
def test_what_is_not_whole_is_refused_and_nothing_is_written(
    kind: str, make: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "weights.pth", tmp_path / "out.pth"
    torch.save(make(), path)
    assert main(["convert", kind, str(path), "-o", str(out)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not out.exists()


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


def test_no_file_of_weights_executes_anything(tmp_path: Path) -> None:
    path, mark = tmp_path / "evil.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"blobs": dict(caffe_blobs(weights(resnet()))), "x": Evil(mark)}))
    assert convert_weights("detectron", path).name == "ResNet-50"
    assert not mark.exists()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match=r"cut off|damaged"):
        convert_weights("detectron", path)


@pytest.mark.parametrize("name", ["out.onnx", "out"])
def test_a_name_that_is_no_file_of_weights_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "backbone", str(tmp_path / "x.pth"), "-o", str(tmp_path / name)]) == 2
    assert "OUT.safetensors or OUT.pth" in capsys.readouterr().err
