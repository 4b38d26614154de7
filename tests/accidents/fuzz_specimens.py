"""Everything that portbev reads, made small, and the commands that read it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Commands = Callable[[random.Random, Path], list[str]]
"""Chooses the words of a command for a damaged copy at the path given; it writes below ``out`` beside it."""


@dataclass(frozen=True)
class Specimen:
    """A file or folder, which of its files are damaged, and what reads it.

    Attributes:
        source: the whole file or folder; never written to.
        files: paths below ``source`` that may be damaged; empty for a file.
        real: copy it instead of linking to it, because the command writes into it.
    """

    name: str
    source: Path
    files: tuple[str, ...]
    commands: tuple[Commands, ...]
    real: bool = False


def prepare(base: Path) -> list[Specimen]:
    """Make all specimens below ``base`` with the command line, unless they are there."""
    if not (base / "stopped").is_dir():
        _make(base)
    return list(_specimens(base))


def _make(base: Path) -> None:
    nuscenes, radial, converted = base / "nuscenes", base / "radial", base / "converted"
    sizes = "--scenes 2 --val-scenes 1 --samples 2 --sweeps 0 --image-size 200x112 --lidar-beams 4 --lidar-steps 64"
    _run(base, "data", "synth", "nuscenes", nuscenes, *sizes.split(), "--workers", "1")
    sizes = "--sequences 3 --frames 2 --samples 64 --chirps 32 --azimuths 31 --image-size 192x108 --workers 1"
    _run(base, "data", "synth", "radial", radial, *sizes.split())
    _run(base, "data", "convert", "radial", radial, converted)
    _run(base, "train", "bevdepth/tiny_test", *_on(nuscenes), "--out", base / "run", "--set", "train.epochs=1")
    _run(base, "train", "echofusion/tiny_test", *_on(radial), "--out", base / "sweep", "--set", "train.max_steps=1")
    _files(base)


def place(specimen: Specimen, file: str, content: bytes, at: Path) -> None:
    """A copy of the specimen at ``at`` whose file ``file`` has other content."""
    if not specimen.files:
        at.write_bytes(content)
        return
    for folder, _, names in os.walk(specimen.source):
        target = at / os.path.relpath(folder, specimen.source)
        target.mkdir(parents=True)
        for name in names:
            source = Path(folder) / name
            if os.path.relpath(source, specimen.source) == file:
                (target / name).write_bytes(content)
            elif specimen.real:
                shutil.copy2(source, target / name)
            else:
                os.symlink(source, target / name)


def _specimens(base: Path) -> Iterator[Specimen]:
    nuscenes, radial, converted = base / "nuscenes", base / "radial", base / "converted"

    def check(kind: str) -> Commands:
        return lambda rng, at: ["data", "check", kind, str(at)]

    def train(config: str, *settings: str) -> Commands:
        words = ["train", config, "--set", "train.max_steps=1", *(w for s in settings for w in ("--set", s))]
        return lambda rng, at: [*words, "--backend", "cpu", "--data-root", str(at), "--out", str(at.parent / "out")]

    detections = base / "run" / "predictions.json"

    def score(results: Path, version: str = "v1.0-mini", split: str = "synth_val") -> Commands:
        words = ["eval", str(results), "--version", version, "--split", split]
        return lambda rng, at: [*words, "--data-root", str(at), "--out", str(at.parent / "out")]

    bevdepth, bevformer = train("bevdepth/tiny_test"), train("bevformer/tiny_test")
    convert: Commands = lambda rng, at: ["data", "convert", "radial", str(at), str(at.parent / "out")]  # noqa: E731
    echofusion = train("echofusion/tiny_test")
    tables = _below(nuscenes, "v1.0-mini")
    yield Specimen("tables", nuscenes, tables, (check("nuscenes"), bevdepth, bevformer, score(detections)))
    yield Specimen("pictures", nuscenes, _below(nuscenes, "samples", ".jpg"), (check("nuscenes"), bevdepth, bevformer))
    yield Specimen("lidar", nuscenes, _below(nuscenes, "samples", ".bin"), (check("nuscenes"), bevdepth))
    yield Specimen("can bus", nuscenes, _below(nuscenes, "can_bus"), (bevformer,))
    yield Specimen("recordings", radial, _below(radial), (check("radial"), echofusion, convert))
    yield Specimen("converted", converted, _below(converted), (check("radial"), echofusion))

    config = ["--config", "bevdepth/tiny_test", "--data-root", str(nuscenes)]

    def weigh(rng: random.Random, at: Path) -> list[str]:
        if rng.random() < 0.5:
            return ["eval", str(at), *config, "--out", str(at.parent / "out")]
        init = ["--init", str(at), "--set", "train.max_steps=1", "--out", str(at.parent / "out")]
        return ["train", "bevdepth/tiny_test", "--backend", "cpu", "--data-root", str(nuscenes), *init]

    for name in ("weights.pth", "weights.safetensors", "lightning.pth"):
        yield Specimen(name, base / name, (), (weigh,))

    def backbone(rng: random.Random, at: Path) -> list[str]:
        settings = ["--set", f"model.image_backbone.weights={at}", "--set", "train.max_steps=1"]
        places = ["--data-root", str(nuscenes), "--out", str(at.parent / "out")]
        return ["train", "bevdepth/tiny_test", "--backend", "cpu", *settings, *places]

    yield Specimen("backbone.pth", base / "backbone.pth", (), (backbone,))

    def configured(rng: random.Random, at: Path) -> list[str]:
        settings = ["--set", "train.max_steps=1", "--backend", "cpu"]
        return ["train", str(at), *settings, "--data-root", str(nuscenes), "--out", str(at.parent / "out")]

    yield Specimen("config.yaml", base / "config.yaml", (), (configured,))

    def results(rng: random.Random, at: Path) -> list[str]:
        out = ["--out", str(at.parent / "out")]
        return ["eval", str(at), "--data-root", str(nuscenes), "--version", "v1.0-mini", "--split", "synth_val", *out]

    yield Specimen("predictions.json", detections, (), (results,))

    def radial_results(rng: random.Random, at: Path) -> list[str]:
        return ["eval", str(at), "--data-root", str(radial), "--split", "test", "--out", str(at.parent / "out")]

    yield Specimen("frames.json", base / "sweep" / "predictions.json", (), (radial_results,))

    report: Commands = lambda rng, at: ["parity", "report", str(at), str(base / "run"), "--out", str(at.parent / "out")]  # noqa: E731
    draw: Commands = lambda rng, at: ["viz", str(at), "--samples", "1", "--out", str(at.parent / "out")]  # noqa: E731
    again: Commands = lambda rng, at: ["eval", str(at), "--out", str(at.parent / "out")]  # noqa: E731
    resume: Commands = lambda rng, at: ["train", "--resume", "--out", str(at)]  # noqa: E731
    whole = _below(base / "run")
    yield Specimen("run", base / "run", whole, (report, draw, again), real=True)
    yield Specimen("stopped run", base / "stopped", _below(base / "stopped"), (resume,), real=True)


def _files(base: Path) -> None:
    """Checkpoints as single files, a configuration, and a run that was stopped."""
    import torch
    import yaml
    from safetensors.torch import load_file, save_file

    from portbev.config import dump_config, load_config

    newest = sorted((base / "run" / "checkpoints").glob("step_*"))[-1]
    state = load_file(newest / "model.safetensors")
    torch.save({"state_dict": state, "meta": {"epoch": 1}}, base / "weights.pth")
    torch.save({"state_dict": {f"model.{k}": v for k, v in state.items()}, "epoch": 1}, base / "lightning.pth")
    save_file(state, base / "weights.safetensors")
    prefix = next(key for key in state if "img_backbone." in key).split("img_backbone.")[0] + "img_backbone."
    backbone = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    torch.save(backbone, base / "backbone.pth")
    text = yaml.safe_dump(dump_config(load_config("bevdepth/tiny_test")), sort_keys=False)
    (base / "config.yaml").write_text(text, encoding="utf-8")
    shutil.copytree(base / "run", base / "stopped")
    for name in ("predictions.json", "metrics.json"):
        (base / "stopped" / name).unlink()
    record = base / "stopped" / "run.json"
    record.write_text(record.read_text().replace('"status": "finished"', '"status": "interrupted"', 1))


def _below(root: Path, folder: str = ".", suffix: str = "") -> tuple[str, ...]:
    """Files below a folder of ``root``, as paths relative to it."""
    found = (path for path in (root / folder).rglob(f"*{suffix}") if path.is_file())
    return tuple(sorted(str(path.relative_to(root)) for path in found))


def _on(root: Path) -> list[str]:
    return ["--backend", "cpu", "--data-root", str(root)]


def _run(base: Path, *words: str | Path) -> None:
    command: Sequence[str] = [sys.executable, "-m", "portbev", *map(str, words)]
    done = subprocess.run(command, cwd=base, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")
