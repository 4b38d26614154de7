"""Tests in this folder run in a process of their own that has the emulated npu from its first backward pass on.

``tests/backends/test_emulated.py`` starts it; to run one by hand: pytest tests/backends/emulated/suite_device.py
"""

from __future__ import annotations

import pytest

from portbev.backend import Backend
from portbev.runtime import activate


@pytest.fixture(scope="session", autouse=True)
def _npu_from_the_start() -> None:
    activate("npu", emulate=True)


@pytest.fixture
def npu() -> Backend:
    """The emulated npu, activated anew."""
    return activate("npu", emulate=True)
