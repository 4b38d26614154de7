"""Conformance: probing, activation, facts for the record."""

from __future__ import annotations

import copy
import json
import os
import time

import pytest
import torch

from portbev.backend import API_VERSION, Backend
from portbev.kernels import KERNELS
from portbev.plugins import plugins
from portbev.runtime import activate, find_backend
from portbev.testing.base import Conformance


class InterfaceConformance(Conformance):
    """The methods of :class:`portbev.backend.Backend`."""

    def test_api_version_is_the_frameworks(self, backend: Backend) -> None:
        assert backend.api_version == API_VERSION

    def test_names_are_set(self, backend: Backend) -> None:
        assert backend.name == self.backend_name
        assert backend.device_type
        assert backend.collective

    def test_label_says_emulated_when_it_is(self, backend: Backend) -> None:
        assert backend.emulated == self.emulate
        assert ("emulated" in backend.label) == self.emulate

    def test_the_plugins_own_object_is_never_emulated(self, backend: Backend) -> None:
        own = plugins().backends()[self.backend_name]
        before = dict(vars(own))
        activate(self.backend_name, emulate=self.emulate)
        assert plugins().backends()[self.backend_name] is own
        assert vars(own) == before
        assert not own.emulated

    def test_as_emulated_is_another_value(self, backend: Backend) -> None:
        before = backend.emulated
        twin = backend.as_emulated()
        assert twin.emulated
        assert twin.name == backend.name
        assert backend.emulated == before

    def test_probe_passes_in_named_stages(self, backend: Backend) -> None:
        state = backend.probe()
        assert state.available, f"{state.reason}: {state.cure}"
        assert state.stages
        assert all(stage.name for stage in state.stages)

    def test_failed_stages_of_a_probe_have_reason_and_cure(self, backend: Backend) -> None:
        for stage in backend.probe().stages:
            assert stage.ok or (stage.detail and stage.cure)

    def test_probe_leaves_environment_and_torch_alone(self, backend: Backend) -> None:
        before = dict(os.environ), torch.get_float32_matmul_precision(), torch.get_rng_state()
        backend.probe()
        assert dict(os.environ) == before[0]
        assert torch.get_float32_matmul_precision() == before[1]
        assert torch.equal(torch.get_rng_state(), before[2])

    def test_find_backend_finds_it_by_name(self, backend: Backend) -> None:
        assert find_backend(self.backend_name, emulate=self.emulate).name == backend.name

    def test_environment_is_json_and_names_torch(self, backend: Backend) -> None:
        facts = json.loads(json.dumps(backend.environment(), allow_nan=False))
        assert facts["torch"] == torch.__version__

    def test_device_has_a_name(self, backend: Backend) -> None:
        assert backend.device_name()

    def test_device_is_of_the_declared_type(self, backend: Backend) -> None:
        assert backend.device().type == backend.device_type
        assert backend.device_count() >= 1

    @pytest.mark.parametrize("precision", ["highest", "fast"])
    def test_both_precisions_activate(self, precision: str) -> None:
        activate(self.backend_name, emulate=self.emulate, precision=precision)  # type: ignore[arg-type]
        activate(self.backend_name, emulate=self.emulate)

    def test_determinism_is_required_preferred_and_off(self) -> None:
        try:
            activate(self.backend_name, emulate=self.emulate, deterministic="required")
            assert torch.are_deterministic_algorithms_enabled()
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            serving = [kernel for found in KERNELS._active.values() for kernel in found.kernels]
            assert all(kernel.deterministic for kernel in serving)
            activate(self.backend_name, emulate=self.emulate, deterministic="off")
            assert not torch.are_deterministic_algorithms_enabled()
        finally:
            activate(self.backend_name, emulate=self.emulate, deterministic="preferred")
        assert torch.is_deterministic_algorithms_warn_only_enabled()

    def test_every_operator_has_the_reference_or_says_why_not(self, backend: Backend) -> None:
        for operator, reference in KERNELS.references.items():
            assert reference in KERNELS.candidates(operator, backend.device_type)

    def test_synchronize_waits(self, backend: Backend) -> None:
        value = torch.ones(64, 64, device=backend.device())
        for _ in range(8):
            value = value @ value / 64
        backend.synchronize()
        started = time.perf_counter()
        backend.synchronize()
        assert time.perf_counter() - started < 1.0, "a second synchronize has nothing to wait for"
        assert torch.allclose(value.cpu(), torch.ones(64, 64))

    def test_peak_memory_counts_bytes(self, backend: Backend) -> None:
        backend.reset_peak_memory()
        held = torch.ones(1 << 20, device=backend.device())
        backend.synchronize()
        assert backend.peak_memory() >= held.numel() * held.element_size()

    def test_backend_record_can_be_copied(self, backend: Backend) -> None:
        assert copy.copy(backend).name == backend.name
