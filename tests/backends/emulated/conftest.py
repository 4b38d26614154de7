"""Tests in this folder run in a process of their own that has the emulated npu before anything else happens.

``tests/backends/test_emulated.py`` starts it; to run one by hand: pytest tests/backends/emulated/suite_device.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from portbev.backend import Backend
from portbev.runtime import activate

# Not in the process that runs all tests.
if any(Path(argument.split("::")[0]).match("suite_*.py") for argument in sys.argv):
    activate("npu", emulate=True)


@pytest.fixture
def npu() -> Backend:
    """The emulated npu, activated anew.

    Determinism is off: with it torch computes bilinear upsampling in another way on every device but the CPU.
    """
    return activate("npu", emulate=True, deterministic="off")
