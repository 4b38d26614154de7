"""What is covered: modules of mmcv by name, where each comes from here, and what it has."""

from __future__ import annotations

ROOM = "portbev.compat.mmcv"

OPERATORS = {
    "mmcv.ops.deform_conv": (
        f"{ROOM}.deform_conv",
        ("DeformConv2d", "DeformConv2dPack", "DeformConv2dFunction", "deform_conv2d"),
    ),
    "mmcv.ops.modulated_deform_conv": (
        f"{ROOM}.modulated_deform_conv",
        (
            "ModulatedDeformConv2d",
            "ModulatedDeformConv2dPack",
            "ModulatedDeformConv2dFunction",
            "modulated_deform_conv2d",
        ),
    ),
    "mmcv.ops.multi_scale_deform_attn": (
        f"{ROOM}.multi_scale_deform_attn",
        (
            "MultiScaleDeformableAttention",
            "MultiScaleDeformableAttnFunction",
            "multi_scale_deformable_attn_pytorch",
        ),
    ),
}
"""Served by portbev whatever is installed."""

EXPORTED = (
    "DeformConv2d",
    "DeformConv2dPack",
    "deform_conv2d",
    "ModulatedDeformConv2d",
    "ModulatedDeformConv2dPack",
    "modulated_deform_conv2d",
    "MultiScaleDeformableAttention",
)
"""What of them ``from mmcv.ops import *`` brings."""

FUNCTIONS = (
    "DeformConv2dFunction",
    "deform_conv2d",
    "ModulatedDeformConv2dFunction",
    "modulated_deform_conv2d",
    "MultiScaleDeformableAttnFunction",
    "multi_scale_deformable_attn_pytorch",
)
"""What of them mmcv's own layers compute with."""

EXTENSION = ("ms_deform_attn_forward", "ms_deform_attn_backward", "get_compiler_version", "get_compiling_cuda_version")
"""Of ``mmcv._ext``, for code that takes its functions by ``ext_loader.load_ext``."""

_CNN = {
    "conv": ("build_conv_layer",),
    "norm": ("build_norm_layer",),
    "activation": ("build_activation_layer",),
    "conv_module": ("ConvModule",),
}
_ALL_CNN = tuple(name for names in _CNN.values() for name in names)

STANDALONE = {
    "mmcv.cnn": (f"{ROOM}.cnn", _ALL_CNN),
    "mmcv.cnn.bricks": (f"{ROOM}.cnn", _ALL_CNN),
    **{f"mmcv.cnn.bricks.{module}": (f"{ROOM}.cnn", names) for module, names in _CNN.items()},
    "mmcv.utils": (f"{ROOM}.ext", ()),
    "mmcv.utils.ext_loader": (f"{ROOM}.ext", ("load_ext", "check_ops_exist")),
}
"""Where no mmcv is installed, beside ``mmcv``, ``mmcv.version``, ``mmcv.ops`` and ``mmcv._ext``."""

PACKAGES = ("mmcv", "mmcv.ops", "mmcv.cnn", "mmcv.cnn.bricks", "mmcv.utils")

LAYERS = {"DCN": "DeformConv2dPack", "DCNv2": "ModulatedDeformConv2dPack"}
"""Convolutions by the type that configurations name."""
ATTENTION = "MultiScaleDeformableAttention"


def where(name: str) -> tuple[str, str]:
    """The module of mmcv and the one here that have ``name`` of the operators.

    Raises:
        KeyError: it is none of them.
    """
    for module, (target, names) in OPERATORS.items():
        if name in names:
            return module, target
    raise KeyError(name)
