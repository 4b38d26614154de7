"""Conformance: gradients, autocast, optimizers, resuming."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from portbev.backend import Backend
from portbev.opscheck.small import tensor
from portbev.precision import Amp
from portbev.testing.base import Conformance


def small_network() -> nn.Module:
    """Layers that detectors are made of; the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
            nn.ConvTranspose2d(8, 8, 2, 2),
            nn.GroupNorm(2, 8),
            nn.Conv2d(8, 4, 1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 5),
        )


def train(
    backend: Backend, model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, amp: Amp = "none"
) -> Tensor:
    """Losses (steps,) of a few steps on fixed data."""
    scaler, losses = backend.grad_scaler(amp), []
    images = tensor(1, 4, 3, 8, 8).to(backend.device())
    labels = torch.tensor([0, 1, 2, 3]).to(backend.device())
    for _ in range(steps):
        with backend.autocast(amp):
            loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.detach().float().cpu())
    return torch.stack(losses)


class TrainingConformance(Conformance):
    """A few training steps."""

    def test_gradients_agree_with_the_host(self, device: torch.device) -> None:
        grads = []
        for place in ("cpu", device):
            model = small_network().to(place)
            model(tensor(1, 4, 3, 8, 8).to(place)).square().sum().backward()
            grads.append([p.grad.cpu() for p in model.parameters() if p.grad is not None])
        assert len(grads[0]) == len(grads[1]) > 0
        for host, there in zip(*grads, strict=True):
            assert (there - host).abs().max() <= 1e-3 * host.abs().max().clamp(min=1e-3)

    @pytest.mark.parametrize("name", ["SGD", "AdamW"])
    def test_optimizer_steps_lower_the_loss(self, backend: Backend, name: str) -> None:
        model = small_network().to(backend.device())
        losses = train(backend, model, getattr(torch.optim, name)(model.parameters(), lr=0.01), steps=10)
        assert losses.isfinite().all()
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("amp", ["fp16", "bf16"])
    def test_autocast_trains(self, backend: Backend, amp: Amp) -> None:
        model = small_network().to(backend.device())
        with backend.autocast(amp):
            half = model[0](tensor(1, 4, 3, 8, 8).to(backend.device()))  # type: ignore[index]
        assert half.dtype == {"fp16": torch.float16, "bf16": torch.bfloat16}[amp]
        losses = train(backend, model, torch.optim.AdamW(model.parameters(), lr=0.01), steps=10, amp=amp)
        assert losses.isfinite().all()
        assert losses[-1] < losses[0]

    def test_autocast_keeps_softmax_and_losses_in_float32(self, backend: Backend) -> None:
        with backend.autocast("bf16"):
            logits = torch.ones(2, 3, device=backend.device()) @ torch.ones(3, 3, device=backend.device())
            loss = nn.functional.cross_entropy(logits, torch.tensor([0, 1], device=backend.device()))
        assert logits.dtype == torch.bfloat16
        assert loss.dtype == torch.float32

    def test_grad_scaler_skips_a_step_with_infinite_gradients(self, backend: Backend) -> None:
        weight = nn.Parameter(torch.ones(2, device=backend.device()))
        optimizer, scaler = torch.optim.SGD([weight], lr=1.0), backend.grad_scaler("fp16")
        scaler.scale((weight * float("inf")).sum()).backward()
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        assert weight.detach().cpu().tolist() == [1, 1]
        assert scaler.get_scale() < before

    def test_resumed_training_is_bit_identical(self, backend: Backend) -> None:
        model = small_network().to(backend.device())
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        train(backend, model, optimizer, steps=2)
        saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        ahead = train(backend, model, optimizer, steps=2)
        again = small_network().to(backend.device())
        optimizer = torch.optim.AdamW(again.parameters(), lr=0.01)
        again.load_state_dict(saved[0])
        optimizer.load_state_dict(saved[1])
        assert torch.equal(train(backend, again, optimizer, steps=2), ahead)

    def test_activation_checkpointing_gives_the_same_gradients(self, device: torch.device) -> None:
        from torch.utils.checkpoint import checkpoint

        layer = nn.Linear(4, 4).to(device)
        inputs = tensor(4, 2, 4).to(device).requires_grad_()
        (plain,) = torch.autograd.grad(layer(inputs).relu().sum(), inputs)
        (again,) = torch.autograd.grad(checkpoint(lambda x: layer(x).relu(), inputs, use_reentrant=False).sum(), inputs)
        assert torch.equal(plain.cpu(), again.cpu())
