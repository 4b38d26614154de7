"""Speed of BEVDepth R50 256x704 on the CPU: forward (eval), and forward, losses and backward (train), one sample.

    python benchmarks/bevdepth_speed.py [--threads 2] [--repeats 5] [--variant bevdepth|matrixvt] [--channels-last]

Prints medians of wall and CPU seconds and the process's peak memory, beside two yardsticks: the original implementation
(Megvii-BaseDetection/BEVDepth d78c7b58, torch 1.9.0, two threads on a quiet machine of 2 cores; recorded, not run here)
and, run in turn with ours in this process, the bare convolutions and matrix products of the same shapes in the same
memory format: what the arithmetic alone costs with this torch, without normalisation, activation, pooling, losses.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from portbev.models import SweepBatch
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.family import BevDepthFamily

ORIGINAL = {"forward": (7.87, 13.52), "forward + backward": (29.15, 47.06)}  # wall, CPU seconds; BEVDepth, one sample


def make_batch(config: BevDepthConfig) -> SweepBatch:
    """One sample of noise seen by six cameras around a car."""
    g = torch.Generator().manual_seed(0)
    cameras, (height, width) = 6, config.final_size
    pose = torch.eye(4).repeat(1, 1, cameras, 1, 1)
    for camera, yaw in enumerate(np.deg2rad([55, 0, -55, 110, 180, -110])):
        forward, left = [np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0]
        pose[0, 0, camera, :3, 0] = -torch.tensor(left)
        pose[0, 0, camera, :3, 1] = torch.tensor([0.0, 0.0, -1.0])
        pose[0, 0, camera, :3, 2] = torch.tensor(forward)
        pose[0, 0, camera, :3, 3] = torch.tensor([1.5, 0.0, 1.5])
    intrin = torch.eye(4).repeat(1, 1, cameras, 1, 1)
    intrin[..., 0, 0] = intrin[..., 1, 1] = 0.8 * width
    intrin[..., 0, 2], intrin[..., 1, 2] = width / 2, height / 2
    eye = torch.eye(4).repeat(1, 1, cameras, 1, 1)
    lidar = torch.rand(1, cameras, height, width, generator=g) * 60
    boxes = np.array([[10, 3, -0.5, 4.5, 1.9, 1.6, 0.3, 3, 0], [-20, -9, 0, 9.5, 2.9, 3.6, 1.6, 0, 5]], np.float32)
    return SweepBatch(
        images=torch.randn(1, config.key_frames, cameras, 3, height, width, generator=g),
        mats={"sensor2ego": pose, "intrin": intrin, "ida": eye, "sensor2sensor": eye, "bda": torch.eye(4)[None]},
        depth=lidar * (torch.rand(lidar.shape, generator=g) < 0.02),
        boxes=[boxes],
        labels=[np.array([0, 3])],
        tokens=["noise"],
        frame2global=np.eye(4)[None],
    )


class Floor:
    """The convolutions, linear layers and deformable convolution (as a plain one) of a model, on recorded shapes."""

    def __init__(self, model: nn.Module, batch: SweepBatch) -> None:
        self.calls: list[tuple[nn.Module, Tensor, bool]] = []
        kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv1d, nn.Linear)
        hooks = [m.register_forward_hook(self._note) for m in model.modules() if isinstance(m, kinds)]
        with torch.no_grad():
            model(batch)
        for hook in hooks:
            hook.remove()
        mid = model.config.depth_net.mid_channels  # type: ignore[union-attr]
        plain = nn.Conv2d(mid, mid, 3, padding=1, groups=model.config.depth_net.dcn_groups, bias=False)  # type: ignore[union-attr]
        shape = (6, mid, *model.config.feature_size)  # type: ignore[union-attr, misc]
        self.calls.append((plain, torch.randn(shape), True))

    def _note(self, module: nn.Module, given: tuple[Tensor], _output: Tensor) -> None:
        trains = any(p.requires_grad for p in module.parameters())
        self.calls.append((module, torch.randn_like(given[0]), trains))  # keeps the memory format

    def forward(self) -> None:
        with torch.no_grad():
            for module, given, _ in self.calls:
                module(given)

    def forward_backward(self) -> None:
        for module, given, trains in self.calls:
            given.requires_grad_(trains and given.shape[1] != 3)
            output = module(given)
            if trains:
                output.backward(torch.ones_like(output))
                module.zero_grad()
                given.grad = None


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variant", choices=["bevdepth", "matrixvt"], default="bevdepth")
    parser.add_argument("--channels-last", action="store_true", help="model.channels_last=true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = BevDepthConfig(variant=options.variant, channels_last=options.channels_last)
    model = BevDepthFamily().build(config)
    batch = make_batch(config)

    def forward() -> None:
        with torch.no_grad():
            model(batch)

    def step() -> None:
        losses = model.losses(model(batch), batch)
        torch.stack(list(losses.values())).sum().backward()
        model.zero_grad(set_to_none=True)

    model.eval()
    floor = Floor(model, batch)
    pairs = {"forward": (forward, floor.forward), "forward + backward": (step, floor.forward_backward)}
    print(f"{options.variant} R50 256x704, 1 sample, float32, {options.threads} threads, torch {torch.__version__}")
    for name, (ours, bare) in pairs.items():
        model.train(name != "forward")
        ours()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows = [(timed(ours), timed(bare)) for _ in range(options.repeats)]
        mine = [statistics.median(row[0][k] for row in rows) for k in (0, 1)]
        least = [statistics.median(row[1][k] for row in rows) for k in (0, 1)]
        wall, cpu = ORIGINAL[name]
        ratio = mine[0] / least[0]
        print(f"{name}:")
        print(f"  portbev           {mine[0]:6.2f} s wall {mine[1]:6.2f} s CPU   peak memory {peak:.2f} GiB")
        print(f"  bare arithmetic   {least[0]:6.2f} s wall {least[1]:6.2f} s CPU   portbev / bare = {ratio:.2f}")
        print(f"  original BEVDepth {wall:6.2f} s wall {cpu:6.2f} s CPU   portbev / original = {mine[0] / wall:.2f}")


if __name__ == "__main__":
    main()
