"""Published figures by name or file."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from portbev.errors import PortbevError, nearest
from portbev.evaluate.benchmark import find_benchmark
from portbev.parity.document import PublishedTable
from portbev.parity.table import columns
from portbev.plugins import plugins


def load_published(name: str) -> PublishedTable:
    """The table ``name`` that a plugin brings, or the one in the YAML file ``name``.

    Raises:
        PortbevError: no such table or file, not YAML, or not of the schema.
    """
    known = plugins().published()
    path = known.get(name, Path(name))
    if not path.is_file():
        raise PortbevError(f"no published table or file {name!r}", where="--published", cure=nearest(name, known))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = PublishedTable.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PortbevError(f"not a readable YAML file ({reason})", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "content"
        cure = f"{next(iter(known.values()))} shows the schema" if known else ""
        raise PortbevError(f"{key}: {first['msg']}", where=str(path), cure=cure) from error
    _check_metrics(table, path)
    return table


def _check_metrics(table: PublishedTable, path: Path) -> None:
    metrics = [metric.key for metric in columns(find_benchmark(table.benchmark))]
    for row in table.rows:
        for key in row.values:
            if key not in metrics:
                raise PortbevError(
                    f"row {row.name!r} has an unknown metric {key!r}", where=str(path), cure=nearest(key, metrics)
                )
