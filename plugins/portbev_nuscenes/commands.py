"""``portbev data synth nuscenes`` and ``portbev data check nuscenes``."""

from __future__ import annotations

import sys
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from portbev_nuscenes.config import NuscenesData, NuscenesQueueData


class Files(str, Enum):
    """Sensor files that a check opens."""

    none = "none"
    key = "key"
    all = "all"


def synth(
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to make."),  # noqa: B008
    scenes: int = typer.Option(10, "--scenes", help="Scenes in all."),
    val_scenes: int | None = typer.Option(
        None, "--val-scenes", help="How many of them make the split synth_val; default: a fifth."
    ),
    samples: int = typer.Option(20, "--samples", help="Key frames per scene, at 2 Hz."),
    seed: int = typer.Option(0, "--seed", help="Of every random draw."),
    image_size: str = typer.Option("1600x900", "--image-size", metavar="WIDTHxHEIGHT", help="Of the camera pictures."),
    sweeps: int = typer.Option(1, "--sweeps", help="Camera and lidar frames between two key frames."),
    lidar_beams: int = typer.Option(32, "--lidar-beams", help="Rings of the lidar."),
    lidar_steps: int = typer.Option(1080, "--lidar-steps", help="Rays per ring and turn."),
    density: float = typer.Option(1.0, "--density", help="Factor on the number of objects."),
    reach: float = typer.Option(52.0, "--reach", help="Metres of road with objects before and behind the ego's way."),
    version: str = typer.Option("v1.0-mini", "--version", help="Name of the table folder."),
    jpeg_quality: int = typer.Option(90, "--jpeg-quality", help="10 to 100."),
    supersample: int = typer.Option(0, "--supersample", help="Rendered pixels per image pixel and axis; 0: by size."),
    can_bus: bool = typer.Option(True, "--can-bus/--no-can-bus", help="Write the folder can_bus: the ego's motion."),
    workers: int = typer.Option(0, "--workers", help="Processes; 0: one per CPU. The bytes do not depend on it."),
) -> None:
    """Generate nuScenes-format scenes: six cameras, lidar, all tables. The same call continues an interrupted one."""
    from portbev import terminal
    from portbev.data.generated.options import parse_image_size
    from portbev_nuscenes.synth import SynthOptions, generate

    options = SynthOptions(
        scenes=scenes,
        val_scenes=val_scenes,
        samples_per_scene=samples,
        seed=seed,
        image_size=parse_image_size(image_size, SynthOptions.where),
        sweeps=sweeps,
        lidar_beams=lidar_beams,
        lidar_steps=lidar_steps,
        density=density,
        reach=reach,
        version=version,
        jpeg_quality=jpeg_quality,
        supersample=supersample,
        can_bus=int(can_bus),
    )
    root = generate(out, options, workers=workers, progress=True)
    said = f"{_many(scenes, 'scene')}, {_many(scenes * samples, 'sample')}, version {version}"
    terminal.say(terminal.open_console(), f"{root}: {said}, splits synth_train and synth_val")


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def check(
    root: str = typer.Argument(..., metavar="ROOT", help="Data root, or synthetic:?..."),
    version: str = typer.Option("", "--version", help="Table folder; default: the only one in ROOT."),
    files: Files = typer.Option(  # noqa: B008
        Files.key, "--files", help="Sensor files to open and decode: none, those of key frames, or all."
    ),
    config: str = typer.Option("", "--config", help="Configuration of a run, whose data section counts."),
    overrides: list[str] = typer.Option([], "--set", help="With --config: KEY=VALUE."),  # noqa: B008
    every: bool = typer.Option(False, "--all", help="Every problem, not the first ten."),
    infos: list[Path] = typer.Option(  # noqa: B008
        [], "--infos", metavar="FILE", help="Compare infos of mmdet3d, BEVFormer or BEVDepth too; repeatable."
    ),
) -> None:
    """Check a nuScenes data root; one line per problem. Exit status 2 when there are any that a run refuses.

    Example: portbev data check nuscenes data/nuscenes --config bevdepth/r50_256x704_128x128_24e
    """
    from rich.progress import Progress

    from portbev import lists, terminal
    from portbev.data import open_root
    from portbev.data.fetching import missing_archives
    from portbev.errors import ConfigError
    from portbev_nuscenes.check import check_root
    from portbev_nuscenes.pickled.check import check_infos
    from portbev_nuscenes.tables.rows import only_version

    if overrides and not config:
        raise ConfigError("changes a configuration, and none is given", where="--set", cure="Add --config NAME")
    section = _data_of(config, overrides, root, asked=version) if config else None
    folder = open_root(root)
    version = version or (section.version if section else only_version(folder))
    console, out = terminal.open_console(stderr=True), terminal.open_console()
    count, remarks, most = 0, 0, None if every else lists.MOST
    lists_of = {needed: lists.Head(lambda text: terminal.say(out, text), most) for needed in (True, False)}
    summaries: list[str] = []
    # problems go to stdout and the progress bar to stderr; rich must redirect stdout only if both are the terminal
    line, whether = terminal.Line(console), sys.stdout.isatty()
    with Progress(
        line, console=console, transient=True, redirect_stdout=whether, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("checking files", total=None)
        problems = check_root(
            folder,
            version,
            section=section,
            files=files.value,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        for problem in chain(problems, *(check_infos(path, folder, version) for path in infos)):
            if isinstance(problem, str):
                summaries.append(problem)
                continue
            lists_of[problem.needed].add(str(problem), Path(problem.where).name)
            count += problem.needed
            remarks += not problem.needed
        for one in lists_of.values():
            one.end()
    for summary in summaries:
        terminal.say(out, summary)
    if count:
        for told in missing_archives("nuscenes", root, folder, version):
            terminal.say(out, told)
        terminal.say(out, f"{folder} {version}: {count} problem{'s' if count > 1 else ''}")
        raise typer.Exit(2)
    but = f", apart from what training does not need ({remarks} lines)" if remarks else ""
    terminal.say(out, f"{folder} {version}: complete and consistent{but}")


def _data_of(config: str, overrides: list[str], root: str, *, asked: str) -> NuscenesData | NuscenesQueueData:
    """The data section of a configuration.

    Args:
        asked: the version, where it is not the configuration's that counts.

    Raises:
        ConfigError: a configuration that cannot be used, of other data, or that does not fit generated data.
    """
    from portbev.config import load_config
    from portbev.data.generated.fitting import fit_generated
    from portbev.errors import ConfigError
    from portbev_nuscenes.config import NuscenesData, NuscenesQueueData

    whole = load_config(config, overrides)
    section = whole.data
    if not isinstance(section, NuscenesData | NuscenesQueueData):
        cure = "Give a configuration of kind nuscenes or nuscenes_queue"
        raise ConfigError(f"data.kind is {section.kind}, which has no nuScenes tables", where=config, cure=cure)
    if not asked:
        fit_generated(whole, root, sys.argv, processes=0)
    return section
