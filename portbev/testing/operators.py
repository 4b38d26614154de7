"""Conformance: every operator by every provider against its definition in float64.

A kernel is judged by the ratio of its error to the reference kernel's own float32 error on the host: that leaves room
for another order of summation and none for another definition.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from portbev import ops
from portbev.backend import Backend
from portbev.errors import PortbevError
from portbev.kernels import KERNELS, REFERENCE
from portbev.ops.operator import OPERATORS
from portbev.opscheck.small import SIZE, cases, in_float64, on_device, results, voxels
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev.testing.base import Conformance

NAMES = [(case.operator, case.name) for case in cases()]


class OperatorConformance(Conformance):
    """portbev's operators on the device."""

    def test_every_operator_has_a_case(self, backend: Backend) -> None:
        assert set(OPERATORS) == {operator for operator, _ in NAMES}

    @pytest.mark.parametrize(("operator", "name"), NAMES)
    def test_operator_agrees_with_its_definition(self, operator: str, name: str) -> None:
        (call,) = (case.call for case in cases() if (case.operator, case.name) == (operator, name))
        compute = OPERATORS[operator]
        exact = results(compute.definition, in_float64(call))
        backend = activate(self.backend_name, emulate=self.emulate)
        KERNELS.use("cpu", {})  # the references
        plain = results(compute, call)
        there = on_device(call, backend.device())
        ranked = KERNELS.rank(backend.name, plugins().kernels())[operator]
        for provider in [kernel.provider for kernel in ranked.kernels]:
            activate(self.backend_name, emulate=self.emulate, kernels={operator: provider})
            if provider == REFERENCE and operator in self.refused:
                with pytest.raises((PortbevError, NotImplementedError, RuntimeError)):
                    results(compute, there)
                continue
            try:
                found = results(compute, there)
            except PortbevError:
                reasons = [r for (o, p, r) in KERNELS.ledger.passed if (o, p) == (operator, provider)]
                assert reasons, f"{provider} passed the call over without a reason"
                continue
            for index, (one, host, truth) in enumerate(zip(found, plain, exact, strict=True)):
                self._judge(f"{provider}, result {index}", one, host, truth)

    def test_dropout_mask_is_the_hosts(self, device: torch.device) -> None:
        ones = torch.ones(1000)
        assert torch.equal(_dropped(ones.to(device)).cpu(), _dropped(ones))

    def test_a_call_is_written_into_the_ledger(self, backend: Backend) -> None:
        KERNELS.ledger.clear()
        ops.voxel_pool(torch.ones(1, 4, 8, device=backend.device()), voxels(1, 4).to(backend.device()), SIZE)
        served = KERNELS.ledger.snapshot()["voxel_pool"]["forward"]
        assert sum(served.values()) == 1

    def _judge(self, what: str, found: Tensor, plain: Tensor, exact: Tensor) -> None:
        """The error of ``found`` is at most ``error_ratio`` times the reference's own, or a few roundings."""
        scale = exact.abs().max().clamp(min=1e-30)
        own = (plain.double() - exact).abs().max()
        error = (found.double() - exact).abs().max()
        allowed = self.error_ratio * torch.maximum(own, 4 * torch.finfo(torch.float32).eps * scale)
        assert found.shape == exact.shape, f"{what}: shape {tuple(found.shape)}, not {tuple(exact.shape)}"
        assert bool(error <= allowed), f"{what}: error {error:.3g}, the reference's own is {own:.3g}"


def _dropped(x: Tensor) -> Tensor:
    return ops.dropout(x, 0.3, training=True, seed=1, site=2, step=3)
