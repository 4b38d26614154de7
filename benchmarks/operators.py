"""portbev.ops, by the kernels of the cpu backend, beside a named peer, in one process, by turns.

Each line gives the median time of ours and of the peer, and the median of the ratios of neighbouring pairs of runs
(below 1: ours is faster). Runs alternate, so that a busy machine slows both. Sizes are BEVDepth's: 256x704 images,
six cameras, 112 depth bins, 80 channels, 128x128 cells; attention has those of BEVFormer tiny and EchoFusion.

    python benchmarks/operators.py                 # all, on the threads torch takes
    python benchmarks/operators.py --only voxel --repeat 9 --threads 1
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from portbev.ops import (
    deform_attn,
    deform_attn_ragged,
    deform_conv2d,
    dropout,
    fft,
    ms_deform_attn,
    ms_deform_attn_ragged,
    voxel_pool,
    voxel_pool_lift,
)
from portbev.runtime import activate

Run = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """Two ways to compute the same, or what comes closest."""

    name: str
    peer_name: str
    ours: Run
    peer: Run
    recorded: float | None = None  # seconds, of mmcv's operator (see MMCV)


MMCV = {"forward": 0.351, "forward+backward": 4.765}
"""mmcv 2's CPU ``modulated_deform_conv2d``, (2,256,32,88) -> 256 channels, 3x3, 2 threads of a quiet machine. Recorded
once on another machine: the ratio to it is an indication, not a measurement."""


def trained(run: Callable[..., Tensor], *tensors: Tensor) -> Run:
    """Forward and backward of ``run`` with gradients of all tensors."""
    inputs = [t.clone().requires_grad_() for t in tensors]
    seed = torch.ones_like(run(*inputs))
    return lambda: torch.autograd.grad(run(*inputs), inputs, seed)


def deformable() -> Iterator[Pair]:
    """Against plain convolution of that shape: what the freedom of the taps costs."""
    x, w, b = torch.randn(2, 256, 32, 88), torch.randn(256, 256, 3, 3) / 48, torch.zeros(256)
    offset, mask = torch.randn(2, 18, 32, 88), torch.rand(2, 9, 32, 88)

    def ours(x: Tensor, w: Tensor, b: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(x, offset, w, b, mask, padding=1)

    def peer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return functional.conv2d(x, w, b, padding=1)

    five, three = (x, w, b, offset, mask), (x, w, b)
    yield Pair("deform_conv2d v2 forward", "conv2d", lambda: ours(*five), lambda: peer(*three), MMCV["forward"])
    yield Pair(
        "deform_conv2d v2 train", "conv2d", trained(ours, *five), trained(peer, *three), MMCV["forward+backward"]
    )


Shapes = list[tuple[int, int]]


def grid_samples(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention as libraries write it in plain torch: grid_sample by level, stacked, weighted, summed."""
    B, Q, M, L, P, _ = locations.shape
    D, levels = value.shape[3], value.split([h * w for h, w in shapes], 1)
    grids, seen = 2 * locations - 1, []
    for level, (maps, (h, w)) in enumerate(zip(levels, shapes, strict=True)):
        image = maps.flatten(2).transpose(1, 2).reshape(B * M, D, h, w)
        grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
        seen.append(functional.grid_sample(image, grid, padding_mode="zeros", align_corners=False))
    share = weights.transpose(1, 2).reshape(B * M, 1, Q, L * P)
    return (torch.stack(seen, -2).flatten(-2) * share).sum(-1).view(B, M * D, Q).transpose(1, 2)


def attention_inputs(images: int, shapes: Shapes, queries: int, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Eight heads of 32 channels; queries in rows over the map, points a few pixels around them."""
    rng = torch.Generator().manual_seed(0)
    side = round(queries**0.5 + 0.5)
    places = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="xy"), -1)
    centres = ((places.reshape(-1, 2)[:queries] + 0.5) / side)[:, None, None, None]
    samples = (images, queries, 8, len(shapes), points)
    sizes = torch.tensor([(w, h) for h, w in shapes])[:, None]
    locations = centres + 3 * torch.randn(*samples, 2, generator=rng) / sizes
    weights = torch.randn(*samples[:3], len(shapes) * points, generator=rng).softmax(-1).view(samples)
    return torch.randn(images, sum(h * w for h, w in shapes), 8, 32, generator=rng), locations, weights


VISIBLE = [398, 481, 478, 617, 449, 462]
"""Cells of a 50x50 grid that each of six cameras around a car sees, 1600x900 pixels, four heights a cell."""


def attention() -> Iterator[Pair]:
    """Against grid_sample in plain torch, and the ragged form against lists padded to the longest."""
    sizes: dict[str, tuple[int, Shapes, int, int]] = {
        "TSA 50x50": (2, [(50, 50)], 2500, 4),
        "decoder 900": (1, [(50, 50)], 900, 4),
        "EchoFusion": (1, [(128, 256), (64, 128), (32, 64)], 43_008, 4),
    }
    for name, size in sizes.items():
        value, locations, weights = attention_inputs(*size)

        def ours(v: Tensor, x: Tensor, w: Tensor, shapes: Shapes = size[1]) -> Tensor:
            return ms_deform_attn(v, shapes, x, w)

        def peer(v: Tensor, x: Tensor, w: Tensor, shapes: Shapes = size[1]) -> Tensor:
            return grid_samples(v, shapes, x, w)

        yield from both(f"msda {name}", "grid_sample", ours, peer, (value, locations, weights))

    shapes = [(15, 25)]
    value, locations, weights = attention_inputs(len(VISIBLE), shapes, max(VISIBLE), 8)
    seen = torch.cat([torch.arange(n) + max(VISIBLE) * i for i, n in enumerate(VISIBLE)])

    def ragged(v: Tensor, x: Tensor, w: Tensor) -> Tensor:
        return ms_deform_attn_ragged(v, shapes, x, w, VISIBLE)

    def padded(v: Tensor, x: Tensor, w: Tensor) -> Tensor:
        return ms_deform_attn(v, shapes, x.unflatten(0, (len(VISIBLE), -1)), w.unflatten(0, (len(VISIBLE), -1)))

    many = (value, locations.flatten(0, 1), weights.flatten(0, 1))
    few = (value, many[1][seen], many[2][seen])
    print(f"# SCA 50x50: {sum(VISIBLE)} pairs of a camera and a cell that it sees, {len(many[1])} when padded")
    yield Pair("msda SCA ragged forward", "msda padded", lambda: ragged(*few), lambda: padded(*many))
    yield Pair("msda SCA ragged train", "msda padded", trained(ragged, *few), trained(padded, *many))


def fused() -> Iterator[Pair]:
    """Against softmax and locations in plain torch, differentiated by autograd, before ``ms_deform_attn``."""
    maps: dict[str, tuple[Shapes, int]] = {
        "decoder 900": ([(50, 50)], 900),
        "EchoFusion": ([(128, 256), (64, 128), (32, 64)], 43_008),
    }
    for name, (shapes, queries) in maps.items():
        value, places, logits = attention_inputs(1, shapes, queries, 4)
        steps, reference = 3 * torch.randn_like(places), places[:, :, :1, :1, :1].mean((2, 3, 4))

        def ours(v: Tensor, o: Tensor, x: Tensor, r: Tensor = reference, shapes: Shapes = shapes) -> Tensor:
            return deform_attn(v, shapes, o, x, r[:, :, None, None])

        def peer(v: Tensor, o: Tensor, x: Tensor, r: Tensor = reference, shapes: Shapes = shapes) -> Tensor:
            weights = x.flatten(-2).softmax(-1).view(x.shape)
            return ms_deform_attn(v, shapes, r[:, :, None, None, None] + o / pixels(shapes), weights)

        yield from both(f"fused {name}", "layer and msda", ours, peer, (value, steps, logits))

    shapes, cells = [(15, 25)], 2500
    value, _, _ = attention_inputs(len(VISIBLE), shapes, 1, 8)
    _, places, logits = (t[0] for t in attention_inputs(1, shapes, cells, 8))
    query = torch.cat([torch.arange(n) * 4 + i for i, n in enumerate(VISIBLE)])
    steps, anchors = 3 * torch.randn_like(places), torch.rand(len(query), 4, 2)

    def pairs(v: Tensor, o: Tensor, x: Tensor) -> Tensor:
        return deform_attn_ragged(v, shapes, o, x, anchors[:, None], query, VISIBLE)

    def copied(v: Tensor, o: Tensor, x: Tensor) -> Tensor:
        weights = x.flatten(-2).softmax(-1).view(x.shape).index_select(0, query)
        locations = anchors.repeat(1, 2, 1)[:, None, None] + o.index_select(0, query) / pixels(shapes)
        return ms_deform_attn_ragged(v, shapes, locations, weights, VISIBLE)

    yield from both("fused SCA ragged", "layer and msda", pairs, copied, (value, steps, logits))


def pixels(shapes: Shapes) -> Tensor:
    """(L, 1, 2) width and height."""
    return torch.tensor([(float(w), float(h)) for h, w in shapes])[:, None]


def both(
    name: str, peer_name: str, ours: Callable[..., Tensor], peer: Callable[..., Tensor], tensors: tuple[Tensor, ...]
) -> Iterator[Pair]:
    """Forward alone, and forward with backward, after a look that both compute the same."""
    torch.testing.assert_close(ours(*tensors), peer(*tensors), rtol=1e-5, atol=1e-4)
    yield Pair(f"{name} forward", peer_name, lambda: ours(*tensors), lambda: peer(*tensors))
    yield Pair(f"{name} train", peer_name, trained(ours, *tensors), trained(peer, *tensors))


def pooling() -> Iterator[Pair]:
    """Against the features of all points at once, added by ``index_add_``."""
    shape, channels, size = (1, 6, 112, 16, 44), 80, (128, 128, 1)
    rng = torch.Generator().manual_seed(0)
    depth = torch.rand(shape, generator=rng).softmax(2)
    context = torch.randn(1, 6, channels, 16, 44, generator=rng)
    voxels = torch.randint(-16, 144, (*shape, 3), generator=rng, dtype=torch.int32)  # about two thirds inside
    voxels[..., 2] = 0
    flat = voxels.reshape(1, -1, 3)

    def add(rows: Tensor) -> Tensor:
        ix, iy = flat[0, :, 0].long(), flat[0, :, 1].long()
        inside = (ix >= 0) & (ix < size[0]) & (iy >= 0) & (iy < size[1])
        out = rows.new_zeros(size[0] * size[1], channels)
        return out.index_add_(0, (iy * size[0] + ix)[inside], rows[inside])

    def materialised(depth: Tensor, context: Tensor) -> Tensor:
        points = depth[..., None] * context.permute(0, 1, 3, 4, 2)[:, :, None]
        return add(points.reshape(-1, channels))

    def lift(depth: Tensor, context: Tensor) -> Tensor:
        return voxel_pool_lift(depth, context, voxels, size)

    def pool(features: Tensor) -> Tensor:
        return voxel_pool(features, flat, size)

    features = torch.randn(1, flat.shape[1], channels, generator=rng)
    name = "materialised index_add_"
    torch.testing.assert_close(lift(depth, context).reshape(-1, channels), materialised(depth, context))
    yield Pair("voxel_pool_lift forward", name, lambda: lift(depth, context), lambda: materialised(depth, context))
    yield Pair("voxel_pool_lift train", name, trained(lift, depth, context), trained(materialised, depth, context))
    yield Pair("voxel_pool forward", "index_add_", lambda: pool(features), lambda: add(features[0]))
    yield Pair("voxel_pool train", "index_add_", trained(pool, features), trained(lambda f: add(f[0]), features))


def transforms() -> Iterator[Pair]:
    """Against the function that the reference calls: the cost of the operator around it."""
    small, large = (torch.randn(n, 512, dtype=torch.complex64) for n in (16, 8192))
    yield Pair("fft (16, 512)", "torch.fft.fft", lambda: fft(small), lambda: torch.fft.fft(small))
    yield Pair("fft (8192, 512)", "torch.fft.fft", lambda: fft(large), lambda: torch.fft.fft(large))


def dropouts() -> Iterator[Pair]:
    """Against a mask that is drawn from the global generator and kept for the backward."""
    x = torch.randn(6, 256, 16, 44)

    def ours(x: Tensor) -> Tensor:
        return dropout(x, 0.5, training=True, seed=1, site=2, step=3)

    def peer(x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)

    yield Pair("dropout forward", "functional.dropout", lambda: ours(x), lambda: peer(x))
    yield Pair("dropout train", "functional.dropout", trained(ours, x), trained(peer, x))


GROUPS = {
    "deform": deformable,
    "attention": attention,
    "fused": fused,
    "voxel": pooling,
    "fft": transforms,
    "dropout": dropouts,
}


def seconds(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def measure(pair: Pair, repeat: int) -> str:
    """One row of the table."""
    for run in (pair.ours, pair.peer):
        run()
    times = [(seconds(pair.ours), seconds(pair.peer)) for _ in range(repeat)]
    ours, peer = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    row = f"{pair.name:<26}{ours * 1e3:>10.2f} {pair.peer_name:<24}{peer * 1e3:>10.2f}{ratio:>9.2f}"
    return row if pair.recorded is None else f"{row}   {ours / pair.recorded:.2f} of mmcv's recorded {pair.recorded} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=GROUPS)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    activate("cpu")
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {arguments.repeat}")
    print(f"{'portbev.ops':<26}{'ms':>10} {'peer':<24}{'ms':>10}{'ratio':>9}")
    for name in [arguments.only] if arguments.only else GROUPS:
        for pair in GROUPS[name]():
            print(measure(pair, arguments.repeat), flush=True)


if __name__ == "__main__":
    main()
