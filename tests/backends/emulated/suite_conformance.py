"""The conformance suite on the emulated npu."""

from __future__ import annotations

from portbev.testing import BackendConformance


class TestEmulatedNpu(BackendConformance):
    backend_name = "npu"
    emulate = True
    refused = {"fft": "Ascend lists no complex transform"}  # noqa: RUF012
