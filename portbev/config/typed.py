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


def started(command: Sequence[str]) -> list[str]:
    """What stands before the arguments of ``command`` to start as many processes again."""
    size, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        joined = " ".join(command).replace("=", " ")
        if "--launcher slurm" in joined:
            return ["srun", "--ntasks", str(size), "portbev"]
        return ["mpirun", "-n", str(size), "portbev"] if "--launcher mpi" in joined else ["portbev"]
    if size == 1:
        return ["portbev"]
    several = ["--nnodes", str(size // here), "--rdzv-backend", "c10d", "--rdzv-endpoint", "HOST:PORT"]
    return ["torchrun", *(several if size > here else []), "--nproc-per-node", str(here), "-m", "portbev"]


def with_settings(command: Sequence[str], settings: Mapping[str, Any]) -> str:
    """``command`` with ``settings``, in place of what it says of the same keys; for a shell.

    Args:
        command: as in ``sys.argv``.
    """
    words = [*started(command), *_without(command[1:], settings)]
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
