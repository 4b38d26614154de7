"""Conformance: the process group of the backend, with one process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from portbev.backend import Backend
from portbev.config.schema import ComputeSection
from portbev.opscheck.small import tensor
from portbev.testing.base import Conformance
from portbev.testing.preparation import Pictures


class CollectiveConformance(Conformance):
    """Collectives by the name that the backend gives; several processes are tested by the backend's own suite."""

    @pytest.fixture
    def group(self, backend: Backend, tmp_path: Path) -> Iterator[Backend]:
        if not dist.is_available():
            pytest.skip("this torch has no torch.distributed")
        dist.init_process_group(backend.collective, init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
        try:
            yield backend
        finally:
            dist.destroy_process_group()

    def test_all_reduce_broadcast_and_gather(self, group: Backend) -> None:
        value = tensor(6, 5).to(group.device())
        kept = value.clone()
        dist.all_reduce(value)
        dist.broadcast(value, 0)
        found = [torch.zeros_like(value)]
        dist.all_gather(found, value)
        assert torch.equal(found[0].cpu(), kept.cpu())
        dist.barrier()

    def test_objects_are_gathered(self, group: Backend) -> None:
        found: list[object] = [None]
        dist.all_gather_object(found, {"rank": 0})
        assert found == [{"rank": 0}]

    def test_data_parallel_model_takes_a_step(self, group: Backend) -> None:
        model = nn.parallel.DistributedDataParallel(nn.Linear(3, 2).to(group.device()))
        model(tensor(7, 4, 3).to(group.device())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())

    def test_prepared_model_takes_a_step_data_parallel(self, group: Backend) -> None:
        model = Pictures()
        group.prepare_model(model, ComputeSection(memory_format="channels_last", weight_gradients="avx2"))
        parallel = nn.parallel.DistributedDataParallel(model.to(group.device()))
        parallel(tensor(8, 2, 3, 9, 8).to(group.device())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
