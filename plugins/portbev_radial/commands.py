"""``portbev data synth radial``, ``check`` and ``convert``."""

from __future__ import annotations

import sys
from pathlib import Path

import typer


def synth(
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to make."),  # noqa: B008
    sequences: int = typer.Option(4, "--sequences", help="Recorded sequences in all."),
    frames: int = typer.Option(10, "--frames", help="Labelled radar frames of each."),
    seed: int = typer.Option(0, "--seed", help="Of every random draw."),
    val_sequences: int | None = typer.Option(None, "--val-sequences", help="Of the split val; default: a fifth."),
    test_sequences: int | None = typer.Option(None, "--test-sequences", help="Of the split test; default: a fifth."),
    image_size: str = typer.Option("1920x1080", "--image-size", metavar="WIDTHxHEIGHT", help="Of the pictures."),
    samples: int = typer.Option(512, "--samples", help="Of a chirp; fewer make coarser range cells."),
    chirps: int = typer.Option(256, "--chirps", help="Of a frame, a multiple of 16; fewer make coarser Doppler cells."),
    azimuths: int = typer.Option(751, "--azimuths", help="Of the calibration table, from -75 to 75 degrees."),
    elevations: int = typer.Option(11, "--elevations", help="Of the calibration table."),
    noise: float = typer.Option(12.0, "--noise", help="Standard deviation of I and of Q in counts, at 512 x 256."),
    period: float = typer.Option(0.2, "--period", help="Seconds between two frames."),
    oversample: int = typer.Option(1, "--oversample", help="Camera, lidar and CAN events per radar frame."),
    density: float = typer.Option(1.0, "--density", help="Factor on the number of vehicles."),
    reach: float = typer.Option(90.0, "--reach", help="Metres within which vehicles are labelled."),
    jpeg_quality: int = typer.Option(90, "--jpeg-quality", help="10 to 100."),
    workers: int = typer.Option(0, "--workers", help="Processes; 0: one per CPU. The bytes do not depend on it."),
) -> None:
    """Generate RADIal recordings: radar, camera, lidar, labels. The same call continues an interrupted one."""
    from portbev.data.generated.options import parse_image_size
    from portbev_radial.synth import RadialSynthOptions, generate

    options = RadialSynthOptions(
        sequences=sequences,
        frames=frames,
        seed=seed,
        val_sequences=val_sequences,
        test_sequences=test_sequences,
        image_size=parse_image_size(image_size, RadialSynthOptions.where),
        samples=samples,
        chirps=chirps,
        azimuths=azimuths,
        elevations=elevations,
        noise=noise,
        period=period,
        oversample=oversample,
        density=density,
        reach=reach,
        jpeg_quality=jpeg_quality,
    )
    root = generate(out, options, workers=workers, progress=True)
    train = options.sequences - options.validation_count - options.test_count
    split = f"{train} of train, {options.validation_count} of val, {options.test_count} of test"
    print(f"{root}: {sequences} sequences ({split}), {sequences * frames} frames")


def convert(
    root: str = typer.Argument(..., metavar="ROOT", help="Raw recordings, or synthetic-radial:?..."),
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to make, or to go on with."),  # noqa: B008
    parts: str = typer.Option(
        "all", "--parts", help="Some of images, lidars, adc, rt, rd, ra, pcd, labels, labels_x, infos; with commas."
    ),
    boxes: Path | None = typer.Option(  # noqa: B008
        None, "--boxes", help="The re-annotated boxes; default: radial_bbox_labels.csv in ROOT."
    ),
    tolerance: int = typer.Option(
        20_000, "--tolerance", help="Microseconds between a radar frame and the nearest event of another sensor."
    ),
    workers: int = typer.Option(0, "--workers", help="Processes; 0: one per CPU. The bytes do not depend on it."),
) -> None:
    """Convert raw RADIal recordings into the KITTI-like layout of EchoFusion.

    After an interruption the same call continues; parts may be added later. What cannot be read is reported in one line
    each on stderr; exit status 2 when a labelled sample is lost.
    """
    from portbev.data import open_root
    from portbev_radial.converted import convert as conversion

    chosen = conversion.PARTS if parts == "all" else tuple(part.strip() for part in parts.split(",") if part.strip())
    done = conversion.convert(
        open_root(root), out, parts=chosen, boxes=boxes, tolerance=tolerance, workers=workers, progress=True
    )
    for problem in done.problems:
        print(problem, file=sys.stderr)
    per_sample = done.size / max(len(done.samples), 1) / 1e6
    lost = f", {done.lost} lost" if done.lost else ""
    print(f"{done.out}: {len(done.samples)} samples{lost}, {per_sample:.2f} MB each")
    if done.lost:
        raise typer.Exit(2)


def check(
    root: str = typer.Argument(..., metavar="ROOT", help="Raw recordings, converted ones, or synthetic-radial:?..."),
    radar: str = typer.Option(
        "",
        "--radar",
        help="To be trained on: rt, rd, ra, adc, pc or none. Default: rt; converted: all there is.",
    ),
    camera: bool = typer.Option(True, "--camera/--no-camera", help="Whether pictures are trained on."),
    boxes: Path | None = typer.Option(  # noqa: B008
        None, "--boxes", help="The re-annotated boxes; default: radial_bbox_labels.csv in ROOT."
    ),
    tolerance: int | None = typer.Option(
        None, "--tolerance", help="Microseconds between a radar frame and other sensors; default: data.tolerance's."
    ),
    decode: bool = typer.Option(False, "--decode", help="Read every labelled frame, pictures included."),
    every: bool = typer.Option(False, "--all", help="Every problem, not the first ten."),
    infos: list[Path] = typer.Option(  # noqa: B008
        [], "--infos", metavar="FILE", help="Compare EchoFusion's radialx_infos_*.pkl too; repeatable."
    ),
) -> None:
    """Check RADIal data as training reads them; one line per problem. Exit status 2 when there are any.

    Example: portbev data check radial data/radial
    """
    from portbev import lists, terminal
    from portbev.data import open_root
    from portbev_radial.check import check_root
    from portbev_radial.converted.check_infos import check_infos

    folder, console = open_root(root), terminal.open_console()
    count, most = 0, None if every else lists.MOST
    found_of = {needed: lists.Head(lambda text: terminal.say(console, text), most) for needed in (True, False)}
    found = check_root(
        folder, radar=radar, camera=camera, boxes=boxes, tolerance=tolerance, decode=decode, progress=True
    )
    for finding in found:
        found_of[finding.needed].add(finding.text, Path(finding.text.partition(": ")[0]).name)
        count += finding.needed
    summaries = []
    for path in infos:
        *lines, summary = check_infos(path, folder)
        summaries.append(summary)
        for line in lines:
            found_of[True].add(line, path.name)
            count += 1
    for one in found_of.values():
        one.end()
    for summary in summaries:
        terminal.say(console, summary)
    if count:
        terminal.say(console, f"{folder}: {count} problem{'s' if count > 1 else ''}")
        raise typer.Exit(2)
    terminal.say(console, f"{folder}: complete and consistent")
