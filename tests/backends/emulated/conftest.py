"""Tests in this folder run in a process of their own that has the emulated npu before anything else happens.

``tests/backends/test_emulated.py`` starts it; to run one by hand: pytest tests/backends/emulated/suite_device.py
"""

from __future__ import annotations

import sys

import pytest

from portbev.backend import Backend
from portbev.runtime import activate

if any("suite_" in argument for argument in sys.argv):  # not in the process that runs all tests
    activate("npu", emulate=True)


@pytest.fixture
def npu() -> Backend:
    """The emulated npu, activated anew."""
    return activate("npu", emulate=True)
