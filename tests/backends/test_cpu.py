"""The conformance suite on the cpu."""

from __future__ import annotations

from portbev.testing import BackendConformance


class TestCpu(BackendConformance):
    backend_name = "cpu"
