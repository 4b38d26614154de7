"""The conformance suite on the backend that ``PORTBEV_TEST_BACKEND`` names (cpu by default), where it has a device.

An absent device leaves the suite out with the probe's reason; the npu runs emulated then, see ``test_emulated.py``.
"""

from __future__ import annotations

import os

import pytest

from portbev.plugins import plugins
from portbev.testing import BackendConformance

NAME = os.environ.get("PORTBEV_TEST_BACKEND", "cpu")
STATE = plugins().backends()[NAME].probe()


@pytest.mark.skipif(not STATE.available, reason=f"left out: no {NAME} device here ({STATE.reason}). {STATE.cure}")
class TestDevice(BackendConformance):
    backend_name = NAME
