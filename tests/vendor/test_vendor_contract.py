"""The published wheels are as the npu backend's providers and the stand-ins take them to be."""

from __future__ import annotations

import importlib

import pytest
from vendor_compared import KNOWN, badly_called, imitated_otherwise
from vendor_facts import differences, recorded
from vendor_ours import calls, standins
from vendor_read import wheel_of
from vendor_refused import REFUSED
from vendor_wheels import DRIVING, TORCH_NPU, Wheel

from portbev.runtime import activate

WHEELS = pytest.mark.parametrize("wheel", [*DRIVING, *TORCH_NPU], ids=str)


@WHEELS
def test_a_wheel_has_what_was_read_in_it(wheel: Wheel) -> None:
    assert differences(recorded(wheel), wheel_of(wheel)[1]) == []


@WHEELS
def test_every_call_of_a_provider_binds_to_the_wheels_function(wheel: Wheel) -> None:
    assert badly_called(wheel.package, wheel_of(wheel)[1]) == []


@WHEELS
def test_stand_ins_have_the_wheels_parameters_but_for_what_is_known(wheel: Wheel) -> None:
    assert imitated_otherwise(wheel.package, wheel_of(wheel)[1]) == KNOWN[wheel.package]


@pytest.mark.parametrize(("package", "module"), [("mx_driving", "driving"), ("torch_npu", "npu")])
def test_every_function_that_is_imitated_is_seen_to_be_called(package: str, module: str) -> None:
    private = {f"_C.{name}" for name in standins(module, "PRIVATE")}
    assert {one.name for one in calls(package)} == {*standins(module), *private}


@pytest.mark.parametrize("wheel", DRIVING, ids=str)
def test_mx_driving_takes_a_torch_that_has_a_torch_npu(wheel: Wheel) -> None:
    assert "torch>=2.6.0,<2.9.0" in wheel_of(wheel)[1]["requires"]


@pytest.mark.parametrize("wheel", DRIVING, ids=str)
def test_voxel_pooling_comes_back_channels_first(wheel: Wheel) -> None:
    assert wheel_of(wheel)[1]["functions"]["npu_voxel_pooling_train"]["returns"][0] == "result.permute(0, 3, 1, 2)"


@pytest.mark.parametrize("wheel", DRIVING, ids=str)
def test_every_check_of_the_wheel_has_a_call_that_the_stand_in_must_refuse(wheel: Wheel) -> None:
    functions = wheel_of(wheel)[1]["functions"]
    assert {(name, check) for name, one in functions.items() for check in one["checks"]} == set(REFUSED)


def test_stand_ins_refuse_what_the_wheel_refuses_but_for_what_is_known() -> None:
    activate("npu", emulate=True)
    package, taken = importlib.import_module("mx_driving"), set()
    for (name, check), call in REFUSED.items():
        try:
            call(getattr(package, name))
        except (RuntimeError, ValueError):
            continue
        taken.add(f"{name}: {check}")
    assert taken == KNOWN["taken though the wheel refuses it"]
