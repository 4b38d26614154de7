"""Reference kernels of portbev.ops beside a named peer, in one process, by turns.

Each line gives the median time of ours and of the peer, and the median of the ratios of neighbouring pairs of runs
(below 1: ours is faster). Runs alternate, so that a busy machine slows both. Sizes are BEVDepth's: 256x704 images,
six cameras, 112 depth bins, 80 channels, 128x128 cells.

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

from portbev.ops import deform_conv2d, dropout, fft, voxel_pool, voxel_pool_lift

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


GROUPS = {"deform": deformable, "voxel": pooling, "fft": transforms, "dropout": dropouts}


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
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {arguments.repeat}")
    print(f"{'portbev.ops':<26}{'ms':>10} {'peer':<24}{'ms':>10}{'ratio':>9}")
    for name in [arguments.only] if arguments.only else GROUPS:
        for pair in GROUPS[name]():
            print(measure(pair, arguments.repeat), flush=True)


if __name__ == "__main__":
    main()
