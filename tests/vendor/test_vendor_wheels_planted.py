"""Whatever a new release might change is noticed: differences planted in copies of the wheels' text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from vendor_compared import imitated_otherwise
from vendor_driving import driving_facts
from vendor_facts import differences, recorded
from vendor_python import MissingFunctionError
from vendor_read import wheel_of
from vendor_torch_npu import LIBRARY, NEEDED, REGISTERED, torch_npu_facts
from vendor_triton import triton_facts
from vendor_wheels import A5, DRIVING, TORCH_NPU, TRITON_ASCEND, Sources, Wheel

OPS = "mx_driving/ops/"
DEFORM, POOLING = f"{OPS}modulated_deform_conv2d.py", f"{OPS}voxel_pooling_train.py"
ATTENTION, POOLING_V3 = f"{OPS}multi_scale_deformable_attn.py", f"{OPS}bev_pool_v3.py"
INIT, FOUND = "mx_driving/__init__.py", "/functions/"
KERNEL = "mx_driving/packages/vendors/customize/op_impl/ai_core/tbe/customize_impl/dynamic/deformable_conv2d_v2.cpp"
DRIVING_CHANGES = {  # what happened: (file, text, the text in its place, how a line of the report begins)
    "renamed parameter": (
        DEFORM,
        "    mask: torch.Tensor,\n    weight",
        "    masks: torch.Tensor,\n    weight",
        "/functions/mod",
    ),
    "swapped order": (
        DEFORM,
        "def modulated_deform_conv2d(\n    x: torch.Tensor,\n    offset: torch.Tensor,\n    mask: torch.Tensor,",
        "def modulated_deform_conv2d(\n    x: torch.Tensor,\n    mask: torch.Tensor,\n    offset: torch.Tensor,",
        "/functions/modulated_deform_conv2d/parameters: in another order",
    ),
    "changed default": (
        DEFORM,
        "\n    padding: Union[int, Tuple[int, ...]] = 0",
        "\n    padding: Union[int, Tuple[int, ...]] = 1",
        "/functions/mod",
    ),
    "new check": (
        DEFORM,
        "        ctx.kernel_size =",
        "        if groups > 1:\n            raise ValueError('groups')\n        ctx.kernel_size =",
        "/functions/modulated_deform_conv2d/checks: gone [], new ['groups > 1 -> ValueError']",
    ),
    "check gone": (POOLING, "if (num_points == 0)", "if (num_points < 0)", f"{FOUND}npu_voxel_pooling_train/checks"),
    "another layout": (
        POOLING,
        "return result.permute(0, 3, 1, 2)",
        "return result",
        "/functions/npu_voxel_pooling_train/",
    ),
    "another cast": (
        f"{OPS}multi_scale_deformable_attn.py",
        "cast_inputs=torch.float32",
        "cast_inputs=None",
        "/functions/multi",
    ),
    "another native call": (
        f"{OPS}bev_pool_v3.py",
        "ranks_bev, B, D, H, W)",
        "ranks_bev, D, B, H, W)",
        "/functions/bev_pool_v3/native",
    ),
    "new side effect of the import": (
        INIT,
        "\n_set_env()",
        "\ntorch.set_num_threads(1)\n_set_env()",
        "/import: gone [], new",
    ),
    "new side effect of a file that the import reaches": (
        POOLING,
        "import mx_driving._C\n",
        "import mx_driving._C\ntorch.cuda.is_available = lambda: True\n",
        "/import: gone [], new ['mx_driving/ops/voxel_pooling_train.py: torch.cuda.is_available",
    ),
    "side effect gone": (INIT, "from torch_npu.contrib import transfer_to_npu", "import contextlib", "/import: gone"),
}


def planted(sources: Sources, file: str, text: str, instead: str) -> Sources:
    """A copy with every ``text`` of ``file`` replaced: at least one."""
    assert text in sources[file], f"{text!r} is not in {file}"
    return {**sources, file: sources[file].replace(text, instead)}


@pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
@pytest.mark.parametrize(("file", "text", "instead", "begins"), DRIVING_CHANGES.values(), ids=DRIVING_CHANGES)
def test_a_change_of_mx_driving_is_reported(wheel: Wheel, file: str, text: str, instead: str, begins: str) -> None:
    found = differences(recorded(wheel), driving_facts(planted(wheel_of(wheel)[0], file, text, instead)))
    assert any(line.startswith(begins) for line in found), found


@pytest.mark.parametrize("wheel", DRIVING, ids=str)
def test_a_kernel_that_begins_to_use_its_stride_is_reported(wheel: Wheel) -> None:
    sources = wheel_of(wheel)[0]
    changed = {**sources, KERNEL: sources[KERNEL] + "\nint64_t row = outRow * strideH_ - padH_;\n"}
    found = differences(recorded(wheel), driving_facts(changed))
    assert found == ["/uses of the step sizes/strideH_: was 2, is 3", "/uses of the step sizes/padH_: was 2, is 3"]


@pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
def test_a_function_that_is_gone_is_reported(wheel: Wheel) -> None:
    changed = planted(wheel_of(wheel)[0], INIT, "from .ops.bev_pool_v3 import bev_pool_v3", "")
    with pytest.raises(MissingFunctionError, match="mx_driving has no bev_pool_v3"):
        driving_facts(changed)


@pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
def test_a_chip_that_loses_an_operator_is_reported(wheel: Wheel) -> None:
    sources, chip = wheel_of(wheel)[0], "ascend950" if wheel in A5 else "ascend910b"
    file = next(name for name in sources if name.endswith(f"aic-{chip}-ops-info.json"))
    found = differences(recorded(wheel), driving_facts(planted(sources, file, '"VoxelPoolingTrain"', '"Gone"')))
    assert found == [f"/operators/{chip}/VoxelPoolingTrain: was 'int32', is None"]


@pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
def test_a_chip_that_is_gone_is_reported(wheel: Wheel) -> None:
    sources, chip = wheel_of(wheel)[0], "ascend950" if wheel in A5 else "ascend910_93"
    kept = {name: text for name, text in sources.items() if not name.endswith(f"aic-{chip}-ops-info.json")}
    found = differences(recorded(wheel), driving_facts(kept))
    assert len(found) == 1
    assert found[0].startswith(f"/operators/{chip}: was {{")


SCHEMA_CHANGES: dict[str, Callable[[str], str]] = {
    "another schema": lambda text: text.replace("int deformable_groups=1", "int deformable_groups=2"),
    "another order": lambda text: text.replace("Tensor input, Tensor weight", "Tensor weight, Tensor input"),
    "no backward": lambda text: text.split("\n", maxsplit=1)[0],
}


@pytest.mark.parametrize("wheel", TORCH_NPU, ids=str)
@pytest.mark.parametrize("change", SCHEMA_CHANGES.values(), ids=SCHEMA_CHANGES)
def test_a_change_of_a_schema_is_reported(wheel: Wheel, change: Callable[[str], str]) -> None:
    sources = wheel_of(wheel)[0]
    facts = torch_npu_facts({**sources, LIBRARY: change(sources[LIBRARY])})
    assert differences(recorded(wheel), facts)
    assert imitated_otherwise("torch_npu", facts) != imitated_otherwise("torch_npu", wheel_of(wheel)[1])


NPU_CHANGES = {  # what happened: (file, text, the text in its place, how a line of the report begins)
    "name gone": (
        "torch_npu/npu/utils.py",
        "def is_support_inf_nan(",
        "def overflows(",
        "/names/torch.npu.utils.is_supp",
    ),
    "renamed parameter": (
        "torch_npu/npu/random.py",
        "def set_rng_state(new_state:",
        "def set_rng_state(state:",
        "/names/torch.npu.set_rng_state: gone ['new_state'], new ['state']",
    ),
    "swapped order": (
        "torch_npu/npu/streams.py",
        "cls, enable_timing=False, blocking=False, interprocess",
        "cls, blocking=False, enable_timing=False, interprocess",
        "/names/torch.npu.Event: in another order",
    ),
    "no longer exported": ("torch_npu/npu/__init__.py", "synchronize,", "", "/names/torch.npu.synchronize: was"),
    "another class behind a setting": (
        "torch_npu/npu/npu_config.py",
        '"allow_hf32"',
        '"hf32"',
        "/names/torch.npu.matmul.allow_hf32",
    ),
    "library more": (
        NEEDED,
        "libgraph.so",
        "libgraph.so\nlibmore.so",
        "/libraries of CANN: gone [], new ['libmore.so']",
    ),
    "operator registered": (REGISTERED, "_fft_c2c", "_fft_c2c\nlinalg_inv_ex", "/registered though"),
}


@pytest.mark.parametrize("wheel", TORCH_NPU, ids=str)
@pytest.mark.parametrize(("file", "text", "instead", "begins"), NPU_CHANGES.values(), ids=NPU_CHANGES)
def test_a_change_of_torch_npu_is_reported(wheel: Wheel, file: str, text: str, instead: str, begins: str) -> None:
    found = differences(recorded(wheel), torch_npu_facts(planted(wheel_of(wheel)[0], file, text, instead)))
    assert any(line.startswith(begins) for line in found), found


TRITON_CHANGES = {
    "name gone": ("triton/language/__init__.py", "    load,\n", "", "/names/triton.language.load: was"),
    "renamed parameter": (
        "triton/language/core.py",
        "def store(pointer, value, mask",
        "def store(pointer, values, mask",
        "/names/triton.language.store: gone ['value'], new ['values']",
    ),
    "swapped order": (
        "triton/language/standard.py",
        "def zeros(shape, dtype)",
        "def zeros(dtype, shape)",
        "/names/triton.language.zeros: in another order",
    ),
    "another limit": ("triton/runtime/jit.py", "grid_all_size > 65535", "grid_all_size > 32767", "/limits/programs in"),
}


@pytest.mark.parametrize("wheel", TRITON_ASCEND, ids=str)
@pytest.mark.parametrize(("file", "text", "instead", "begins"), TRITON_CHANGES.values(), ids=TRITON_CHANGES)
def test_a_change_of_triton_is_reported(wheel: Wheel, file: str, text: str, instead: str, begins: str) -> None:
    found = differences(recorded(wheel), triton_facts(planted(wheel_of(wheel)[0], file, text, instead)))
    assert any(line.startswith(begins) for line in found), found
