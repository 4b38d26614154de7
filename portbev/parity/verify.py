"""``parity verify``: is a report whole, and what its runs say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from portbev.errors import PortbevError
from portbev.parity.assemble import report_on
from portbev.parity.document import SCHEMA, ParityReport, RunEntry
from portbev.parity.files import CHECKSUMS, check_files
from portbev.parity.runs import LabelledRun, load_runs
from portbev.parity.seal import HASH, check_hash
from portbev.parity.series import run_folders
from portbev.runs.layout import RUN
from portbev.runs.reading import in_words, read_object
from portbev.runs.seal import digests

_CURE = "Make the report again: portbev parity report"


def read_report(path: Path | str) -> ParityReport:
    """The report in ``report.json`` or in the folder that holds it.

    Raises:
        PortbevError: not readable, truncated, of another version, or edited after it was written.
    """
    path = Path(path)
    path = path / "report.json" if path.is_dir() else path
    if not path.is_file():
        raise PortbevError("no such report", where=str(path), cure="Name the folder that portbev parity report wrote")
    content = read_object(path)
    if content.get("schema") != SCHEMA:
        what = f"schema is {content.get('schema')!r}, this version reads {SCHEMA!r}"
        raise PortbevError(what, where=str(path), cure=_CURE)
    if not content.get(HASH):
        raise PortbevError("has no content hash", where=str(path), cure=_CURE)
    check_hash(content, path)
    try:
        return ParityReport.model_validate(content)
    except ValidationError as error:
        raise PortbevError(f"is damaged: {in_words(error)}", where=str(path), cure=_CURE) from error


def verify(path: Path | str, runs: Sequence[Path | str] = (), controls: Sequence[Path | str] = ()) -> list[str]:
    """Check a report against its own hash, its other forms, and its runs; and judge the runs again.

    Args:
        runs: folders in which the runs are, where they are no longer at the paths in the report.
        controls: its control runs, likewise.

    Returns:
        What was checked, a line each.

    Raises:
        PortbevError: something does not fit (the first such thing).
    """
    path = Path(path)
    report = read_report(path)
    folder = path if path.is_dir() else path.parent
    lines = [f"report.json is what was written (content hash {report.content_hash[:12]})"]
    forms = check_files(folder, report.content_hash)
    lines.append(
        f"{len(forms)} further files are what was written" if forms else f"other forms: no {CHECKSUMS}, not checked"
    )
    folders = [_find(entry, runs, folder) for entry in report.runs]
    for entry, place in zip(report.runs, folders, strict=True):
        _check_run(entry, place)
    lines.append(
        f"{len(folders)} runs are those that were read" if len(folders) != 1 else "the run is the one that was read"
    )
    lines.append(_judge_again(report, folders, controls))
    return lines


def _find(entry: RunEntry, given: Sequence[Path | str], folder: Path) -> Path:
    """The run's directory: at its path, beside the report, or among those given."""
    places = run_folders(given) if given else [folder.parent / entry.path]
    candidates = [*places, Path(entry.path), folder / entry.path]
    there = [one for one in candidates if (one / RUN).is_file()]
    match = next((one for one in there if digests(one) == entry.files), None)
    if match is not None:
        return match
    if not there or given:
        raise PortbevError(
            f"none of the runs is {entry.label}" if given else f"the run {entry.label} is not there",
            where=entry.path,
            cure="Say where the runs are: portbev parity verify REPORT --runs DIR",
        )
    return there[0]


def _check_run(entry: RunEntry, place: Path) -> None:
    found = digests(place)
    for name in sorted({*entry.files, *found}):
        if entry.files.get(name) != found.get(name):
            what = "is not what the report was made from: its hash is another"
            raise PortbevError(what, where=str(place / name), cure=_CURE)


def _judge_again(report: ParityReport, folders: Sequence[Path], controls: Sequence[Path | str]) -> str:
    """Make the report once more from its runs and compare what it says."""
    options = report.options
    if options.controls and not controls:
        return f"not judged again: that takes its control runs ({', '.join(options.controls)}): --controls"
    again = report_on(
        _under_their_labels(report, load_runs(folders)),
        baseline=options.baseline,
        published=options.published,
        controls=load_runs(run_folders(controls)),
        judgement=options.judgement,
        require=options.require,
    )
    mine, theirs = (_comparable(one) for one in (report, again))
    differing = [key for key in mine if mine[key] != theirs[key]]
    if differing:
        raise PortbevError(
            f"its runs, judged again, say something else in {', '.join(differing)}",
            where="report.json",
            cure=_CURE if report.portbev == again.portbev else f"It was made by portbev {report.portbev}",
        )
    return "its runs, judged again, say the same"


def _under_their_labels(report: ParityReport, runs: Sequence[LabelledRun]) -> list[LabelledRun]:
    return [LabelledRun(entry.label, one.run) for entry, one in zip(report.runs, runs, strict=True)]


def _comparable(report: ParityReport) -> Mapping[str, Any]:
    """Everything that follows from the runs: not where they lie, nor the evidence of others."""
    content = report.model_dump(mode="json", by_alias=True)
    for run in content["runs"]:
        del run["path"]
    return {key: value for key, value in content.items() if key not in (HASH, "evidence", "options", "portbev")}
