"""Commands to type: what was typed, with other settings."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portbev.config.written import written

_OPTIONS = ("--set", "--cfg-options")
_SETTING = re.compile(r"([A-Za-z_][\w.-]*)=")


def is_ours(command: Sequence[str]) -> bool:
    """Whether ``command``, as in ``sys.argv``, is one of portbev's and not another program's."""
    return len(command) > 1 and (Path(command[0]).stem == "portbev" or Path(command[0]).parts[-2:] == _MODULE)


_MODULE = ("portbev", "__main__.py")


def started() -> list[str]:
    """The words before the command's name: of one process, or of several that torchrun started."""
    processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return ["portbev"] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m", "portbev"]


def with_settings(command: Sequence[str], settings: Mapping[str, Any]) -> str:
    """``command`` with ``settings``, in place of what it says of the same keys; for a shell.

    Args:
        command: as in ``sys.argv``.
    """
    words = [*started(), *_without(command[1:], settings)]
    for key, value in settings.items():
        words += ["--set", f"{key}={written(value)}"]
    return shlex.join(words)


def _without(words: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """``words`` without settings of these keys, and without an option that is left with no value."""
    kept: list[str] = []
    option = ""
    for word in words:
        if word.startswith("-"):
            if option in _OPTIONS and kept[-1] == option:
                kept.pop()
            option, _, value = word.partition("=")
            if option in _OPTIONS and value and _key(value) in settings:
                option = ""
                continue
        elif option in _OPTIONS and _key(word) in settings:
            continue
        kept.append(word)
    return kept[:-1] if option in _OPTIONS and kept[-1:] == [option] else kept


def _key(text: str) -> str:
    found = _SETTING.match(text)
    return found[1] if found else ""
