"""Fifty training steps with portbev's operators: the emulated npu's losses are the CPU's, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from portbev import ops
from portbev.backend import Backend
from portbev.kernels import KERNELS
from portbev.nn.dropout import Dropout, prepare_dropout, set_dropout_step
from portbev.runtime import activate

STEPS = 50


class Deform(nn.Module):
    """Deformable convolution that predicts its own offsets, as in BEVDepth's depth head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 18, 3, padding=1)
        self.weight = nn.Parameter(torch.randn(channels, channels // groups, 3, 3) * 0.05)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        return ops.deform_conv2d(x, self.offset(x), self.weight, padding=1, groups=self.groups)


class Attend(nn.Module):
    """Deformable attention over the grid at places that the grid's own features choose."""

    def __init__(self, channels: int, heads: int, points: int) -> None:
        super().__init__()
        self.shape = (heads, 1, points)
        self.places = nn.Linear(channels, heads * points * 2)
        self.weights = nn.Linear(channels, heads * points)

    def forward(self, grid: Tensor) -> Tensor:
        rows = grid.flatten(1, 2)
        places = self.places(rows).sigmoid().unflatten(2, (*self.shape, 2))
        weights = self.weights(rows).unflatten(2, self.shape)
        value = rows.unflatten(2, (self.shape[0], -1))
        return grid + ops.ms_deform_attn(value, [grid.shape[1:3]], places, weights).view(grid.shape)


class SmallDetector(nn.Module):
    """Image features, depth and context, lift, attention on the grid, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            Deform(64, 1),
            Deform(64, 4),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            Dropout(0.2),
        )
        self.split = nn.Conv2d(64, 4 + 16, 1)
        self.attend = Attend(16, 2, 4)
        self.head = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 2, 2, 2))

    def forward(self, images: Tensor, voxels: Tensor) -> Tensor:
        features = self.split(self.trunk(images.flatten(0, 1)))
        features = features.unflatten(0, images.shape[:2])
        context = features[:, :, 4:]
        depth = features[:, :, :4].softmax(2).to(context.dtype)
        grid = ops.voxel_pool_lift(depth, context, voxels, (8, 8, 1))
        grid = self.attend(grid)
        return self.head(grid.permute(0, 3, 1, 2))


def train(backend: Backend, steps: int = STEPS, amp: bool = False) -> tuple[list[float], dict[str, Tensor]]:
    """Losses and final weights of AdamW steps on drawn data."""
    torch.manual_seed(0)
    model = SmallDetector()
    prepare_dropout(model, seed=3)
    model.to(backend.device())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = backend.grad_scaler("fp16" if amp else "none")
    draws = torch.Generator().manual_seed(1)
    losses = []
    for step in range(steps):
        images = torch.randn(2, 2, 3, 8, 8, generator=draws)
        voxels = torch.randint(-1, 9, (2, 2, 4, 4, 4, 3), generator=draws).int()
        voxels[..., 2] = 0
        target = torch.rand(2, 2, 16, 16, generator=draws)
        images, voxels, target = (t.to(backend.device()) for t in (images, voxels, target))
        set_dropout_step(model, step)
        with backend.autocast("fp16" if amp else "none"):
            loss = nn.functional.binary_cross_entropy_with_logits(model(images, voxels), target)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses, {name: value.cpu() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("steps", "options", "providers"),
    [
        (
            STEPS,
            {"deterministic": "off"},
            {
                "deform_conv2d": {"mx_driving": 2 * STEPS},
                "ms_deform_attn": {"mx_driving": STEPS},
                "voxel_pool_lift": {"mx_driving": STEPS},
            },
        ),
        (
            STEPS,
            {},
            {
                "deform_conv2d": {"mx_driving": 2 * STEPS},
                "ms_deform_attn": {"mx_driving": STEPS},
                "voxel_pool_lift": {"mx_driving": STEPS},
            },
        ),
        (
            10,  # operator by operator through the device, which takes its time
            {"deterministic": "required"},
            {
                "deform_conv2d": {"reference": 20},
                "ms_deform_attn": {"emulated": 10},
                "voxel_pool_lift": {"reference": 10},
            },
        ),
        (
            10,  # operator by operator through the device, which takes its time
            {"kernels": {"all": "reference"}},
            {
                "deform_conv2d": {"reference": 20},
                "ms_deform_attn": {"reference": 10},
                "voxel_pool_lift": {"reference": 10},
            },
        ),
    ],
    ids=["off", "default", "required", "reference"],
)
def test_training_equals_the_cpus_bit_for_bit(
    steps: int, options: dict[str, Any], providers: dict[str, dict[str, int]]
) -> None:
    try:
        losses, state = train(activate("cpu", **options), steps)
        there, there_state = train(activate("npu", emulate=True, **options), steps)
        page = KERNELS.ledger.snapshot()
    finally:
        activate("npu", emulate=True)
    assert there == losses
    assert all(torch.equal(there_state[name], value) for name, value in state.items())
    for operator, served in providers.items():
        assert page[operator]["forward"] == served
        assert page[operator]["backward"] == served


def test_fifty_steps_with_fp16_and_a_loss_scaler_stay_finite() -> None:
    losses, state = train(activate("npu", emulate=True), amp=True)
    assert all(0 < loss < 10 for loss in losses)
    assert all(value.isfinite().all() for value in state.values())
