"""Who serves each operator call of the official configurations on an Ascend npu with mx_driving.

    python benchmarks/npu_providers.py [--config bevformer/base ...]
        [--into docs/npu-providers.md]                   # replaces the table between the marks in that file
    python benchmarks/npu_providers.py --compute --config bevformer/base  # the calls, with drawn numbers
    python benchmarks/npu_providers.py --runs RUN ...    # against the ledgers of runs on the emulated npu

Each model of configs/ is built at its full size and takes a training step, forward and backward, on the device "meta":
every call of a portable operator is written down with its shapes, and nothing is computed. Then the kernels that the
emulated npu ranks, under the configuration's own ``compute.deterministic``, are asked in their order whether they
support the call. With ``--runs`` the providers that served in real steps, and the reasons for which others were passed
over, are held against that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from portbev.config import RunConfig, load_config
from portbev.data.pictures.pixels import padded_size, scaled_size
from portbev.kernels import KERNELS, REFERENCE
from portbev.nn.dropout import prepare_dropout
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.operator import OPERATORS
from portbev.ops.tracing import CallTrace, TracedCall
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.plugins import plugins
from portbev.runs import load_run
from portbev.runtime import activate
from portbev.signal import RadarChain
from portbev_radial.recordings.description import RADIAL_RADAR
from portbev_radial.synth.antenna import build_antenna, calibration_table

CONFIGS = Path(__file__).parents[1] / "configs"
MARKS = "<!-- served: begin -->", "<!-- served: end -->"
NUSCENES, RADIAL = (900, 1600), (1080, 1920)  # height and width of the data sets' pictures
NOBODY = "no kernel"
DIRECTIONS = ("forward: ", "backward: ")


def official() -> list[str]:
    """The configurations at full size."""
    names = (f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml"))
    return sorted(name for name in names if not name.endswith(("/_base", "/laptop", "/tiny_test")))


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def common(count: int) -> dict[str, Any]:
    """The fields that every batch has."""
    boxes, labels = [np.zeros((1, 9), np.float32)] * count, [np.zeros(1, np.int64)] * count
    tokens = [str(index) for index in range(count)]
    return {"boxes": boxes, "labels": labels, "tokens": tokens, "frame2global": np.stack([np.eye(4)] * count)}


def sweeps(config: Any) -> dict[str, Any]:
    """BEVDepth's batch; matrices do not change a shape."""
    count, frames, cameras = config.train.batch_size, config.model.key_frames, 6
    eye = torch.eye(4).expand(count, frames, cameras, 4, 4).clone()
    mats = dict.fromkeys(("sensor2ego", "intrin", "ida", "sensor2sensor"), eye) | {"bda": eye[:, 0, 0]}
    images = empty(count, frames, cameras, 3, *config.model.final_size)
    return {**common(count), "images": images, "mats": mats, "depth": None}


def around_the_car(height: int, width: int) -> np.ndarray[Any, Any]:
    """(6,4,4) projections of six level cameras that look around."""
    matrices = np.zeros((6, 4, 4))
    for camera, yaw in enumerate(np.deg2rad([0, -55, 55, 180, 110, -110])):
        forward, right = [-np.sin(yaw), np.cos(yaw), 0.0], [np.cos(yaw), np.sin(yaw), 0.0]
        pose = np.eye(4)
        pose[:3, :3] = np.stack([right, [0.0, 0.0, -1.0], forward])
        intrinsic = np.diag([0.8 * width, 0.8 * width, 1.0, 1.0])
        intrinsic[:2, 2] = width / 2, height / 2
        matrices[camera] = intrinsic @ pose
    return matrices


def queue(config: Any) -> dict[str, Any]:
    """BEVFormer's batch: the queue's frames, of one scene."""
    count, frames, data = config.train.batch_size, config.data.queue_length, config.data
    size = scaled_size(NUSCENES, data.scale)
    height, width = padded_size(size, data.pad_divisor)
    lidar2img = np.broadcast_to(around_the_car(*size), (count, frames, 6, 4, 4))
    continues = np.ones((count, frames), bool)
    continues[:, 0] = False
    return {
        **common(count),
        "images": empty(count, frames, 6, 3, height, width),
        "lidar2img": lidar2img,
        "can_bus": np.zeros((count, frames, 18)),
        "continues": continues,
        "previous": [""] * count,
        "image_size": size,
    }


def radial(config: Any) -> dict[str, Any]:
    """EchoFusion's batch with the chips' samples; a cloud's points are found on the host."""
    count, data = config.train.batch_size, config.data
    size = scaled_size(RADIAL, data.scale)
    radar: Any = empty(count, RADIAL_RADAR.chips, RADIAL_RADAR.values_per_chip, dtype=torch.int16)
    kind = "raw"
    if data.radar == "pc":
        RadarChain(RADIAL_RADAR, dtype=torch.complex64, device="meta").products(radar, ["RD"])
        radar, kind = [torch.rand(300, 4)] * count, "pc"
    camera = np.array([[1000.0, 0, 960], [0, 1000, 540], [0, 0, 1]])
    turned = np.array([np.pi / 2, 0.0, 0.0])  # a world with Z up to a camera with y down
    one = {"K": camera, "dist": np.zeros(5), "rvec": turned, "tvec": np.array([0.0, 1.5, 0.0])}
    return {
        **common(count),
        "images": empty(count, 3, *padded_size(size, data.pad_divisor)) if data.camera else None,
        "image_size": size,
        "radar": radar,
        "radar_kind": kind,
        "radar_product": data.radar,
        "calibration": {name: np.stack([value] * count) for name, value in one.items()} if data.camera else {},
        "table": "",
        "description": RADIAL_RADAR,
    }


BATCHES: dict[str, Callable[[Any], dict[str, Any]]] = {"bevdepth": sweeps, "bevformer": queue, "echofusion": radial}


def tensors(value: Any) -> Iterable[Tensor]:
    """The tensors in a model's outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from tensors(part)


def trace(config: RunConfig) -> list[TracedCall]:
    """The calls of one training step at the configuration's sizes."""
    family = config.model.family
    model = plugins().models()[family].build(config.model).train()
    prepare_dropout(model, seed=0)
    model.to("meta")
    with tempfile.TemporaryDirectory() as folder, CallTrace() as traced:
        batch = BATCHES[family](config)
        if getattr(config.data, "radar", "") == "ra":
            batch["table"] = str(Path(folder) / "table.npy")
            table: Any = calibration_table(build_antenna(0), config.model.radar.azimuths, 11)  # type: ignore[attr-defined]
            np.save(batch["table"], table)
        outputs = model(batch)
        torch.stack([x.float().sum() for x in tensors(outputs) if x.requires_grad]).sum().backward()
    return [under_autocast(call) for call in traced.calls] if config.compute.amp != "none" else traced.calls


def under_autocast(traced: TracedCall) -> TracedCall:
    """As autocast hands it to kernels: deformable convolution in half precision, everything else in float32."""
    if traced.operator != "deform_conv2d":
        return traced
    half = {k: v.half() for k, v in traced.call._asdict().items() if isinstance(v, Tensor) and v.is_floating_point()}
    grad = None if traced.grad_out is None else traced.grad_out.half()
    return TracedCall(traced.operator, traced.call._replace(**half), grad)


@dataclass
class Row:
    """Calls with the same operator and shapes in the models of a family.

    Attributes:
        served: direction -> who serves it.
        passed: direction (``always``: at activation), who was asked before, and the reason.
        configs: the configurations that make such calls.
    """

    family: str
    operator: str
    shapes: str
    served: dict[str, str] = field(default_factory=dict)
    passed: list[tuple[str, str, str]] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)


def by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def shapes(call: Any) -> str:
    """What decides whether a kernel supports ``call``, for people."""
    kind = {torch.float16: ", float16"}.get(call[0].dtype, "")
    if isinstance(call, DeformConv2dCall):
        more = f", groups {call.groups}" if call.groups > 1 else ""
        mask = "" if call.mask is None else ", mask"
        steps = f"stride {call.stride[0]}, padding {call.padding[0]}, dilation {call.dilation[0]}"
        return f"input {by(call.input.shape)}, weight {by(call.weight.shape)}, {steps}{more}{mask}{kind}"
    if isinstance(call, MsDeformAttnCall):
        levels = ", ".join(f"{level.height}x{level.width}" for level in call.levels())
        images, _, heads, width = call.value.shape
        counts = set(call.queries())
        queries = f"{counts.pop():,} queries each" if len(counts) == 1 else "the queries that each sees"
        return f"{images} x maps {levels}; {heads} heads of {width}; {queries}, {call.weights.shape[3]} points{kind}"
    if isinstance(call, VoxelPoolCall):
        batch, points, channels = call.features.shape
        return f"features {batch}x{points}x{channels}, grid {by(call.size)}"
    if isinstance(call, VoxelPoolLiftCall):
        return f"depth {by(call.depth.shape)}, context {by(call.context.shape)}, grid {by(call.size)}"
    lines, length = call.input.numel() // call.input.shape[-1], call.input.shape[-1]
    return f"{lines:,} transforms of length {length}, {str(call.input.dtype).removeprefix('torch.')}"


def choose(traced: TracedCall) -> tuple[str, list[tuple[str, str, str]]]:
    """Who serves a call on the active npu, and who was asked before with the reason."""
    passed = []
    for kernel in KERNELS.candidates(traced.operator, "npu"):
        reason = kernel.refusal(traced.call, traced.grad_out)
        if reason is None:
            return kernel.provider, passed
        passed.append((traced.direction, kernel.provider, reason))
    return NOBODY, passed


def traced_on_the_npu(config: RunConfig) -> list[TracedCall]:
    """:func:`trace` without dropout, after which the npu's kernels are ranked as in a run of this configuration."""
    activate("npu", emulate=True, deterministic=config.compute.deterministic)
    return [sampled(traced) for traced in trace(config) if traced.operator != "dropout"]


def sampled(traced: TracedCall) -> TracedCall:
    """A call of ``deform_attn`` as the one of ``ms_deform_attn`` that is made of it where no vendor has a kernel."""
    if traced.operator != "deform_attn" or choose(traced)[0] not in (REFERENCE, "emulated"):
        return traced
    return TracedCall("ms_deform_attn", traced.call.sampling(), traced.grad_out)


def rows(names: Sequence[str]) -> list[Row]:
    """The operators' calls of the configurations, with who serves them."""
    found: dict[tuple[str, ...], Row] = {}
    seen: dict[str, list[TracedCall]] = {}
    for name in names:
        config = load_config(str(CONFIGS / f"{name}.yaml"))
        family, size = config.model.family, getattr(config.data, "scale", None)
        key = repr((config.model, size, config.train.batch_size, config.compute))
        if key not in seen:  # configurations that differ in their schedule alone
            seen[key] = traced_on_the_npu(config)
        for traced in seen[key]:
            said = shapes(traced.call)
            row = found.setdefault((family, traced.operator, said), Row(family, traced.operator, said))
            provider, passed = choose(traced)
            if row.served.setdefault(traced.direction, provider) != provider:
                raise AssertionError(f"{name}: {traced.operator} {said} is served by two providers")
            excluded = [("always", *entry) for entry in KERNELS.ranked()[traced.operator].excluded.items()]
            row.passed += [entry for entry in excluded + passed if entry not in row.passed]
            row.configs += [name] if name not in row.configs else []
    return [row for _, row in sorted(found.items())]


def table(found: Sequence[Row], names: Sequence[str]) -> str:
    """Markdown."""
    lines = ["| model | operator | shapes | forward | backward | passed over | configurations |", "|" + "---|" * 7]
    for row in found:
        family = [name for name in names if name.startswith(f"{row.family}/")]
        where = "all" if row.configs == family else ", ".join(name.split("/")[1] for name in row.configs)
        passed = "; ".join(f"{provider} ({direction}): {reason}" for direction, provider, reason in row.passed)
        served = [row.served.get(direction, "not called") for direction in ("forward", "backward")]
        lines.append(
            "| " + " | ".join([row.family, row.operator, row.shapes, *served, passed or "nobody", where]) + " |"
        )
    return "\n".join(lines) + "\n"


def replaced(text: str, table: str) -> str:
    """A document with ``table`` between the marks."""
    head, tail = text.split(MARKS[0], maxsplit=1)[0], text.split(MARKS[1])[1]
    return f"{head}{MARKS[0]}\n{table}{MARKS[1]}{tail}"


def against(path: Path) -> list[str]:
    """How the ledger of a run on the emulated npu differs from what is expected of its configuration.

    Backwards are of training alone, so their numbers must be equal; forwards are of the evaluation too.
    """
    run = load_run(path)
    steps, expected, reasons = run.record.progress.step, Counter[tuple[str, str, str]](), set()
    for traced in traced_on_the_npu(run.config):
        provider, passed = choose(traced)
        expected[traced.operator, traced.direction, provider] += steps
        reasons |= {(traced.operator, who, f"{direction}: {reason}") for direction, who, reason in passed}
    said, told = [], Counter[tuple[str, str, str]]()
    for operator, page in run.record.kernels.items():
        if operator in ("dropout", "deform_attn"):
            continue
        for direction in ("forward", "backward"):
            told.update({(operator, direction, who): times for who, times in getattr(page, direction).items()})
        asked = {(operator, p.provider, p.reason) for p in page.passed_over if p.reason.startswith(DIRECTIONS)}
        said += [f"passed over: {reason}" for reason in sorted(asked ^ {r for r in reasons if r[0] == operator})]
    for key in sorted(told.keys() | expected.keys()):
        enough = told[key] == expected[key] if key[1] == "backward" else told[key] >= expected[key] > 0
        if not enough:
            said.append(f"{' '.join(key)}: {told[key]} calls, {expected[key]} expected")
    served = ", ".join(f"{o} {d} {w} {n}" for (o, d, w), n in sorted(told.items()))
    print(f"{run.record.name}: {steps} step(s), amp {run.record.amp}, {run.record.deterministic}; {served}")
    return said


def computed(name: str) -> None:
    """Compute every kind of call of a configuration on the emulated npu with drawn tensors of its shapes, and print who
    served it; for models whose whole step needs more memory than there is."""
    found = {}
    for traced in traced_on_the_npu(load_config(str(CONFIGS / f"{name}.yaml"))):
        found.setdefault((traced.operator, traced.direction, shapes(traced.call)), traced)
    for (operator, direction, said), traced in found.items():
        KERNELS.ledger.clear()
        gradient: Any = OPERATORS[operator].gradient
        call = drawn(traced.call, () if traced.grad_out is None else gradient.left_out)
        grad = None if traced.grad_out is None else torch.rand(traced.grad_out.shape).to("npu")
        if grad is not None and isinstance(call, MsDeformAttnCall):
            grad = grad.reshape(len(call.locations), -1)
        KERNELS.dispatch(operator, "npu", call, grad)
        providers = ", ".join(provider for _, _, provider in KERNELS.ledger.served)
        print(f"{operator} {direction}: {said}: {providers}", flush=True)


def drawn(call: Any, left_out: Iterable[str]) -> Any:
    """The call with numbers from 0 to 1, or zeros where they are whole, in place of tensors on "meta"."""
    fields = {name: value for name, value in call._asdict().items() if name not in left_out}
    traced = {k: v for k, v in fields.items() if isinstance(v, Tensor) and v.device.type == "meta"}
    return call._replace(**{name: torch.rand(v.shape).to(v.dtype).to("npu") for name, v in traced.items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", action="append", choices=official(), help="this one only; repeatable")
    parser.add_argument("--into", type=Path, help="a document with the marks, to write the table into")
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="run directories of the emulated npu")
    parser.add_argument("--compute", action="store_true", help="compute each call once on the emulated npu (minutes)")
    options = parser.parse_args()
    if options.runs:
        differences = [f"{path}: {line}" for path in options.runs for line in against(path)]
        print("\n".join(differences or ["as expected"]))
        return bool(differences)
    names = options.config or official()
    if options.compute:
        for name in names:
            computed(name)
        return 0
    made = table(rows(names), names)
    if options.into is None:
        print(made, end="")
    else:
        options.into.write_text(replaced(options.into.read_text(encoding="utf-8"), made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
