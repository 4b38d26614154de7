"""The configurations that come with portbev."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.config.yamls import read_yaml


def shipped_root() -> Path:
    """Configurations inside the installed package, or those of the source tree in an editable install."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def shipped_configs(*, parts: bool = False) -> dict[str, Path]:
    """Name -> file, sorted; with ``parts`` also what others extend, whose names begin with an underscore."""
    root = shipped_root()
    files = {path.relative_to(root).with_suffix("").as_posix(): path for path in root.rglob("*.yaml")}
    return {name: files[name] for name in sorted(files) if parts or not files[name].name.startswith("_")}


def short_name(path: Path | str) -> str:
    """A shipped file as ``bevdepth/_base.yaml``; others as they are."""
    try:
        return Path(path).relative_to(shipped_root()).as_posix()
    except ValueError:
        return str(path)


def description(path: Path) -> str:
    """The first sentence of the comment at the top of a configuration; empty where there is none."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return re.split(r"(?<=[.;])\s", " ".join(lines), maxsplit=1)[0].rstrip(".;")


def who_says(key: str) -> dict[str, Any]:
    """Shipped file -> its value of a dotted key, of those that say it themselves."""
    found = {}
    for name, path in shipped_configs(parts=True).items():
        value: Any = read_yaml(path)
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                break
            value = value[part]
        else:
            found[name] = value
    return found
