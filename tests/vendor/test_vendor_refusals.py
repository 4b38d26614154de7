"""The stand-ins of mx_driving refuse what its wheels refuse. On the emulated npu, which stays in its process."""

from __future__ import annotations

import importlib

import pytest
from vendor_compared import KNOWN
from vendor_facts import recorded
from vendor_refused import REFUSED
from vendor_wheels import A5, DRIVING, Wheel

from portbev.runtime import activate


@pytest.mark.parametrize("wheel", [*DRIVING, *A5], ids=str)
def test_every_check_of_the_wheel_has_a_call_that_the_stand_in_must_refuse(wheel: Wheel) -> None:
    functions = recorded(wheel)["functions"]
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
