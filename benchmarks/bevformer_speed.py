"""Speed of BEVFormer on the CPU: one frame with history, and one frame forward, losses and backward.

    python benchmarks/bevformer_speed.py [--image 256x416] [--threads 2] [--repeats 5] [--channels-last]
        [--weight-gradients avx2] [--linear onednn] [--keep-freed-memory] [--config tiny]

Prints medians of wall and CPU seconds and the process's peak memory, beside the original implementation's (BEVFormer
66b65f3, torch 1.9.1, two threads on a quiet machine of 2 cores; recorded at 256x416, not run here), and then, run in
turn in this process, spatial cross-attention over the visible (camera, query) pairs against the same layer over lists
padded to the longest camera's, once with our sampling operator and once with grid_sample per level, which is what the
original computes on a CPU.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from portbev.config import ComputeSection, load_config
from portbev.ops import ms_deform_attn
from portbev.runtime import activate
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.model import BEVFormer
from portbev_bevformer.projection import project
from portbev_bevformer.spatial import SpatialCrossAttention, VisiblePairTensors
from portbev_nuscenes.batches import QueueBatch

ORIGINAL = {"forward": (3.13, 5.54), "forward + backward": (6.51, 12.44)}  # wall, CPU seconds; tiny at 256x416
CONFIGS = Path(__file__).parents[1] / "configs" / "bevformer"
Shapes = Sequence[tuple[int, int]]


def make_batch(config: BevFormerConfig, height: int, width: int) -> QueueBatch:
    """One frame of noise with history, seen by six cameras around a car, with two objects."""
    matrices = np.zeros((1, 1, config.cameras, 4, 4))
    for camera, yaw in enumerate(np.deg2rad([0, -55, 55, 180, 110, -110])):
        forward = np.array([-np.sin(yaw), np.cos(yaw), 0.0])
        right = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, [0.0, 0.0, -1.0], forward])
        focal = 0.5 * width if camera == 3 else 0.8 * width
        intrinsic = np.diag([focal, focal, 1.0, 1.0])
        intrinsic[:2, 2] = width / 2, height / 2
        matrices[0, 0, camera] = intrinsic @ pose
    can_bus = np.zeros((1, 1, 18))
    can_bus[0, 0, [0, 1, 16, 17]] = 3.0, 2.4, 0.7, 3.7
    boxes = np.array([[10, 3, -0.5, 4.5, 1.9, 1.6, 0.3, 3, 0], [-20, -9, 0, 9.5, 2.9, 3.6, 1.6, 0, 5]], np.float32)
    return QueueBatch(
        images=torch.randn(1, 1, config.cameras, 3, height, width, generator=torch.Generator().manual_seed(0)),
        lidar2img=matrices,
        can_bus=can_bus,
        continues=np.ones((1, 1), bool),
        previous=["before"],
        image_size=(height, width),
        boxes=[boxes],
        labels=[np.array([0, 3])],
        tokens=["frame"],
        frame2global=np.eye(4)[None],
    )


class Frame:
    """A model and one frame whose BEV before is given, as when the original was timed."""

    def __init__(self, config: BevFormerConfig, height: int, width: int) -> None:
        torch.manual_seed(0)
        self.model = BEVFormer(config)
        self.batch = make_batch(config, height, width)
        self.batch["prepared"] = self.model.preparation(training=True)(self.batch)  # the loader's workers do it
        self.before = torch.randn(1, config.bev_size[0] * config.bev_size[1], config.channels)

    def outputs(self) -> Any:
        """The model's forward pass, with the remembered BEV put in."""
        model = self.model
        model._previous_bev = lambda queue: (self.before, [True])  # type: ignore[method-assign]
        return model(self.batch)

    def forward(self) -> None:
        with torch.no_grad():
            self.outputs()

    def forward_backward(self) -> None:
        losses = self.model.losses(self.outputs(), self.batch)
        torch.stack(list(losses.values())).sum().backward()
        self.model.zero_grad(set_to_none=True)


def plain_sampling(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention by grid_sample per level, stacked and summed."""
    images, _, heads, width = value.shape
    queries = locations.shape[1]
    grids = 2 * locations - 1
    sampled = []
    for level, (part, (h, w)) in enumerate(zip(value.split([h * w for h, w in shapes], 1), shapes, strict=True)):
        maps = part.flatten(2).transpose(1, 2).reshape(images * heads, width, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(functional.grid_sample(maps, grid, padding_mode="zeros", align_corners=False))
    share = weights.transpose(1, 2).reshape(images * heads, 1, queries, -1)
    out = (torch.stack(sampled, -2).flatten(-2) * share).sum(-1)
    return out.view(images, heads * width, queries).transpose(1, 2)


class Padded:
    """The layer over lists that are all as long as the longest camera's."""

    def __init__(self, layer: SpatialCrossAttention, places: NDArray[np.float32], seen: NDArray[np.bool_]) -> None:
        self.layer, hit = layer, seen[0].any(-1)
        self.index = [torch.from_numpy(np.flatnonzero(row)) for row in hit]
        self.longest = max(len(index) for index in self.index)
        spots = np.zeros((len(hit), self.longest, *places.shape[3:]), np.float32)
        for camera, index in enumerate(self.index):
            spots[camera, : len(index)] = places[0, camera, index.numpy()]
        self.spots = torch.from_numpy(spots)
        self.count = torch.from_numpy(np.maximum(hit.sum(0), 1).astype(np.float32))

    def __call__(self, x: Tensor, features: Tensor, shapes: Shapes, sampling: Callable[..., Tensor]) -> Tensor:
        inner = self.layer.deformable_attention
        rows = x.new_zeros(len(self.index), self.longest, x.shape[-1])
        for camera, index in enumerate(self.index):
            rows[camera, : len(index)] = x[0, index]
        offsets = inner.sampling_offsets(rows).unflatten(-1, (inner.heads, inner.levels, inner.points, 2))
        weights = inner.attention_weights(rows).unflatten(-1, (inner.heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, (inner.levels, inner.points))
        sizes = torch.tensor([[w, h] for h, w in shapes], dtype=torch.float32)
        anchors = self.spots.repeat(1, 1, inner.points // self.spots.shape[2], 1)
        locations = anchors[:, :, None, None] + offsets / sizes[:, None]
        value = inner.value_proj(features).unflatten(-1, (inner.heads, -1))
        out = sampling(value, shapes, locations, weights)
        slots = torch.zeros_like(x[0])
        for camera, index in enumerate(self.index):
            slots.index_add_(0, index, out[camera, : len(index)])
        return self.layer.output_proj(slots / self.count[:, None])[None] + x


class Seconds(NamedTuple):
    """By the clock, and on a CPU: of all threads, and of the calling one. On a busy machine the clock says little."""

    wall: float
    cpu: float
    thread: float

    @staticmethod
    def now() -> Seconds:
        return Seconds(time.perf_counter(), time.process_time(), time.thread_time())


def timed(work: Callable[[], Any]) -> Seconds:
    start = Seconds.now()
    work()
    return Seconds(*(end - begin for end, begin in zip(Seconds.now(), start, strict=True)))


def median(rows: Sequence[Seconds]) -> Seconds:
    return Seconds(*(statistics.median(column) for column in zip(*rows, strict=True)))


def whole_model(frame: Frame, repeats: int, reduced: bool) -> None:
    for name, work in (("forward", frame.forward), ("forward + backward", frame.forward_backward)):
        frame.model.train(name != "forward")
        work()
        ours = median([timed(work) for _ in range(repeats)])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{name}:")
        print(
            f"  portbev   {ours.wall:6.2f} s wall {ours.cpu:6.2f} s CPU, {ours.thread:.2f} of it in the calling thread"
            f"   peak memory of the process so far {peak:.2f} GiB"
        )
        if reduced:
            his = ORIGINAL[name]
            print(
                f"  original  {his[0]:6.2f} s wall {his[1]:6.2f} s CPU   portbev / original = "
                f"{ours.wall / his[0]:.2f} wall {ours.cpu / his[1]:.2f} CPU"
            )


def cross_attention(frame: Frame, repeats: int) -> None:
    """Ragged against padded, of one layer."""
    model, batch = frame.model.eval(), frame.batch
    with torch.no_grad():
        features, shapes = model.features(model.extract(batch["images"][:, -1]), model.config.cameras)
    layer = model.encoder.layers[0].spatial
    height, width = batch["images"].shape[-2:]
    places, seen = project(model.preparation(training=False).points, batch["lidar2img"][:, 0], (height, width))
    pairs = VisiblePairTensors(model.visible_pairs(batch, 0), features.device)
    padded, queries = Padded(layer, places, seen), seen.shape[2]
    x = torch.randn(1, queries, model.config.channels)
    count, cameras = sum(pairs.counts), len(pairs.counts)
    print("spatial cross-attention, one layer:")
    print(f"  visible (camera, query) pairs {count}, of {cameras * queries}")
    share = count / cameras / padded.longest
    print(f"  padded to the longest list {cameras * padded.longest}; pairs / padded = {share:.2f}")
    forms: dict[str, Callable[[], Tensor]] = {
        "ragged": lambda: layer(x, features, shapes, pairs),
        "padded": lambda: padded(x, features, shapes, ms_deform_attn),
        "padded, grid_sample": lambda: padded(x, features, shapes, plain_sampling),
    }
    results = {name: form() for name, form in forms.items()}
    for name in list(forms)[1:]:
        gap = float((results[name] - results["ragged"]).detach().abs().max())
        print(f"  largest difference to ragged, {name}: {gap:.1e}")
    for passes in ("forward", "forward + backward"):
        rows: dict[str, list[Seconds]] = {name: [] for name in forms}
        for _ in range(repeats):
            for name, form in forms.items():
                rows[name].append(timed(form if passes == "forward" else lambda form=form: form().sum().backward()))
        ragged = median(rows["ragged"])
        for name in forms:
            mine = median(rows[name])
            print(
                f"  {passes:18} {name:20} {1e3 * mine.wall:7.1f} ms wall {1e3 * mine.cpu:7.1f} ms CPU"
                f"   {name} / ragged = {mine.wall / ragged.wall:.2f} wall {mine.cpu / ragged.cpu:.2f} CPU"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", choices=["tiny", "small", "base"], default="tiny")
    parser.add_argument("--image", default="256x416", help="HEIGHTxWIDTH of the network's input")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true", help="compute.memory_format=channels_last")
    parser.add_argument("--weight-gradients", choices=["torch", "avx2"], default="torch", help="of section compute")
    parser.add_argument("--linear", choices=["torch", "onednn"], default="torch", help="of section compute")
    parser.add_argument("--keep-freed-memory", action="store_true", help="compute.keep_freed_memory=true")
    options = parser.parse_args()
    height, width = (int(side) for side in options.image.split("x"))
    compute = ComputeSection(
        memory_format="channels_last" if options.channels_last else "contiguous",
        weight_gradients=options.weight_gradients,
        linear=options.linear,
        threads=options.threads,
        keep_freed_memory=options.keep_freed_memory or None,
    )
    backend = activate("cpu")
    notes = backend.prepare_host(compute)
    config = load_config(CONFIGS / f"{options.config}.yaml").model
    assert isinstance(config, BevFormerConfig)
    frame = Frame(config, height, width)
    for note in [*notes, *backend.prepare_model(frame.model, compute)]:
        print(f"note: {note}")
    print(
        f"BEVFormer {options.config} {options.image}, one frame with history, float32, {options.threads} threads, "
        f"torch {torch.__version__}"
    )
    whole_model(frame, options.repeats, reduced=(options.config, options.image) == ("tiny", "256x416"))
    cross_attention(frame, options.repeats)


if __name__ == "__main__":
    main()
