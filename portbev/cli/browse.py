"""``portbev data browse``: what a training sees of its data."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.options import DATA_ROOT

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.data import Dataset, Part
    from portbev.viz.browse import Looked


def browse(
    context: typer.Context,
    config: str = typer.Argument(..., metavar="CONFIG|RUN", help="YAML file, name of a shipped one, or a run."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    split: str = typer.Option(
        "train", "--split", help="train or eval, or the name of one of the configuration's splits."
    ),
    count: int = typer.Option(6, "--count", min=1, help="How many samples, spread over the split."),
    index: list[int] = typer.Option([], "--index", help="Look at these, by place in the split; repeatable."),  # noqa: B008
    token: list[str] = typer.Option([], "--token", help="Look at these; repeatable, or with commas."),  # noqa: B008
    draws: int = typer.Option(3, "--draws", min=1, help="How often to draw each: as in so many epochs."),
    epoch: int = typer.Option(0, "--epoch", min=0, help="The first of these epochs."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    out: Path | None = typer.Option(  # noqa: B008
        None,
        "--out",
        "--output-dir",
        help="A page (.html), a picture of one sample (.png), or a folder of PNGs; default: browse-NAME.html.",
    ),
    show: bool = typer.Option(False, "--show", help="Open the page in the browser."),
) -> None:
    """Draw samples as a training sees them: pictures after augmentation with boxes, the view from above, and what was
    annotated.

    Example: portbev data browse bevdepth/laptop --count 4 --draws 2 --out browse.html
    """
    from portbev import terminal
    from portbev.errors import PortbevError
    from portbev.viz import browse as looking

    if (index or token) and _given(context, "count"):
        raise PortbevError("--count does nothing beside --index and --token", cure="Leave one of them out")
    settings, trained_on = _settings(config, set_)
    target = out or Path(f"browse-{settings.name}.html")
    kind = _kind_of(target, show=show)
    dataset = _open(settings, split, data_root or trained_on or settings.data.root)
    browser = looking.open_browser(settings.data.kind, dataset)
    count = 1 if kind == ".png" and not _given(context, "count") else count
    indices = looking.chosen(
        dataset, count=count, indices=index, tokens=[one for some in token for one in some.split(",") if one]
    )
    if kind == ".png" and len(indices) > 1:
        what = f"one picture holds one sample, and these are {len(indices)}"
        raise PortbevError(what, where=str(target), cure="Name a folder or a page (.html)")
    augmented = dataset.part == "train" and settings.data.augment
    epochs = list(range(epoch, epoch + (draws if augmented else 1)))
    if not augmented and draws > 1 and _given(context, "draws"):
        terminal.tell("drawn once: nothing is augmented at random")
    if kind == ".html" and len(indices) * (len(epochs) + 1) > looking.MOST:
        what = f"a page holds at most {looking.MOST} pictures, and these are {len(indices) * (len(epochs) + 1)}"
        raise PortbevError(what, where=str(target), cure="Name a folder, or fewer: --count, --draws")
    samples = _shown(looking.look(dataset, browser, indices, epochs=epochs), len(indices))
    if kind == "":
        for path in looking.write_folder(samples, target):
            print(path)
        return
    if kind == ".png":
        from portbev.viz.pictures import write_png

        write_png(looking.sheet(next(samples)), target)
    else:
        _write_page(looking.page(samples, title=f"{settings.name}: {dataset.split}", facts=_facts(dataset)), target)
    counts = f"{len(indices)} sample{'s' * (len(indices) > 1)}", f"{len(epochs)} epoch{'s' * (len(epochs) > 1)}"
    seen = f"in {counts[1]}" if dataset.part == "train" else "evaluated"
    terminal.tell(f"{target}: {counts[0]}, each as annotated and as {seen}")
    if show:
        _open_in_browser(target)


def _given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    return getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"


def _settings(config: str, overrides: list[str]) -> tuple[RunConfig, str | None]:
    """Of a file or a shipped configuration; or of a run, with the data root that it was trained on."""
    from portbev.config import load_config
    from portbev.runs import load_run

    if not (Path(config) / "run.json").is_file():
        return load_config(config, overrides), None
    record = load_run(Path(config)).record
    return load_config(record.config, overrides), record.data.source


def _kind_of(out: Path, *, show: bool) -> str:
    """``.html``, ``.png`` or an empty text for a folder.

    Raises:
        PortbevError: another suffix, or a folder where a page is to be shown.
    """
    from portbev.errors import PortbevError

    kind = "" if out.is_dir() else out.suffix.lower()
    if kind in (".htm", ".html"):
        return ".html"
    if kind not in ("", ".png"):
        cure = "Name a page (.html), a picture (.png) or a folder"
        raise PortbevError(f"nothing is written as {kind}", where=str(out), cure=cure)
    if show and not kind:
        raise PortbevError("a folder cannot be shown", where="--show", cure="Write a page: --out FILE.html")
    return kind


def _open(settings: RunConfig, split: str, root: str | None) -> Dataset:
    """The split, opened as training or evaluation open it.

    Raises:
        PortbevError: neither of the configuration's splits.
    """
    from portbev.data import build_dataset, open_root
    from portbev.data.generated.fitting import fit_generated
    from portbev.errors import PortbevError

    data = settings.data
    parts: dict[str, Part] = {"eval": "eval", "train": "train", data.eval_split: "eval", data.train_split: "train"}
    if split not in parts:
        there = ", ".join(dict.fromkeys(["train", "eval", data.train_split, data.eval_split]))
        cure = f"There are {there}; another one: --split eval --set data.eval_split={split}"
        raise PortbevError(f"the configuration has no split {split!r}", where="--split", cure=cure)
    fit_generated(settings, root, sys.argv, processes=0, part=parts[split])
    dataset = build_dataset(data, open_root(root), parts[split], seed=settings.train.seed)
    dataset.check()
    return dataset


def _shown(samples: Iterator[Looked], total: int) -> Iterator[Looked]:
    """The samples, with progress."""
    from portbev.data.progress import reporter

    with reporter(True, "drawing", total) as progress:
        for done, sample in enumerate(samples, 1):
            yield sample
            progress(done, total)


def _facts(dataset: Dataset) -> list[str]:
    distinct = len(set(dataset.tokens))
    repeated = f", {distinct} different" if distinct < len(dataset) else ""
    how = "as training sees it" if dataset.part == "train" else "as evaluation sees it"
    return [f"{dataset.split} of {dataset.root} ({len(dataset)} samples{repeated})", how, *dataset.notes]


def _write_page(text: str, path: Path) -> None:
    from portbev.files import atomic_write

    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _open_in_browser(path: Path) -> None:
    """Open the file; a machine without a browser gets a line."""
    import webbrowser

    if not webbrowser.open(path.absolute().as_uri()):
        print(f"no browser on this machine: copy {path} to one that has one", file=sys.stderr)
