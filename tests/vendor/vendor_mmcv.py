"""A program for a process with mmcv-lite: its layers beside ours, as JSON. First over a stand-in for ``mmcv._ext``,
then, taken away, as it is installed."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from portbev.compat.mmcv import install, uninstall

LAYERS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "v1": ("DeformConv2d", (4, 6, 3), {"stride": 2, "groups": 2}),
    "v1 pack": ("DeformConv2dPack", (4, 6, (3, 1)), {"padding": (1, 0), "deform_groups": 2}),
    "v2": ("ModulatedDeformConv2d", (4, 6, 3), {"bias": False}),
    "v2 pack": ("ModulatedDeformConv2dPack", (4, 6, 3), {"dilation": 2, "padding": 2, "deform_groups": 2}),
    "attention": ("MultiScaleDeformableAttention", (16, 4, 2, 3), {}),
    "narrow": ("MultiScaleDeformableAttention", (16, 4, 2, 3), {"value_proj_ratio": 0.5, "batch_first": True}),
    "defaults": ("MultiScaleDeformableAttention", (), {}),
}
NAMES = {kind for kind, _, _ in LAYERS.values()}
FUNCTION = "multi_scale_deformable_attn_pytorch"


@contextmanager
def over_a_stand_in() -> Iterator[None]:
    """``mmcv._ext`` has every function, and none computes."""
    stand_in = types.ModuleType("mmcv._ext")

    def function(name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: None

    vars(stand_in)["__getattr__"] = function
    sys.modules["mmcv._ext"] = stand_in
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.startswith(("mmcv.ops", "mmcv._ext"))]:
            del sys.modules[name]
        vars(sys.modules["mmcv"]).pop("ops", None)


def kinds() -> dict[str, Any]:
    """Classes and the function by name, as ``mmcv.ops`` has them now."""
    ops = importlib.import_module("mmcv.ops")
    function = getattr(importlib.import_module("mmcv.ops.multi_scale_deform_attn"), FUNCTION)
    return {**{name: getattr(ops, name) for name in NAMES}, FUNCTION: function}


def made(every: dict[str, Any]) -> dict[str, nn.Module]:
    layers = {}
    for name, (kind, args, kwargs) in LAYERS.items():
        torch.manual_seed(7)
        layers[name] = every[kind](*args, **kwargs)
    return layers


def attributes(layer: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(layer).items() if not name.startswith("_")}


def compared(theirs: nn.Module, ours: nn.Module) -> dict[str, Any]:
    """What is equal of two layers that were made alike, and the attributes that are not."""
    a, b = theirs.state_dict(), ours.state_dict()
    public = attributes(theirs), attributes(ours)
    return {
        "keys": list(a) == list(b) and type(theirs) is not type(ours),
        "weights": all(torch.equal(value, b[key]) for key, value in a.items()),
        "metadata": a._metadata == b._metadata,  # type: ignore[attr-defined]
        "attributes": sorted(
            name for name in public[0].keys() | public[1] if public[0].get(name) != public[1].get(name)
        ),
    }


def apart(theirs: Tensor, ours: Tensor) -> float:
    return float((theirs - ours).abs().max() / theirs.abs().max())


def attended(theirs: Any, ours: Any, boxes: bool) -> dict[str, float]:
    """The layers' results, and their gradients by query and weights, in float64."""
    torch.manual_seed(1)
    layers = [layer.double().eval() for layer in (theirs, ours)]
    for parameter, other in zip(*(layer.parameters() for layer in layers), strict=True):
        with torch.no_grad():
            other.copy_(nn.init.normal_(parameter))
    double: dict[str, Any] = {"dtype": torch.float64}
    given = {
        "value": torch.randn(8, 2, 16, **double),
        "query_pos": torch.randn(5, 2, 16, **double),
        "key_padding_mask": torch.rand(2, 8) > 0.7,
        "reference_points": torch.rand(2, 5, 2, 4 if boxes else 2, **double),
        "spatial_shapes": torch.tensor([[2, 3], [1, 2]]),
        "level_start_index": torch.tensor([0, 6]),
    }
    query = torch.randn(5, 2, 16, **double, requires_grad=True)
    outs = [layer(query, **given) for layer in layers]
    weighting = torch.randn(5, 2, 16, **double)
    grads = [
        torch.autograd.grad(out, (query, layer.sampling_offsets.weight), weighting)
        for out, layer in zip(outs, layers, strict=True)
    ]
    name = "boxes" if boxes else "points"
    by = {f"{name}, by {what}": apart(*pair) for what, *pair in zip(("query", "weights"), *grads, strict=True)}
    return {name: apart(*outs), **by}


def main() -> None:
    found: dict[str, Any] = {}
    with over_a_stand_in():
        theirs = kinds()
        their_layers = made(theirs)
        install()
        ours = kinds()
        pairs = zip(their_layers.items(), made(ours).values(), strict=True)
        found["layers"] = {name: compared(one, other) for (name, one), other in pairs}
        found["arguments"] = {
            name: list(inspect.signature(theirs[name]).parameters) == list(inspect.signature(ours[name]).parameters)
            for name in theirs
        }
        uninstall()
        assert kinds() == theirs
        both = theirs["MultiScaleDeformableAttention"], ours["MultiScaleDeformableAttention"]
        found["differences"] = {}
        for boxes in (False, True):
            found["differences"] |= attended(*(kind(16, 4, 2, 3) for kind in both), boxes=boxes)
    found |= beside_lite()
    print(json.dumps(found))


def beside_lite() -> dict[str, Any]:
    """mmcv-lite as it is installed."""
    install()
    cnn = importlib.import_module("mmcv.cnn")
    layers = [cnn.build_conv_layer({"type": kind}, 2, 4, 3, padding=1) for kind in ("DCN", "DCNv2")]
    network = nn.Module()
    network.conv2 = layers[1]
    state = {key.replace("conv2.conv_offset", "conv2_offset"): value for key, value in network.state_dict().items()}
    missing: list[str] = []
    network.conv2._load_from_state_dict(state, "conv2.", {}, False, missing, [], [])
    network.conv2.conv_offset._load_from_state_dict(state, "conv2.conv_offset.", {}, False, missing, [], [])
    try:
        importlib.import_module("mmcv.ops.nms_rotated")
        refused = ""
    except ImportError as error:
        refused = str(error)
    registry = importlib.import_module("mmengine.registry").MODELS
    return {
        "registered": [type(layer).__module__ for layer in layers],
        "attention": registry.get("MultiScaleDeformableAttention").__module__,
        "python alone": importlib.import_module("mmcv.ops").point_sample.__module__,
        "ConvModule": cnn.ConvModule.__module__,
        "old keys": missing,
        "refused": refused,
    }


if __name__ == "__main__":
    main()
