"""Speed of BEVDepth R50 256x704 on the CPU: forward (eval), and forward, losses and backward (train), one sample.

    python benchmarks/bevdepth_speed.py [--threads 2] [--repeats 5] [--variant bevdepth|matrixvt] [--channels-last]
        [--weight-gradients avx2] [--keep-freed-memory] [--original-python TORCH19_VENV/bin/python]

The process is set up as ``portbev train`` does for the CPU. Prints medians of wall and CPU seconds and the process's
peak memory, beside yardsticks that are run in turn with it:

* the model's bare convolutions and matrix products, in the same memory formats: what the arithmetic alone costs with
  this torch (its own weight gradients), without normalisation, activation, pooling, losses;
* with ``--original-python``, the model's convolutions, matrix products, normalisations and activations, each alone,
  under the torch of the original implementation (1.9.0, in a Python of its own, contiguous as the original runs them):
  about the least that the original can need on this machine (the deformable convolution's sampling, pooling and
  losses are left out);
* the original as a whole (Megvii-BaseDetection/BEVDepth d78c7b58, torch 1.9.0, two threads), recorded once on another
  machine of 2 cores and not run here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare_layers import ARITHMETIC, BareLayers, describe, kind_of, timed
from torch import Tensor, nn

from portbev.config import ComputeSection
from portbev.nn.dilated_conv import DilatedConv2d
from portbev.runtime import activate
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.depthnet import ASPP
from portbev_bevdepth.family import BevDepthFamily
from portbev_nuscenes.batches import SweepBatch

ORIGINAL = {"forward": (7.87, 13.52), "forward + backward": (29.15, 47.06)}  # wall, CPU seconds; BEVDepth, one sample
Work = Callable[[], None]


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


def record_layers(model: nn.Module, batch: SweepBatch, config: BevDepthConfig) -> list[dict[str, Any]]:
    """The layers that a forward pass calls: dilated convolutions by the taps that are computed, the deformable one as a
    plain one, and the product behind the atrous pyramid, which is no module's call."""
    calls: list[dict[str, Any]] = []

    def note(module: nn.Module, given: tuple[Tensor], _output: Tensor) -> None:
        calls.append(describe(_computed(module, given[0]), given[0]))

    def note_pyramid(module: nn.Module, given: tuple[Tensor], _output: Tensor) -> None:
        channels = given[0].shape[1]
        maps = torch.cat([given[0]] * 4, dim=1)  # in the memory format of the pyramid's maps
        calls.append(describe(nn.Conv2d(4 * channels, channels, 1, bias=False), maps))

    hooks = [m.register_forward_hook(note) for m in model.modules() if kind_of(m)]
    hooks += [m.register_forward_hook(note_pyramid) for m in model.modules() if isinstance(m, ASPP)]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    mid = config.depth_net.mid_channels
    plain = nn.Conv2d(mid, mid, 3, padding=1, groups=config.depth_net.dcn_groups, bias=False)
    calls.append(describe(plain, torch.empty(6, mid, *config.feature_size)))
    return calls


def _computed(module: nn.Module, given: Tensor) -> nn.Module:
    """``module``, or for a dilated convolution the plain one of the taps that it computes."""
    if not isinstance(module, DilatedConv2d):
        return module
    weight, padding = module.live_taps(given)
    size, channels = tuple(weight.shape[2:]), (module.in_channels, module.out_channels)
    return nn.Conv2d(*channels, size, module.stride, tuple(padding), module.dilation, bias=module.bias is not None)


class OtherTorch:
    """The bare layers in another Python, asked in turn with ours. A context manager."""

    def __init__(self, python: str, layers: list[dict[str, Any]], threads: int) -> None:
        script = Path(__file__).with_name("bare_layers.py")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([python, str(script)], stdin=pipe, stdout=pipe, text=True)
        self.version = self._ask(json.dumps({"layers": layers, "threads": threads}))

    def time(self, name: str) -> tuple[float, float]:
        """Wall and CPU seconds of ``forward`` or ``forward + backward``."""
        wall, cpu = self._ask(name).split()
        return float(wall), float(cpu)

    def _ask(self, line: str) -> str:
        assert self.process.stdin and self.process.stdout
        print(line, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise SystemExit("the other Python ended; its message is above")
        return answer

    def __enter__(self) -> OtherTorch:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def median(rows: list[tuple[float, float]]) -> tuple[float, float]:
    """Medians of wall and CPU seconds."""
    return statistics.median(row[0] for row in rows), statistics.median(row[1] for row in rows)


def line(name: str, seconds: tuple[float, float], rest: str) -> None:
    """A row of the table."""
    print(f"  {name:<28}{seconds[0]:6.2f} s wall {seconds[1]:6.2f} s CPU   {rest}", flush=True)


def measure(works: dict[str, Work], model: nn.Module, bare: BareLayers, other: OtherTorch | None, repeats: int) -> None:
    """Time the model, the bare layers and the other torch's in turn, and print medians and ratios."""
    for name, work in works.items():
        model.train(name != "forward")
        work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        mine, least, theirs = [], [], []
        for _ in range(repeats):
            mine.append(timed(work))
            least.append(timed(bare.forward if name == "forward" else bare.forward_backward))
            if other is not None:
                theirs.append(other.time(name))
        ours = median(mine)
        print(f"{name}:")
        line("portbev", ours, f"peak memory {peak:.2f} GiB")
        line("bare arithmetic", median(least), f"portbev / this = {ours[0] / median(least)[0]:.2f}")
        if other is not None:
            bound = median(theirs)
            line(f"layers, torch {other.version}", bound, f"portbev / this = {ours[0] / bound[0]:.2f}")
        line("original, recorded elsewhere", ORIGINAL[name], f"portbev / this = {ours[0] / ORIGINAL[name][0]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--variant", choices=["bevdepth", "matrixvt"], default="bevdepth")
    parser.add_argument("--channels-last", action="store_true", help="compute.memory_format=channels_last")
    parser.add_argument("--weight-gradients", choices=["torch", "avx2"], default="torch", help="of section compute")
    parser.add_argument("--keep-freed-memory", action="store_true", help="compute.keep_freed_memory=true")
    parser.add_argument("--original-python", help="a Python that has the original's torch, 1.9.0")
    options = parser.parse_args()
    compute = ComputeSection(
        memory_format="channels_last" if options.channels_last else "contiguous",
        weight_gradients=options.weight_gradients,
        threads=options.threads,
        keep_freed_memory=options.keep_freed_memory or None,
    )
    backend = activate("cpu", deterministic=compute.deterministic)
    notes = backend.prepare_host(compute)
    torch.manual_seed(0)
    config = BevDepthConfig(variant=options.variant)
    model = BevDepthFamily().build(config)
    for note in [*notes, *backend.prepare_model(model, compute)]:
        print(f"note: {note}")
    batch = make_batch(config)
    batch["prepared"] = model.preparation(training=True)(batch)  # the loader's workers do it

    def forward() -> None:
        with torch.no_grad():
            model(batch)

    def step() -> None:
        losses = model.losses(model(batch), batch)
        torch.stack(list(losses.values())).sum().backward()
        model.zero_grad(set_to_none=True)

    model.eval()
    layers = record_layers(model, batch, config)
    bare = BareLayers([layer for layer in layers if layer["kind"] in ARITHMETIC])
    works: dict[str, Work] = {"forward": forward, "forward + backward": step}
    print(f"{options.variant} R50 256x704, 1 sample, float32, {options.threads} threads, torch {torch.__version__}")
    with contextlib.ExitStack() as stack:
        other = None
        if options.original_python:
            other = stack.enter_context(OtherTorch(options.original_python, layers, options.threads))
        measure(works, model, bare, other, options.repeats)


if __name__ == "__main__":
    main()
