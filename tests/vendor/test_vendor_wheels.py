"""The published wheels still hold what was read in them: ``facts/``, against which every run holds our own sources."""

from __future__ import annotations

import pytest
from vendor_facts import differences, recorded
from vendor_read import wheel_of
from vendor_wheels import ASCEND, Wheel


@pytest.mark.parametrize("wheel", ASCEND, ids=str)
def test_a_wheel_has_what_was_read_in_it(wheel: Wheel) -> None:
    assert differences(recorded(wheel), wheel_of(wheel)[1]) == []
