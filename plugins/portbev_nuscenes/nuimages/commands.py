"""``portbev data synth nuimages`` and ``portbev data convert nuimages``."""

from __future__ import annotations

from pathlib import Path

import typer


def synth(
    out: Path = typer.Argument(..., metavar="OUT", help="Folder to make."),  # noqa: B008
    images: int = typer.Option(12, "--images", min=1, help="Pictures."),
    seed: int = typer.Option(0, "--seed", help="Of every random draw."),
    image_size: str = typer.Option("1600x900", "--image-size", metavar="WIDTHxHEIGHT", help="Of the pictures."),
    version: str = typer.Option("v1.0-mini", "--version", help="Name of the table folder."),
) -> None:
    """Generate nuImages tables and pictures, to try a conversion on."""
    from portbev.data.generated.options import parse_image_size
    from portbev_nuscenes.nuimages.synth import generate

    size = parse_image_size(image_size, "portbev data synth nuimages")
    generate(out, images=images, seed=seed, size=size, version=version)
    print(f"{out}: {images} pictures, version {version}")


def convert(
    root: Path = typer.Argument(..., metavar="ROOT", help="Data root of nuImages."),  # noqa: B008
    out: Path = typer.Argument(..., metavar="OUT", help="Folder for annotations and semantic masks."),  # noqa: B008
    version: list[str] = typer.Option(["v1.0-mini"], "--version", help="Table folder; repeatable."),  # noqa: B008
    nproc: int = typer.Option(4, "--nproc", min=1, help="Processes that draw semantic masks."),
    tag: str = typer.Option("nuimages", "--extra-tag", help="Beginning of the annotation file's name."),
) -> None:
    """Convert nuImages to COCO: OUT/TAG_VERSION.json and OUT/semantic_masks, as mmdet3d's converter names them.

    Example: portbev data convert nuimages data/nuimages out/nuimages --version v1.0-val
    """
    from portbev.cli.bar import Bar
    from portbev_nuscenes.nuimages.coco import convert as write

    for name in version:
        with Bar(f"masks of {name}", every=1000) as bar:
            done = write(root, out, name, tag=tag, processes=nproc, progress=bar.tick)
        print(f"written: {done.path}: {done.images} images, {done.annotations} annotations")
        if done.without_mask or done.other_categories:
            print(
                f"left out: {done.without_mask} without a mask, {done.other_categories} of categories without a class"
            )
