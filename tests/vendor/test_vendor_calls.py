"""Our providers call what the published wheels have, and the stand-ins have their parameters: against ``facts/``."""

from __future__ import annotations

import copy

import pytest
from vendor_compared import KNOWN, badly_called, imitated_otherwise, module_otherwise
from vendor_cupy import cupy_uses
from vendor_facts import recorded
from vendor_ours import calls, standins
from vendor_torch_npu import npu_uses
from vendor_uses import misused
from vendor_wheels import A5, CUPY, DRIVING, TORCH_NPU, Facts, Wheel

from portbev_npu.vendor import CANN_LIBRARIES

ASCEND = pytest.mark.parametrize("wheel", [*DRIVING, *A5, *TORCH_NPU], ids=str)
MX_DRIVING = pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
NPU = pytest.mark.parametrize("wheel", TORCH_NPU, ids=str)
GPU = pytest.mark.parametrize("wheel", CUPY, ids=str)


@ASCEND
def test_every_call_of_a_provider_binds_to_the_wheels_function(wheel: Wheel) -> None:
    assert badly_called(wheel.module, recorded(wheel)) == []


@ASCEND
def test_stand_ins_have_the_wheels_parameters_but_for_what_is_known(wheel: Wheel) -> None:
    assert imitated_otherwise(wheel.module, recorded(wheel)) == KNOWN[wheel.module]


@pytest.mark.parametrize(("package", "module"), [("mx_driving", "driving"), ("torch_npu", "npu")])
def test_every_function_that_is_imitated_is_seen_to_be_called(package: str, module: str) -> None:
    private = {f"_C.{name}" for name in standins(module, "PRIVATE")}
    assert {one.name for one in calls(package)} == {*standins(module), *private}


@MX_DRIVING
def test_mx_driving_takes_a_torch_that_has_a_torch_npu(wheel: Wheel) -> None:
    assert "torch>=2.6.0,<2.9.0" in recorded(wheel)["requires"]


@MX_DRIVING
def test_voxel_pooling_comes_back_channels_first(wheel: Wheel) -> None:
    assert recorded(wheel)["functions"]["npu_voxel_pooling_train"]["returns"][0] == "result.permute(0, 3, 1, 2)"


@pytest.mark.parametrize("wheel", A5, ids=str)
def test_the_wheel_for_a5_has_the_functions_of_the_one_for_a2(wheel: Wheel) -> None:
    assert recorded(wheel)["functions"] == recorded(DRIVING[-1])["functions"]


@NPU
def test_every_name_of_torch_npu_that_is_used_is_there(wheel: Wheel) -> None:
    assert len({use.name for use in npu_uses()}) >= 12
    assert misused(npu_uses(), recorded(wheel)["names"]) == []


@NPU
def test_the_emulated_module_has_the_wheels_parameters_but_for_what_is_known(wheel: Wheel) -> None:
    assert module_otherwise(recorded(wheel)) == KNOWN[f"torch.npu {wheel.version}"]


@NPU
def test_the_probe_looks_for_every_library_that_the_import_needs(wheel: Wheel) -> None:
    assert set(recorded(wheel)["libraries of CANN"]) == set(CANN_LIBRARIES)


@NPU
def test_what_is_refused_though_it_is_registered_is_known(wheel: Wheel) -> None:
    registered = set(recorded(wheel)["registered though Ascend does not list them"])
    assert registered == KNOWN["registered"] | KNOWN[f"registered {wheel.version}"]


@GPU
def test_every_use_of_cupy_fits_the_wheel(wheel: Wheel) -> None:
    assert misused(cupy_uses(), recorded(wheel)["names"]) == []


def changed(wheel: Wheel, kind: str, name: str, value: object) -> Facts:
    """What was read in ``wheel`` with ``name`` of ``kind`` taken out, or given ``value``."""
    facts = copy.deepcopy(recorded(wheel))
    assert name in facts[kind]
    if value is None:
        del facts[kind][name]
    else:
        facts[kind][name] = value
    return facts


@GPU
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("cupy.from_dlpack", None, "there is no cupy.from_dlpack"),
        ("cupy.cuda.runtime.is_hip", None, "there is no cupy.cuda.runtime.is_hip"),
        ("cupy.fft.ifft", ["a", "n=None", "axis=-1", "normalization=None"], "cupy.fft.ifft has no parameter norm"),
        ("cupy.cuda.ExternalStream", ["*", "ptr"], "ExternalStream takes 0 arguments without a keyword, 1 are given"),
        ("cupy.cuda.Device", ["device", "kind"], "cupy.cuda.Device needs kind"),
    ],
)
def test_a_change_of_cupy_is_noticed(wheel: Wheel, name: str, value: object, says: str) -> None:
    found = misused(cupy_uses(), changed(wheel, "names", name, value)["names"])
    assert found
    assert all(line.startswith("backends/portbev_cuda/cupy_fft.py:") and line.endswith(says) for line in found)


@NPU
@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("torch.npu.conv.allow_hf32", None, "there is no torch.npu.conv.allow_hf32"),
        ("torch.npu.utils.is_support_inf_nan", None, "there is no torch.npu.utils.is_support_inf_nan"),
        ("torch.npu.set_device", [], "torch.npu.set_device takes 0 arguments, 1 are given"),
        ("torch.npu.synchronize", ["device"], "torch.npu.synchronize needs device"),
    ],
)
def test_a_change_of_torch_npu_is_noticed(wheel: Wheel, name: str, value: object, says: str) -> None:
    facts = changed(wheel, "names", name, value)
    assert [line for line in misused(npu_uses(), facts["names"]) if line.endswith(says)]
    assert module_otherwise(facts) != KNOWN[f"torch.npu {wheel.version}"]


@MX_DRIVING
def test_a_change_of_mx_driving_is_noticed(wheel: Wheel) -> None:
    facts = copy.deepcopy(recorded(wheel))
    facts["functions"]["modulated_deform_conv2d"]["parameters"][2] = "masks"
    facts["functions"]["npu_voxel_pooling_train"]["parameters"].append("order")
    assert any(line.startswith("modulated_deform_conv2d: ") for line in imitated_otherwise("mx_driving", facts))
    assert [line.partition(": ")[2] for line in badly_called("mx_driving", facts)] == [
        "npu_voxel_pooling_train needs order"
    ]
