"""Settings by trial, where ``PORTBEV_TRITON_TUNE=1`` asks for it.

The settings decide the order of sums and with it the bits of results: without being asked, every run of an
architecture takes those of ``settings.json``. What was found is kept in the cache, by architecture and Triton's
version, and is used in later runs that ask too.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from portbev.data.cache import cache_folder
from portbev.files import parse_json, write_json

VARIABLE = "PORTBEV_TRITON_TUNE"
REPEATS = 7
Settings = dict[str, int]


def asked() -> bool:
    """Whether this process is to find its settings by trial."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def candidates(default: Settings, choices: Mapping[str, Sequence[int]]) -> Iterator[Settings]:
    """``default``, then every other combination of ``choices`` (setting -> values) in its place."""
    yield default
    for values in itertools.product(*choices.values()):
        other = {**default, **dict(zip(choices, values, strict=True))}
        if other != default:
            yield other


class Tuned:
    """The best settings found so far, in memory and in a file of the cache.

    Args:
        path: of the file; one that is missing or damaged counts as empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.found: dict[str, Settings] = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.found = {}

    def best(self, key: str, tried: Iterable[Settings], seconds: Callable[[Settings], float]) -> Settings:
        """The settings that ``seconds`` says are quickest; tried once for each ``key``.

        Settings that cannot be compiled or launched (too much shared memory) count as slow without end; if none can
        be, the error of the last is raised.
        """
        if key not in self.found:
            times: list[tuple[float, Settings]] = []
            error: Exception | None = None
            for settings in tried:
                try:
                    times.append((seconds(settings), settings))
                except Exception as caught:
                    error = caught
            if not times:
                raise error or RuntimeError(f"no settings to try for {key}")
            self.found[key] = min(times, key=lambda pair: pair[0])[1]
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.found)
        return self.found[key]


@lru_cache
def tuned(architecture: str, version: str) -> Tuned:
    """What was found for an architecture by a version of Triton."""
    return Tuned(cache_folder() / "triton" / f"{architecture}-{version}.json")


def key_of(kernel: str, constants: Mapping[str, Any], tensors: Iterable[Any]) -> str:
    """What settings are found for: a kernel, its constants, and the dtypes of its tensors."""
    dtypes = [str(t.dtype).removeprefix("torch.") for t in tensors if isinstance(t, Tensor)]
    return json.dumps([kernel, dict(sorted(constants.items())), dtypes])


def device_seconds(run: Callable[[], None]) -> float:
    """Median time of ``run`` on the device, after a first run that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return sorted(times)[REPEATS // 2]
