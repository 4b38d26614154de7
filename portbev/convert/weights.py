"""Weights under the names of other projects made into files with torchvision's names, shapes checked one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from portbev.errors import CheckpointError
from portbev.files import atomic_write
from portbev.nn.misfit import resnet_name, summarise
from portbev.nn.names import all_tensors, tensor_of
from portbev.nn.resnet import ResNet
from portbev.tensorfiles.reading import read_weights_file
from portbev.tensorfiles.standins import walk

Kind = Literal["detectron", "regnet", "backbone"]
DEPTHS = (18, 34, 50, 101)
_STATISTICS = ("weight", "bias", "running_mean", "running_var")
_DEFORMABLE = ".conv_offset."


@dataclass
class Backbone:
    """A backbone's weights.

    Attributes:
        weights: under torchvision's names.
        name: ``ResNet-50`` and the like.
        style: where a bottleneck has its stride, as far as the source shows it; empty where it does not.
        notes: what a person should know to use it.
    """

    weights: dict[str, Tensor]
    name: str
    style: str = ""
    notes: list[str] = field(default_factory=list)


def convert_weights(kind: Kind, source: Path) -> Backbone:
    """Read a file of weights (nothing in it is executed) and give its backbone torchvision's names.

    Args:
        kind: ``detectron``: a ResNet of Detectron (caffe2 blobs) or of detectron2, alone or in a detector.
            ``regnet``: a RegNet of pycls. ``backbone``: a ResNet in any checkpoint that has torchvision's names behind
            a beginning of their own.

    Raises:
        CheckpointError: the file cannot be read, holds no such backbone, or not all of one; names and shapes.
    """
    content = read_weights_file(source)
    tensors = {name: value for name, leaf in walk(content) if (value := tensor_of(leaf)) is not None}
    convert: Callable[[dict[str, Tensor]], Backbone] = {
        "detectron": _detectron, "regnet": _regnet, "backbone": _extract,
    }[kind]  # fmt: skip
    try:
        return convert(tensors)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=str(source), cure=error.cure) from error


def write_weights(backbone: Backbone, out: Path) -> None:
    """Write ``.safetensors``, or a file of torch with a ``state_dict`` for any other name; whole or not at all.

    Raises:
        PortbevError: the file cannot be written.
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in backbone.weights.items()}
    facts = {"backbone": backbone.name, "style": backbone.style}
    with atomic_write(out) as temporary:
        if out.suffix == ".safetensors":
            save_file(plain, temporary, metadata={"portbev": json.dumps(facts)})
        else:
            torch.save({"state_dict": plain, "meta": facts}, temporary)


_STAGED = re.compile(r"layer(\d)\.0\.(?:conv1\.weight|downsample\.0\.weight)$")


def _extract(tensors: dict[str, Tensor]) -> Backbone:
    """A ResNet below the beginning of names where most of one is."""
    roots: dict[str, int] = {}
    for name in tensors:
        if staged := _STAGED.search(name):
            root = name[: staged.start()]
            roots[root] = roots.get(root, 0) + 1
    roots = {root: count for root, count in roots.items() if f"{root}conv1.weight" in tensors}
    if not roots:
        raise _nothing(tensors, "ResNet with torchvision's names (conv1, bn1, layer1 ...)")
    averaged = re.compile(r"(^|[._])(ema|swa|averaged?)($|[._])", re.IGNORECASE)
    ordered = sorted(roots, key=lambda root: (-roots[root], bool(averaged.search(root)), len(root), root))
    root = ordered[0]
    taken = {name for name in tensors if re.match(rf"{re.escape(root)}(conv1|bn1|layer\d)\.", name)}
    weights = {_today(name[len(root) :]): value for name, value in tensors.items() if name in taken}
    found = Backbone(weights, _checked(weights))
    if root:
        found.notes.append(f"the backbone at {root.rstrip('.')}")
    if len(ordered) > 1:
        others = ", ".join(one.rstrip(".") or "the top" for one in ordered[1:])
        found.notes.append(f"left aside: the backbones at {others}")
    beside = [name for name in tensors if name not in taken and not name.startswith(tuple(filter(None, ordered[1:])))]
    found.notes += [f"left aside: {text}" for text in summarise("other tensors", beside)]
    return found


def _today(name: str) -> str:
    """The first deformable layers of mmdetection had ``conv2_offset`` beside ``conv2``."""
    return re.sub(r"\.(conv\d)_offset\.", r".\1.conv_offset.", name)


_CAFFE = re.compile(r"(?:gpu_0/)?(res_)?(conv1|res([2-5])_(\d+)_branch(1|2[abc]))(_bn)?_([wbs])$")
_D2 = re.compile(r"(?:.*\.)?(?:stem\.(conv1)|res([2-5])\.(\d+)\.(shortcut|conv[123]))(\.norm)?\.(\w+)$")
_FIRST = {"1": "downsample", "2a": "conv1", "2b": "conv2", "2c": "conv3"}


def _detectron(tensors: dict[str, Tensor]) -> Backbone:
    """Detectron's caffe2 blobs, whose normalisations are scale and bias alone, or detectron2's names."""
    named: dict[str, Tensor] = {}
    aside = []
    caffe = any(_CAFFE.match(name.rpartition(".")[2]) for name in tensors)
    for name, value in tensors.items():
        key = _of_caffe(name.rpartition(".")[2]) if caffe else _of_detectron2(name)
        if key:
            named[key] = value
        elif not _other(name):
            aside.append(name)
    if not named:
        raise _nothing(tensors, "ResNet with Detectron's names (res2_0_branch2a_w, or res2.0.conv1.weight)")
    weights = _with_statistics(named)
    found = Backbone(weights, _checked(weights), "caffe" if caffe else "")
    found.notes.append(
        "these networks take blue, green, red and no division by a deviation: data.bgr=true, "
        "data.mean=[103.53,116.28,123.675], data.std=[1,1,1]"
        if caffe
        else "detectron2's own networks take blue, green, red; those that it took from torchvision red, green, blue: "
        "set data.bgr, data.mean and data.std as their configuration has them"
    )
    stride = "style: caffe (the stride in the first 1x1), as all of Detectron's ResNets"
    found.notes.append(stride if caffe else "model.image_backbone.style is caffe where RESNETS.STRIDE_IN_1X1 is True")
    if aside:
        found.notes.append(f"left aside: {summarise('tensors', aside)[0]}")
    return found


def _other(name: str) -> bool:
    """Solver state that Detectron keeps beside the weights."""
    return name.endswith(("_momentum", "lr", "pixel_mean", "pixel_std"))


def _of_caffe(name: str) -> str:
    found = _CAFFE.match(name)
    if found is None:
        return ""
    norm, part = found[6], found[7]
    if found[2] == "conv1":
        layer = "bn1" if found[1] or norm else "conv1"
    else:
        inside = _FIRST[found[5]]
        block = f"layer{int(found[3]) - 1}.{found[4]}"
        layer = f"{block}.{inside.replace('conv', 'bn') if norm else inside}"
        layer += (".1" if norm else ".0") if inside == "downsample" else ""
    return f"{layer}.{'bias' if part == 'b' else 'weight'}"


def _of_detectron2(name: str) -> str:
    found = _D2.match(name)
    if found is None:
        return ""
    norm, part = found[5], found[6]
    if found[1]:
        return f"{'bn1' if norm else 'conv1'}.{part}"
    block, inside = f"layer{int(found[2]) - 1}.{found[3]}", found[4]
    if inside == "shortcut":
        return f"{block}.downsample.{1 if norm else 0}.{part}"
    return f"{block}.{inside.replace('conv', 'bn') if norm else inside}.{part}"


def _with_statistics(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Normalisations of scale and bias alone get mean 0 and variance 1; biases of convolutions go into the mean."""
    weights = dict(named)
    for key in [key for key in named if re.search(r"(bn\d|downsample\.1)\.weight$", key)]:
        place = key.removesuffix("weight")
        conv = re.sub(r"downsample\.1\.$", "downsample.0.", re.sub(r"bn(\d)\.$", r"conv\1.", place))
        weights.setdefault(f"{place}running_mean", torch.zeros_like(named[key]))
        weights.setdefault(f"{place}running_var", torch.ones_like(named[key]))
        bias = weights.pop(f"{conv}bias", None)
        if bias is not None and bool(bias.any()):
            weights[f"{place}running_mean"] = weights[f"{place}running_mean"] - bias
    return weights


def _checked(weights: Mapping[str, Tensor]) -> str:
    """The name of the ResNet whose weights these are; every one is there, in its shape, and no other.

    Raises:
        CheckpointError: not a whole ResNet of a known depth; what differs.
    """
    name = resnet_name(weights)
    depth = int(name.removeprefix("ResNet-")) if name.removeprefix("ResNet-").isdigit() else 0
    if depth not in DEPTHS:
        what = f"holds a {name or 'network'} that is none of {', '.join(f'ResNet-{one}' for one in DEPTHS)}"
        raise CheckpointError(what, cure="Only these can be image backbones here")
    deformable = {key.split(".")[0] for key in weights if _DEFORMABLE in key}
    stages = tuple(number for number in range(1, 5) if f"layer{number}" in deformable)
    stem = weights.get("conv1.weight")
    width = int(stem.shape[0]) if stem is not None and stem.dim() == 4 else 64
    colours = int(stem.shape[1]) if stem is not None and stem.dim() == 4 else 3
    with torch.device("meta"):
        model = ResNet(depth, base_channels=width, in_channels=colours, deformable_stages=stages)
    expected = {key: value.shape for key, value in model.state_dict().items()}
    needed = [key for key in expected if not key.endswith("num_batches_tracked")]
    problems = [
        *summarise("missing", (key for key in needed if key not in weights)),
        *summarise("unexpected", (key for key in weights if key not in expected)),
        *summarise(
            "misshaped",
            (
                f"{key} {tuple(weights[key].shape)} for {tuple(shape)}"
                for key, shape in expected.items()
                if key in weights and weights[key].shape != shape
            ),
        ),
    ]
    if problems:
        raise CheckpointError(f"holds no whole {name}: {'; '.join(problems)}", cure="Give the file as it was published")
    return name


_STEM = re.compile(r"stem\.(conv|bn)\.(\w+)$")
_BLOCK = re.compile(r"s(\d)\.b(\d+)\.(bn|proj|f\.([abc])(_bn)?)\.(\w+)$")
_EXCITED = re.compile(r"s\d\.b\d+\.f\.se\.")


def _regnet(tensors: dict[str, Tensor]) -> Backbone:
    """A RegNet of pycls under the names that mmdetection's RegNet has: conv1, bn1, layer1.0.conv1 ..."""
    weights: dict[str, Tensor] = {}
    unknown = []
    for name, value in tensors.items():
        place = next((name.find(start) for start in ("stem.", "head.fc.") if start in name), -1)
        found = _BLOCK.search(name)
        if stem := _STEM.search(name):
            weights[f"{stem[1]}1.{stem[2]}"] = value
        elif found is not None:
            block = f"layer{found[1]}.{int(found[2]) - 1}"
            inside = {"bn": "downsample.1", "proj": "downsample.0"}.get(found[3])
            if inside is None:
                inside = f"{'bn' if found[5] else 'conv'}{'abc'.index(found[4]) + 1}"
            weights[f"{block}.{inside}.{found[6]}"] = value
        elif _EXCITED.search(name):
            what = "is a RegNetY, with squeeze and excitation, which mmdetection's RegNet does not have"
            raise CheckpointError(what, cure="Give a RegNetX")
        elif place < 0 and not name.startswith(("optimizer_state.", "cfg", "epoch")):
            unknown.append(name)
    if not any(key.startswith("layer1.") for key in weights):
        raise _nothing(tensors, "RegNet with pycls' names (stem.conv.weight, s1.b1.f.a.weight)")
    if unknown:
        raise CheckpointError(f"holds {summarise('unknown', unknown)[0]}", cure="Give a RegNetX of pycls")
    counts = _whole_regnet(weights)
    notes = ["without the classifier", "the models here have ResNets alone: this file is for mmdetection's RegNet"]
    return Backbone(weights, f"RegNetX with {'-'.join(map(str, counts))} blocks", "", notes)


def _whole_regnet(weights: Mapping[str, Tensor]) -> list[int]:
    """The number of blocks of each stage; every block is whole and takes what the one before gives.

    Raises:
        CheckpointError: it is not.
    """
    problems: list[str] = []

    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            problems.append(f"{name} is missing")
            return (0, 0, 0, 0)
        return tuple(weights[name].shape)

    def norm(name: str, channels: int) -> None:
        wrong = [part for part in _STATISTICS if shape(f"{name}.{part}") != (channels,)]
        problems.extend(f"{name}.{part} is no row of {channels}" for part in wrong)

    channels = shape("conv1.weight")[0]
    norm("bn1", channels)
    counts = []
    stage = 1
    while any(key.startswith(f"layer{stage}.") for key in weights):
        blocks = sorted({int(key.split(".")[1]) for key in weights if key.startswith(f"layer{stage}.")})
        if blocks != list(range(len(blocks))):
            problems.append(f"stage {stage} has blocks {blocks}")
        for block in blocks:
            place = f"layer{stage}.{block}"
            first, second, third = (shape(f"{place}.conv{number}.weight") for number in (1, 2, 3))
            if not (len(first) == len(second) == len(third) == 4) or first[1] != channels or third[1] != second[0]:
                problems.append(f"{place} does not take the {channels} channels before it")
            for number, one in enumerate((first, second, third), 1):
                norm(f"{place}.bn{number}", one[0])
            if f"{place}.downsample.0.weight" in weights:
                if shape(f"{place}.downsample.0.weight")[:2] != (third[0], channels):
                    problems.append(f"{place}.downsample.0.weight does not fit")
                norm(f"{place}.downsample.1", third[0])
            elif third[0] != channels:
                problems.append(f"{place}.downsample is missing")
            channels = third[0]
        counts.append(len(blocks))
        stage += 1
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"holds no whole RegNet: {'; '.join(problems[:5])}{more}", cure="Fetch it again")
    return counts


def _nothing(tensors: Mapping[str, Any], what: str) -> CheckpointError:
    there = all_tensors(tensors)
    cure = "Look at the names: portbev publish and eval say what they find in a file"
    return CheckpointError(f"holds no {what}: {len(there)} tensors, first {there[0] if there else 'none'}", cure=cure)
