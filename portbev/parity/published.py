"""Published figures by name or file."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from portbev.errors import PortbevError, nearest
from portbev.evaluate.benchmark import find_benchmark
from portbev.parity.document import PublishedTable
from portbev.parity.table import columns

_SHIPPED = Path(__file__).resolve().parent


def shipped() -> list[str]:
    """Names of the tables that come with the package."""
    return sorted(path.stem for path in _SHIPPED.glob("*.yaml"))


def load_published(name: str) -> PublishedTable:
    """The shipped table ``name``, or the one in the YAML file ``name``.

    Raises:
        PortbevError: no such table or file, not YAML, or not of the schema.
    """
    path = _SHIPPED / f"{name}.yaml" if name in shipped() else Path(name)
    if not path.is_file():
        raise PortbevError(f"no published table or file {name!r}", where="--published", cure=nearest(name, shipped()))
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        table = PublishedTable.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PortbevError(f"not a readable YAML file ({reason})", where=str(path)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "content"
        cure = f"The shipped {shipped()[0]}.yaml shows the schema"
        raise PortbevError(f"{key}: {first['msg']}", where=str(path), cure=cure) from error
    metrics = [metric.key for metric in columns(find_benchmark(table.benchmark))]
    for row in table.rows:
        for key in row.values:
            if key not in metrics:
                raise PortbevError(
                    f"row {row.name!r} has an unknown metric {key!r}", where=str(path), cure=nearest(key, metrics)
                )
    return table
