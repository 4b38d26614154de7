"""The stand-ins and the providers' calls against a wheel: every disagreement, a line each."""

from __future__ import annotations

import ast

from vendor_ours import calls, default_text, emulated, standins, unbound
from vendor_python import Function
from vendor_torch_npu import schema_function
from vendor_wheels import Facts

KNOWN: dict[str, set[str]] = {
    "mx_driving": {
        "npu_voxel_pooling_train: (geom_xyz, features, voxel_num), "
        "the wheel's is (geom_xyz, input_features, voxel_num)",
    },
    "torch_npu": {
        "npu_deformable_conv2d: (input, weight, offset, bias, kernel_size, stride, padding, dilation=None, groups=1, "
        "deformable_groups=1, modulated=True), the wheel's is (input, weight, offset, bias, kernel_size, stride, "
        "padding, dilation=[1, 1, 1, 1], groups=1, deformable_groups=1, modulated=True)",
        "npu_deformable_conv2dbk: (input, grad_output, offset_out, weight, offset, kernel_size, stride, padding, "
        "dilation=None, groups=1, deformable_groups=1, modulated=True), the wheel's is (input, grad_output, "
        "offset_out, weight, offset, kernel_size, stride, padding, dilation=[1, 1, 1, 1], groups=1, "
        "deformable_groups=1, modulated=True)",
    },
    "taken though the wheel refuses it": set(),
    # torch asks a device of its Python interface for these two; torch_npu has them in C++.
    "torch.npu 2.13.0": {"torch.npu._exchange_device", "torch.npu._maybe_exchange_device"},
    "torch.npu 2.8.0.post5": {
        "torch.npu._exchange_device",
        "torch.npu._maybe_exchange_device",
        "torch.npu.is_bf16_supported",  # takes an argument from 2.9 on
    },
    # The emulated device follows Ascend's documentation: registered is no proof of running.
    "registered": {
        "_fft_c2c",
        "_fft_c2r",
        "_fft_r2c",
        "_pdist_forward",
        "adaptive_max_pool2d",
        "avg_pool3d",
        "inverse",
        "max_unpool3d",
        "pdist",
        "quantize_per_channel",
        "quantize_per_tensor",
        "reflection_pad3d",
        "replication_pad3d",
        "unique_consecutive",
    },
    "registered 2.8.0.post5": set(),
    "registered 2.13.0": {"_to_sparse"},
}
"""What the stand-ins have otherwise than the wheels, on purpose or until it is mended. Exactly these: mending one means
taking it out."""


def functions(package: str, facts: Facts) -> dict[str, Function]:
    """The wheel's public functions by name."""
    if package == "mx_driving":
        return {name: Function(**one) for name, one in facts["functions"].items()}
    return {one.partition("(")[0]: schema_function(one) for one in facts["schemas"]}


def badly_called(package: str, facts: Facts) -> list[str]:
    """Calls of the providers that the wheel would refuse, and functions that it lacks."""
    public, private = functions(package, facts), native(facts)
    found: list[str] = []
    for call in calls(package):
        if call.name.startswith("_C."):
            name = call.name.removeprefix("_C.")
            wanted = private.get(name)
            if wanted is None:
                found.append(f"{call.where}: the wheel's own functions call no _C.{name}")
            elif call.keywords or (call.positional != wanted if not call.starred else call.positional > wanted):
                found.append(f"{call.where}: _C.{name} is called with {wanted} arguments by the wheel itself")
        elif call.name not in public:
            found.append(f"{call.where}: the wheel has no {call.name}")
        elif said := unbound(call, public[call.name]):
            found.append(said)
    return found


def native(facts: Facts) -> dict[str, int]:
    """How many arguments the wheel's own functions give to each function of ``_C``."""
    return {name: len(given) for one in facts.get("functions", {}).values() for name, given in one["native"].items()}


def imitated_otherwise(package: str, facts: Facts) -> set[str]:
    """Where a stand-in's names, order, defaults or number of parameters are not the wheel's."""
    module = {"mx_driving": "driving", "torch_npu": "npu"}[package]
    public, private, found = functions(package, facts), native(facts), set()
    for name, own in standins(module).items():
        wheel = public.get(name)
        if wheel is None:
            found.add(f"{name}: the wheel has none")
        elif own != (theirs := [_normal(one) for one in wheel.parameters if not _unheard(wheel, one)]):
            found.add(f"{name}: ({', '.join(own)}), the wheel's is ({', '.join(theirs)})")
    for name, own in standins(module, "PRIVATE").items():
        if name not in private:
            found.add(f"_C.{name}: the wheel calls none")
        elif len(own) != private[name]:
            found.add(f"_C.{name}: {len(own)} parameters, the wheel gives {private[name]}")
    return found


def module_otherwise(facts: Facts) -> set[str]:
    """Names of the emulated ``torch.npu`` that the wheel lacks, or whose parameters are others there."""
    return {name for name, own in emulated().items() if facts["names"].get(name, "none") != own}


def _normal(parameter: str) -> str:
    """Defaults written in one way; the keywords that an ``apply`` could never be given are no parameter."""
    name, equal, default = parameter.partition("=")
    return f"{name}={default_text(ast.literal_eval(default))}" if equal else parameter


def _unheard(wheel: Function, parameter: str) -> bool:
    return wheel.kind == "apply" and parameter.startswith("**")
