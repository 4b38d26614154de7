"""``portbev export``: a trained model as a file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from portbev.cli.options import DATA_ROOT

if TYPE_CHECKING:
    from portbev.export.manifest import Manifest


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    example = "Example: portbev export runs/mine --to onnx --out mine.onnx"
    app.command(name, help=help, epilog=example)(export)


def export(
    run: Path = typer.Argument(..., metavar="RUN", help="The run directory."),  # noqa: B008
    to: str = typer.Option(..., "--to", metavar="FORMAT", help="pt2 (torch.export), onnx, or aoti (compiled)."),
    out: Path | None = typer.Option(  # noqa: B008
        None, "--out", help="The file, or with --layout the folder; default: in the run's folder export."
    ),
    layout: str | None = typer.Option(None, "--layout", help="triton: a Triton Inference Server model repository."),
    checkpoint: str = typer.Option("latest", "--checkpoint", help="latest, best, or a step."),
    batch: int = typer.Option(1, "--batch", help="Samples that the graph takes at once."),
    samples: int = typer.Option(10, "--samples", help="Samples of the check against the trained model."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    split: str | None = typer.Option(None, "--split", help="Split whose samples the check takes."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
) -> None:
    """Write a trained model as a graph of tensors, checked against the run on real samples."""
    from portbev import terminal
    from portbev.export.run import export_run
    from portbev.export.triton import export_repository

    options: dict[str, Any] = {"checkpoint": checkpoint, "batch": batch, "samples": samples}
    options |= {"data_root": data_root, "split": split, "overrides": set_, "say": terminal.tell}
    if layout is None:
        path, manifest = export_run(run, to, out, **options)
    else:
        path, manifest = export_repository(run, to, out, layout=layout, **options)
    for line in summary(path, manifest):
        terminal.tell(line)


def summary(path: Path, manifest: Manifest) -> list[str]:
    """What was written, and how far it is from the trained model."""
    parity = manifest.parity
    worst = max(parity.outputs, key=lambda output: output.max_rel)
    boxes = parity.boxes
    form = manifest.format if manifest.opset is None else f"{manifest.format}, opset {manifest.opset}"
    lines = [
        f"written: {path} ({form}, {path.stat().st_size / 2**20:.1f} MiB) and {path.name}.json",
        f"inputs: {', '.join(one.name for one in manifest.inputs)}",
        f"results: {', '.join(one.name for one in manifest.outputs[:8])}"
        + (f" and {len(manifest.outputs) - 8} more" if len(manifest.outputs) > 8 else ""),
    ]
    if manifest.state:
        pairs = ", ".join(f"{given} is the next frame's {taken}" for given, taken in manifest.state.items())
        lines.append(f"state: {pairs}")
    lines += [
        f"not in the graph: {manifest.postprocessing}",
        f"checked on {parity.samples} samples: {worst.name} is off most, by {worst.max_abs:.2g} of {worst.scale:.3g} "
        f"({worst.max_rel:.1e}; {worst.tolerance:g} is held)",
        f"boxes: {boxes.boxes}, centres within {boxes.max_center:.2g} m, sizes {boxes.max_size:.1e}, "
        f"yaw {boxes.max_yaw:.1e} rad, scores {boxes.max_score:.1e} "
        f"({boxes.tolerance_center:g} m and {boxes.tolerance_score:g} are held)",
    ]
    return lines + [f"note: {note}" for note in manifest.notes]
