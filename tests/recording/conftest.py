"""Dumps of the smallest configurations, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from making import CONFIG, MakeDump

from portbev.parity.dumps.reading import Dump, load_dump
from portbev.recording.dump import Plan, dump
from portbev.recording.step import read_source


@pytest.fixture(scope="session")
def make_dump(tmp_path_factory: pytest.TempPathFactory) -> MakeDump:
    """``make_dump("key=value", ..., plan=Plan(...), backend="cpu")``: a dump of the smallest BEVDepth."""
    folder = tmp_path_factory.mktemp("dumps")
    number = iter(range(1000))

    def make(*sets: str, config: str = CONFIG, plan: Plan = Plan(), backend: str = "cpu") -> Dump:  # noqa: B008
        out = folder / f"{backend}{next(number)}"
        dump(read_source(config, sets), out, plan, backend=backend)
        return load_dump(out)

    return make


@pytest.fixture(scope="session")
def base(make_dump: MakeDump) -> Dump:
    """A training step on the CPU."""
    return make_dump()


@pytest.fixture
def base_copy(base: Dump, tmp_path: Path) -> Path:
    """A folder with the same files, to be damaged."""
    import shutil

    return Path(shutil.copytree(base.path, tmp_path / "copy"))
