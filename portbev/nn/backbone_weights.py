"""Image backbones from files of others: torchvision's, a detector's, or one of self-supervised training."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.nn.misfit import reasons, summarise
from portbev.nn.names import all_tensors, find_weights
from portbev.nn.resnet import unread_weights
from portbev.tensorfiles.reading import read_weights_file

_OFFSET = ".conv_offset."
_DETECTRON = re.compile(r"(^|\.)res[2-5]\.\d+\.")
_CLASSIFIER = re.compile(r"(fc|head|classifier|linear)\.")


def load_resnet(network: nn.Module, path: str) -> list[str]:
    """Load a ResNet's weights with torchvision's names into an image backbone.

    The file may be of any kind that :func:`portbev.tensorfiles.reading.read_file` reads, and the names may begin with
    whatever a detector or a training put before them: the weights are where most of the backbone's names are found.
    Deformable convolutions take the weights of the plain ones; the layers that predict their offsets stay as they are
    where the file has none. Necks, heads, classifiers and stages that the backbone does not have are left aside.

    Args:
        network: keys ``conv1 bn1 layer1 ...``, as :class:`portbev.nn.resnet.ResNet`.
        path: the file.

    Returns:
        Notes: where in the file the weights were, what was left aside, what stays as initialised.

    Raises:
        CheckpointError: the file cannot be read or does not fit; says which backbone it holds.
    """
    content = read_weights_file(path)
    if any(_DETECTRON.search(name) for name in all_tensors(content)):
        what = "has the names of detectron2 (stem, res2 to res5), whose networks mostly take blue, green, red"
        raise CheckpointError(what, where=path, cure=f"Convert it: portbev convert detectron {path} -o NEW.safetensors")
    expected = network.state_dict()
    shapes = {key: value.shape for key, value in expected.items()}
    found = find_weights(content, shapes, prefer_average=False)
    weights = {_today(name): value for name, value in found.weights.items()}
    plain = [key for key in expected if not key.endswith("num_batches_tracked")]
    missing = [key for key in plain if key not in weights and _OFFSET not in key]
    fits = [key for key in expected if key in weights and weights[key].shape == expected[key].shape]
    if len(missing) == len(plain) or not fits:
        there = all_tensors(content)
        what = f"holds no weights of a ResNet: {len(there)} tensors, first {there[0]}"
        cure = "Give torchvision's ResNet weights, or a checkpoint of a detector with such a backbone"
        raise CheckpointError(what, where=path, cure=cure)
    aside = [name for name in weights if name not in expected]
    stages = {key.split(".")[0] for key in expected}
    strange = [name for name in aside if name.split(".")[0] in stages]
    misshaped = [
        f"{key} {tuple(weights[key].shape)} for {tuple(expected[key].shape)}"
        for key in plain
        if key in weights and weights[key].shape != expected[key].shape and _OFFSET not in key
    ]
    problems = [*summarise("missing", missing), *summarise("unexpected", strange), *summarise("misshaped", misshaped)]
    if problems:
        why = reasons({name: value.shape for name, value in weights.items()}, shapes)
        cure = "Give the file for this backbone, or set depth and width of the backbone as in the file"
        text = "; ".join([*why, *problems])
        raise CheckpointError(f"does not fit the image backbone: {text}", where=path, cure=cure)
    state: dict[str, Tensor] = {key: weights[key].to(expected[key].dtype) for key in fits}
    with torch.no_grad():
        network.load_state_dict(state, strict=False)
    fresh = [key for key in expected if _OFFSET in key and key not in state]
    unread = unread_weights(network, aside)
    notes = [f"{len(unread)} weights of stages that the model does not read left aside"] if unread else []
    aside = [name for name in aside if name not in set(unread)]
    return [*notes, *_notes(path, found.place, found.others, [*aside, *found.beside], fresh)]


def _notes(path: str, place: str, others: list[str], aside: list[str], fresh: list[str]) -> list[str]:
    notes = []
    if others:
        notes.append(f"{path}: the backbone in {place or 'the file'} is read, not the one in {', '.join(others)}")
    heads = _groups(name for name in aside if not (_CLASSIFIER.match(name) and not place))
    if heads:
        notes.append(f"{path}: left aside: {heads}")
    if fresh:
        layers = len({key.partition(_OFFSET)[0] for key in fresh})
        notes.append(f"{path}: the offsets of {layers} deformable convolutions start fresh, it has none that fit")
    return notes


def _today(name: str) -> str:
    """The name that a weight has in today's versions: the first deformable layers had ``conv2_offset`` beside them."""
    return re.sub(r"\.(conv\d)_offset\.", r".\1.conv_offset.", name)


def _groups(names: Iterable[str]) -> str:
    """The first parts of names, with the number of tensors in each."""
    counts: dict[str, int] = {}
    for name in names:
        parts = name.split(".")
        group = ".".join(parts[:2]) if parts[0] in ("state_dict", "model") and len(parts) > 2 else parts[0]
        counts[group] = counts.get(group, 0) + 1
    return ", ".join(f"{group} ({count})" for group, count in counts.items())
