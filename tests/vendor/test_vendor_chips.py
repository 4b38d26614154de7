"""The npu backend knows which of mx_driving's operators each chip has: against the wheels' tables, in ``facts/``."""

from __future__ import annotations

import ast

import pytest
from vendor_facts import recorded
from vendor_ours import PROVIDERS
from vendor_wheels import A5, DRIVING, Facts, Wheel

from portbev_npu.chips import chip_lacks

NAMES = {  # a table's name -> what torch_npu calls such a device
    "ascend310p": "Ascend310P3",
    "ascend910b": "Ascend910B2",
    "ascend910_93": "Ascend910_9362",
    "ascend950": "Ascend950PR_9599",
}
NEEDED = {  # what the backend asks for -> the kernels behind it
    "bev_pool_v3": {"BEVPoolV3"},
    "bev_pool_v3_backward": {"BEVPoolV3Grad"},
    "deform_conv2d": {"DeformableConv2d", "DeformableConv2dGrad"},
    "modulated_deform_conv2d": {
        "DeformableConv2d",
        "DeformableConv2dGrad",
        "DeformableConv2dV2",
        "DeformableConv2dGradV2",
    },
    "multi_scale_deformable_attn": {"MultiScaleDeformableAttn"},
    "multi_scale_deformable_attn_backward": {"MultiScaleDeformableAttnGrad"},
    "npu_voxel_pooling_train": {"VoxelPoolingTrain", "VoxelPoolingTrainGrad"},
}
WHEELS = pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)


def disagreements(facts: Facts) -> list[str]:
    """Where the backend takes a chip to have what its table lacks, or to lack what it has."""
    return [
        f"{chip}: {operator}"
        for chip, kernels in facts["operators"].items()
        for operator, needed in NEEDED.items()
        if (chip_lacks(operator, NAMES[chip]) is None) != (needed <= set(kernels))
    ]


@WHEELS
def test_a_chip_has_what_the_backend_takes_it_to_have(wheel: Wheel) -> None:
    assert disagreements(recorded(wheel)) == []


def test_each_chip_has_one_wheel() -> None:
    for wheel in DRIVING:
        assert set(recorded(wheel)["operators"]) == {"ascend310p", "ascend910b", "ascend910_93"}
    assert set(recorded(A5[0])["operators"]) == {"ascend950"}


def test_every_operator_that_is_asked_for_is_compared() -> None:
    asked = set()
    for path in PROVIDERS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "chip_lacks":
                asked |= {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and one.value}
    assert asked == set(NEEDED)


@WHEELS
def test_a_kernel_that_a_chip_loses_is_noticed(wheel: Wheel) -> None:
    facts = recorded(wheel)
    chip = next(one for one in facts["operators"] if one != "ascend310p")
    del facts["operators"][chip]["BEVPoolV3"]
    assert disagreements(facts) == [f"{chip}: bev_pool_v3"]


def test_a_kernel_that_a_chip_gains_is_noticed() -> None:
    facts = recorded(DRIVING[-1])
    facts["operators"]["ascend310p"]["MultiScaleDeformableAttnGrad"] = "float32"
    assert disagreements(facts) == ["ascend310p: multi_scale_deformable_attn_backward"]
