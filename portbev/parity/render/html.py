"""The report as one HTML page that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence

from portbev.evaluate.benchmark import find_benchmark
from portbev.parity.document import ParityReport
from portbev.parity.render import charts, comparisons, ledger, text
from portbev.parity.render.colours import COLOURS, drawn_sides, series_of
from portbev.parity.render.limits import limits
from portbev.parity.render.view import GroupView, contents
from portbev.parity.runs import LabelledRun
from portbev.parity.table import columns


def to_html(report: ParityReport, runs: Sequence[LabelledRun]) -> str:
    """The page: style, script and charts are inside it, and it asks for no file or address.

    Its own policy forbids it to: only the one script may run, nothing may be fetched.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("portbev.parity.render", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["commas"] = lambda value: f"{value:,}"
    environment.filters["sentence"] = text.sentence
    series = series_of(report)
    groups = [GroupView(report, group) for group in report.groups]
    script = environment.get_template("page.js").render().strip()
    # Values that macros of imported templates see as well.
    environment.globals.update(
        text=text,
        series=series,
        ledger=ledger,
        drawn_sides=drawn_sides,
        notes_of=comparisons.notes,
        columns_of=lambda table: table.columns(columns(find_benchmark(table.benchmark))),
    )
    page = environment.get_template("report.html").render(
        report=report,
        groups=groups,
        contents=contents(groups, report),
        charts={view.anchor: charts.of_group(view.group, runs, series) for view in groups},
        style=Markup(environment.get_template("style.css").render(colours=COLOURS).strip()),
        script=Markup(script),
        policy=_policy(script),
        limits=limits(report),
    )
    return _with_roles(page) + "\n"


def _policy(script: str) -> str:
    """The page's Content-Security-Policy: the script is known by its hash."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"


_ROLES = (
    (r"<table\b", '<table role="table"'),
    (r"<(thead|tbody)\b", r'<\1 role="rowgroup"'),
    (r"<tr\b", '<tr role="row"'),
    (r'<th scope="col"', '<th scope="col" role="columnheader"'),
    (r'<th scope="row"', '<th scope="row" role="rowheader"'),
    (r"<td\b", '<td role="cell"'),
)


def _with_roles(page: str) -> str:
    """Tables say that they are some: browsers forget it where rows are laid out as cards. All data are escaped, so
    these tags are the templates' own."""
    head, body = page.split("</head>", 1)
    for tag, with_role in _ROLES:
        body = re.sub(tag, with_role, body)
    return f"{head}</head>{body}"
