"""Run by torchrun: one step of every shipped configuration, scaled down; and steps in which one process has nothing.

    every_configuration.py NUSCENES_ROOT RADIAL_ROOT OUT

It prints a line for each, as ``configuration: step done``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from portbev import comm as comms
from portbev.comm import Comm
from portbev.config import RunConfig, load_config
from portbev.data.loader import build_loader
from portbev.models import Batch
from portbev.nn.resnet import ResNet
from portbev.nn.sync_batchnorm import SyncBatchNorm
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev.train.setup import assemble
from portbev.train.step import OptimizerStep

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {
    "bevdepth": [
        "model.final_size=[64,96]",
        "model.x_bound=[-51.2,51.2,3.2]",
        "model.y_bound=[-51.2,51.2,3.2]",
        "model.d_bound=[2,58,8]",
        "model.context_channels=4",
        "model.image_backbone.base_channels=4",
        "model.image_neck.out_channels=[4,4,4,4]",
        "model.depth_net.mid_channels=8",
        "model.head.trunk_channels=4",
        "model.head.neck_channels=[4,4,4,4]",
        "model.head.shared_channels=4",
        "model.head.branch_channels=4",
        "data.image.final_size=[64,96]",
        "data.image.source_size=[112,200]",
        "data.image.resize=[0.6,0.7]",
    ],
    "bevformer": [
        "model.bev_size=[6,8]",
        "model.channels=16",
        "model.heads=4",
        "model.hidden=16",
        "model.image_backbone.base_channels=4",
        "model.encoder.layers=1",
        "model.decoder.layers=2",
        "model.decoder.queries=10",
        "model.decode.max_detections=10",
        "data.scale=0.5",
    ],
    "echofusion": [
        "model.radar.samples=64",
        "model.radar.chirps=32",
        "model.radar.azimuths=31",
        "model.radar.embedded=8",
        "model.radar.points.azimuths=16",
        "model.radar_backbone.base_channels=4",
        "model.image_backbone.base_channels=4",
        "model.polar.azimuths=16",
        "model.polar.heights=2",
        "model.channels=16",
        "model.heads=4",
        "model.hidden=16",
        "model.image_neck.hidden=16",
        "model.image_neck.column_layers=1",
        "model.image_neck.row_layers=1",
        "model.encoder.layers=1",
        "model.decoder.layers=2",
        "model.decoder.queries=10",
    ],
}
COMMON = ["train.batch_size=1", "train.accumulate=1", "data.workers=0", "compute.threads=1"]
Edit = Callable[[Batch], None]


def names() -> list[str]:
    """The shipped configurations."""
    return sorted(f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.stem != "_base")


def small(name: str, *changes: str) -> RunConfig:
    """A shipped configuration with its structure and few channels, pixels and cells."""
    family = name.split("/", maxsplit=1)[0]
    splits = ["data.train_split=train", "data.eval_split=val"]
    if family != "echofusion":
        splits = ["data.version=v1.0-mini", "data.train_split=synth_train", "data.eval_split=synth_val"]
    return load_config(str(CONFIGS / f"{name}.yaml"), [*SMALL[family], *COMMON, *splits, *changes])


def weights_for(config: RunConfig, folder: Path) -> list[str]:
    """A file of weights for a backbone with frozen layers, as an override; made by each process for itself."""
    section: Any = getattr(config.model, "image_backbone")  # noqa: B009
    path = folder / f"{abs(hash(repr(section)))}.pth"
    if path.exists():
        return [f"model.image_backbone.weights={path}"]
    model = plugins().models()[config.model.family].build(config.model)
    backbones = [m for name, m in model.named_modules() if isinstance(m, ResNet) and name.endswith("img_backbone")]
    if not backbones or not backbones[0].frozen:
        return []
    torch.save(backbones[0].state_dict(), path)
    return [f"model.image_backbone.weights={path}"]


def take_step(name: str, config: RunConfig, comm: Comm, root: str, out: Path, edit: Edit | None = None) -> Any:
    """One step on the first batch; returns the model."""
    assert not config.train.find_unused_parameters
    parts = assemble(
        config,
        backend=activate("cpu"),
        comm=comm,
        data_root=root,
        out=out / name,
        resume=False,
        init=None,
        init_partial=False,
        command=[],
        notes=[],
        say=lambda text: None,
    )
    loader = build_loader(
        parts.data.train, batch_size=1, workers=0, seed=0, epoch=0, part="train", rank=comm.rank, world_size=comm.size
    )
    batch = next(iter(loader))
    if edit is not None:
        edit(batch)
    gradients: dict[str, bool] = {}
    for key, weight in parts.model.named_parameters():
        if weight.requires_grad:
            gradients[key] = False
            weight.register_post_accumulate_grad_hook(lambda w, key=key: gradients.update({key: w.grad is not None}))  # type: ignore[misc]
    OptimizerStep(parts, lambda: False).take([batch], 0)
    without = [key for key, found in gradients.items() if not found]
    assert gradients and not without, f"{name}: no gradient in process {comm.rank}: {without}"
    total = float(sum(weight.detach().double().abs().sum() for weight in parts.model.parameters()))
    assert len(set(comm.gather(total))) == 1, f"{name}: the processes drifted apart"
    parts.close()
    if comm.is_main:
        print(f"{name}: step done", flush=True)
    return parts.model


def without_boxes(batch: Batch) -> None:
    batch["boxes"] = [np.zeros((0, 9), np.float32) for _ in batch["boxes"]]
    batch["labels"] = [np.zeros(0, np.int64) for _ in batch["labels"]]


def with_points(count: int) -> Edit:
    def edit(batch: Any) -> None:
        clouds = [np.random.default_rng(0).uniform(0.1, 0.5, (count, 4)) * [100, 10, 1, 1] for _ in batch["tokens"]]
        batch["radar"] = [torch.from_numpy(cloud.astype(np.float32)) for cloud in clouds]
        batch["radar_kind"] = "pc"

    return edit


def main(nuscenes: str, radial: str, out: Path) -> None:
    warnings.simplefilter("always")
    roots = {"bevdepth": nuscenes, "bevformer": nuscenes, "echofusion": radial}
    backend = activate("cpu")
    with comms.join(backend) as comm:
        own = out / f"rank{comm.rank}"
        own.mkdir(parents=True)
        for name in names():
            config = small(name)
            config = small(name, *weights_for(config, own))
            take_step(name, config, comm, roots[name.split("/")[0]], own)

        first = comm.rank == 0
        for family, root in roots.items():
            config = small(f"{family}/tiny_test")
            take_step(f"{family}/boxes in one process", config, comm, root, own, None if first else without_boxes)
        points = ["model.radar.input=pc", "data.radar=pc"]
        for counts in ((50, 0), (0, 0), (1, 0)):
            for sync in ("true", "false"):
                config = small("echofusion/tiny_test", *points, f"train.sync_batchnorm={sync}")
                name = f"echofusion/points {counts} {sync}"
                model = take_step(name, config, comm, radial, own, with_points(counts[comm.rank]))
                check_statistics(model, counts, comm, sync == "true")


def check_statistics(model: Any, counts: tuple[int, int], comm: Comm, sync: bool) -> None:
    """Batches without points leave the statistics as they were; synchronised ones are the same everywhere."""
    seen = sum(counts) > 0 if sync else counts[comm.rank] > 1
    assert (model.radar.pillars.norms[0].running_mean.abs().sum() > 0) == seen
    for norm in model.radar.pillars.norms:
        assert isinstance(norm, SyncBatchNorm) == sync
        values = [*norm.running_mean.tolist(), *norm.running_var.tolist(), float(norm.num_batches_tracked)]
        assert np.isfinite(values).all()
        assert int(norm.num_batches_tracked) == int(seen)
        assert not sync or comm.gather(values)[0] == values


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
