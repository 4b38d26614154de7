"""The emulated device itself: what it refuses, what it shares with the CPU to the bit, and the loops around it."""

from __future__ import annotations

import copy
import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from portbev.backend import Backend
from portbev.errors import BackendError
from portbev_emulated import install
from portbev_emulated.refused import refused

pytestmark = pytest.mark.usefixtures("npu")


def detector() -> nn.Module:
    """Layers that detectors are made of. (The CPU's fused attention has no counterpart on another device.)"""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 7, 2, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=4),
        nn.ConvTranspose2d(16, 8, 2, 2),
        nn.GroupNorm(2, 8),
        nn.Sigmoid(),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(2),
        nn.LayerNorm(16),
        nn.Linear(16, 16),
        nn.GELU(),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def train(device: Any, steps: int, amp: torch.dtype | None = None) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and final state of a short training with clipping."""
    model = detector().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    draws = torch.Generator().manual_seed(1)
    losses = []
    for _ in range(steps):
        images = torch.randn(2, 3, 32, 32, generator=draws).to(device)
        labels = torch.randint(0, 10, (2,), generator=draws).to(device)
        with torch.autocast(torch.device(device).type, dtype=amp, enabled=amp is not None):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, {name: value.cpu() for name, value in model.state_dict().items()}


def test_training_equals_the_cpus_bit_for_bit() -> None:
    losses, state = train("cpu", 6)
    there, there_state = train("npu", 6)
    assert there == losses
    for name, value in state.items():
        assert torch.equal(there_state[name], value), name


def test_autocast_training_equals_the_cpus_where_both_round_alike() -> None:
    model = nn.Conv2d(3, 4, 3)
    images = torch.randn(1, 3, 8, 8)
    outputs = []
    for device in ("cpu", "npu"):
        with torch.autocast(device, dtype=torch.bfloat16):
            outputs.append(copy.deepcopy(model).to(device)(images.to(device)).detach().cpu())
    assert outputs[1].dtype == torch.bfloat16
    assert torch.equal(*outputs)


@pytest.mark.parametrize("amp", [torch.float16, torch.bfloat16], ids=str)
def test_autocast_training_runs(amp: torch.dtype) -> None:
    losses, _ = train("npu", 3, amp)
    assert all(0 < loss < 100 for loss in losses)


@pytest.mark.parametrize(
    ("call", "operator"),
    [
        (torch.inverse, "inverse"),
        (torch.linalg.inv, "linalg_inv"),
        (torch.fft.fft, "fft_fft"),
        (torch.fft.ifft, "fft_ifft"),
        (torch.fft.rfft, "fft_rfft"),
        (torch.fft.fft2, "fft_fft2"),
        (lambda x: torch.segment_reduce(x, "sum", lengths=torch.tensor([1, 2], device="npu")), "segment_reduce"),
        (torch.unique_consecutive, "unique_consecutive"),
        (torch.var_mean, "var_mean"),
        (lambda x: torch.nn.functional.adaptive_max_pool2d(x[None], 1), "adaptive_max_pool2d"),
    ],
)
def test_operators_that_ascend_does_not_list_are_refused_by_name(call: Any, operator: str) -> None:
    x = torch.eye(3, device="npu")
    with pytest.raises(NotImplementedError, match=rf"aten::{operator}.*not listed as supported by Ascend"):
        call(x)
    with pytest.raises(NotImplementedError, match="not listed as supported by Ascend"):
        call(x.clone().requires_grad_())


def test_every_refused_name_is_an_operator_of_this_torch() -> None:
    assert len(refused()) > 40
    for name in refused():
        base, _, overload = name.partition(".")
        assert hasattr(getattr(torch.ops.aten, base), overload or "default"), name


def test_rfftn_is_listed_and_runs() -> None:
    x = torch.randn(4, 4)
    assert torch.equal(torch.fft.rfftn(x.to("npu")).cpu(), torch.fft.rfftn(x))


def test_a_second_device_does_not_exist() -> None:
    with pytest.raises(RuntimeError, match="one device"):
        torch.npu.set_device(1)


def test_generators_of_the_host_are_refused() -> None:
    with pytest.raises(RuntimeError, match="generator"):
        torch.randn(2, device="npu", generator=torch.Generator())


@pytest.mark.parametrize("number", [3, 2.5, True])
def test_numbers_beside_tensors_keep_the_dtype_of_the_cpu(number: Any) -> None:
    for host in (torch.tensor(7), torch.tensor(7.0, dtype=torch.float16), torch.arange(5), torch.arange(5.0)):
        for name in ("add", "sub", "mul", "div", "remainder", "fmod", "floor_divide", "pow", "eq", "lt"):
            if name == "sub" and isinstance(number, bool):
                continue
            expected = getattr(torch, name)(host, number)
            found = getattr(torch, name)(host.to("npu"), number)
            assert found.dtype == expected.dtype, name
            assert torch.equal(found.cpu(), expected), name


def test_deepcopy_does_not_share_memory() -> None:
    model = nn.Linear(2, 2).to("npu")
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.weight.zero_()
    assert model.weight.abs().sum().item() > 0
    assert other.weight.device.type == "npu"


def test_saved_tensors_share_storage_again_after_loading() -> None:
    base = torch.arange(6.0, device="npu")
    file = io.BytesIO()
    torch.save({"base": base, "view": base[2:4]}, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    loaded["view"].fill_(9)
    assert loaded["base"].cpu().tolist() == [0, 1, 9, 9, 4, 5]


@pytest.mark.parametrize("pin", [False, True])
def test_data_loader_workers_feed_the_device(pin: bool) -> None:
    torch.ones(1, device="npu", requires_grad=True).sum().backward()  # the device is in use before the fork
    loader = DataLoader(TensorDataset(torch.arange(8.0)), batch_size=4, num_workers=2, pin_memory=pin)
    total = sum((batch.to("npu", non_blocking=True).sum() for (batch,) in loader), torch.zeros((), device="npu"))
    assert total.item() == 28


def test_pinned_memory_says_that_it_is_pinned() -> None:
    plain = torch.ones(3)
    pinned = plain.pin_memory()
    assert pinned.is_pinned()
    assert not plain.is_pinned()


def test_events_measure_time(npu: Backend) -> None:
    first, last = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    first.record()
    torch.ones(100, device="npu").sum()
    last.record()
    npu.synchronize()
    assert first.elapsed_time(last) > 0


def test_installing_twice_changes_nothing() -> None:
    module = torch.npu
    install.install()
    assert torch.npu is module


def test_a_real_npu_is_not_emulated_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_libraries", [])
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/davinci0"])
    with pytest.raises(BackendError, match="real npu"):
        install.install()
