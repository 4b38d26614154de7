"""``parity bisect``: planted faults are named with their kind, by module and operator; what is clean is not accused."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults import FAULTS, planted

from portbev.parity.bisect.files import from_files
from portbev.parity.dumps.reading import Dump, load_dump
from portbev.recording.bisect import bisect
from portbev.recording.dump import Plan, dump
from portbev.recording.step import read_source

Dumped = Callable[..., Dump]
ONE_PROCESS = [name for name, fault in FAULTS.items() if fault.ranks == 1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    """Dumps of the CPU, each made once."""
    made: dict[Any, Dump] = {}

    def make(config: str, *settings: str) -> Dump:
        key = (config, settings)
        if key not in made:
            out = tmp_path_factory.mktemp("clean") / "a"
            made[key] = load_dump(dump(read_source(config, list(settings)), out, backend="cpu"))
        return made[key]

    return make


@pytest.mark.parametrize("name", ONE_PROCESS)
def test_a_planted_fault_is_named_with_its_kind(name: str, clean: Dumped, tmp_path: Path) -> None:
    fault = FAULTS[name]
    a = clean(fault.config, *fault.settings)
    with planted(fault):
        source = read_source(fault.config, list(fault.settings))
        b = load_dump(dump(source, tmp_path / "b", Plan(bands=False), backend="faulty"))
        by_files = from_files(a, b).verdict
        verdict = bisect(a, b, backend="faulty", source=source)
    assert verdict.kind == fault.kind, verdict
    assert fnmatch.fnmatchcase(verdict.module, fault.where), verdict
    assert len(verdict.evidence) >= 2
    assert verdict.module == by_files.module and verdict.stage == by_files.stage
    if fault.operator and fault.kind == "kernel":
        assert (verdict.operator, verdict.provider) == (f"portbev.{fault.operator}", "planted")
        right = {p.name for p in verdict.providers if p.ratio is not None and p.ratio < 4}
        assert right == {"reference"}, "the other provider is right, and said to be"
    if fault.kind in ("kernel", "reduced precision", "stale state"):
        assert verdict.side == "b"
