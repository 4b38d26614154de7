"""Conformance: placement, copies, views, saving."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from portbev.backend import Backend
from portbev.opscheck.small import tensor
from portbev.testing.base import Conformance

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.int32, torch.int64, torch.uint8, torch.bool]


class TensorConformance(Conformance):
    """Tensors of the device."""

    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    def test_copies_there_and_back_keep_every_bit(self, device: torch.device, dtype: torch.dtype) -> None:
        host = (tensor(0, 3, 5) * 4).to(dtype)
        there = host.to(device)
        assert there.device.type == device.type
        assert there.dtype == dtype
        assert torch.equal(there.cpu(), host)

    def test_scalars_and_empty_tensors_are_copied(self, device: torch.device) -> None:
        assert torch.tensor(2.5).to(device).item() == 2.5
        assert torch.empty(0, 3).to(device).cpu().shape == (0, 3)

    def test_non_contiguous_tensors_are_copied(self, device: torch.device) -> None:
        host = tensor(1, 4, 6).t()[1:4]
        assert torch.equal(host.to(device).cpu(), host)

    def test_views_share_storage(self, device: torch.device) -> None:
        base = torch.zeros(2, 3, device=device)
        base[0, 1:] += 1
        base.t()[2] *= 3
        base.view(-1)[5] = 7
        assert base.cpu().tolist() == [[0, 1, 3], [0, 0, 7]]

    def test_views_of_another_dtype_share_storage(self, device: torch.device) -> None:
        base = torch.zeros(2, device=device)
        base.view(torch.int32).fill_(0x3F800000)
        assert base.cpu().tolist() == [1.0, 1.0]

    def test_factories_make_tensors_on_the_device(self, device: torch.device) -> None:
        for made in (torch.zeros(2, device=device), torch.arange(4, device=device), torch.eye(2, device=device)):
            assert made.device.type == device.type
            assert torch.ones_like(made).device.type == device.type

    def test_host_and_device_tensors_do_not_mix(self, backend: Backend) -> None:
        if backend.device_type == "cpu":
            pytest.skip("the device is the host")
        with pytest.raises(RuntimeError, match="device"):
            torch.ones(2, device=backend.device()) + torch.ones(2)

    def test_indexing_with_masks_and_integers(self, device: torch.device) -> None:
        host = tensor(2, 6, 3)
        there = host.to(device)
        rows = torch.tensor([4, 0, 4])
        assert torch.equal(there[rows.to(device)].cpu(), host[rows])
        assert torch.equal(there[there[:, 0] > 0].cpu(), host[host[:, 0] > 0])
        there[there < 0] = 0
        assert torch.equal(there.cpu(), host.clamp(min=0))

    def test_out_arguments_and_resizing(self, device: torch.device) -> None:
        out = torch.empty(0, device=device)
        torch.add(torch.ones(3, device=device), 1, out=out)
        assert out.cpu().tolist() == [2, 2, 2]

    def test_comparison_and_reduction(self, device: torch.device) -> None:
        there = tensor(3, 50).to(device)
        assert bool((there == there.clone()).all())
        assert there.argmax().item() == tensor(3, 50).argmax().item()
        values, places = there.topk(5)
        assert torch.equal(values.cpu(), tensor(3, 50).topk(5).values)
        assert torch.equal(there[places].cpu(), values.cpu())

    def test_checkpoint_of_the_device_loads_on_the_host_and_back(self, device: torch.device) -> None:
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(device)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        host = torch.load(file, map_location="cpu", weights_only=True)
        assert all(value.device.type == "cpu" for value in host.values())
        file.seek(0)
        there = torch.load(file, map_location=device, weights_only=True)
        for name, value in model.state_dict().items():
            assert there[name].device.type == device.type
            assert torch.equal(value.cpu(), host[name])
            assert torch.equal(there[name].cpu(), host[name])

    def test_rng_state_is_saved_and_restored(self, backend: Backend, device: torch.device) -> None:
        host, own = torch.get_rng_state(), backend.rng_state()
        first = torch.rand(8, device=device).cpu()
        torch.set_rng_state(host)
        if own is not None:
            assert own.device.type == "cpu"
            backend.set_rng_state(own)
        assert torch.equal(torch.rand(8, device=device).cpu(), first)
        assert not torch.equal(torch.rand(8, device=device).cpu(), first)

    def test_seeding_repeats_the_draws(self, device: torch.device) -> None:
        draws = []
        for _ in range(2):
            torch.manual_seed(5)
            draws.append(torch.randn(8, device=device).cpu())
        assert torch.equal(draws[0], draws[1])
