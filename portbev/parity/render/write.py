"""The report's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portbev.files import atomic_write, write_json, write_text
from portbev.parity.document import ParityReport
from portbev.parity.files import write_checksums
from portbev.parity.render import figures
from portbev.parity.render.charts import members
from portbev.parity.render.colours import series_of
from portbev.parity.render.csv import class_table, comparison_table, run_table
from portbev.parity.render.html import to_html
from portbev.parity.render.markdown import to_markdown
from portbev.parity.runs import LabelledRun


def write_report(report: ParityReport, runs: Sequence[LabelledRun], folder: Path | str) -> dict[str, Path]:
    """Write all forms of ``report`` into ``folder``, each file whole or not at all.

    Args:
        runs: the runs that the report is about; their scalars are drawn.

    Returns:
        Kind of file (``html``, ``markdown``, ``json``, ``csv``, ``classes``, ``losses 1`` ...) -> path.
    """
    folder = Path(folder)
    series = series_of(report)
    by_label = {run.label: run for run in runs}
    pictures: dict[int, str] = {}
    written: dict[str, Path] = {}
    for group in report.groups:
        if not any(by_label[label].scalars for label in group.runs):
            continue
        name = "losses.png" if len(report.groups) == 1 else f"losses_{group.number}.png"
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(figures.losses_png(members(group, runs), series))
        pictures[group.number] = name
        written[f"losses {group.number}"] = folder / name
    texts = {
        "html": ("report.html", to_html(report, runs)),
        "markdown": ("report.md", to_markdown(report, pictures)),
        "csv": ("report.csv", run_table(report)),
        "classes": ("classes.csv", class_table(report)),
        "comparisons": ("comparisons.csv", comparison_table(report)),
    }
    for kind, (name, text) in texts.items():
        write_text(folder / name, text)
        written[kind] = folder / name
    write_json(folder / "report.json", report.model_dump(mode="json", by_alias=True))
    written["checksums"] = write_checksums(folder, report.content_hash, list(written.values()))
    written["json"] = folder / "report.json"
    return written
