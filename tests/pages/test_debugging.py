"""docs/debugging.md: the launch configuration's arguments parse, its programs do what they say."""

from __future__ import annotations

import json
import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from printed import DOCS, block
from test_printed_commands import check_portbev

PAGE = DOCS / "debugging.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this installation")


def run(program: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a printed program with ``--help`` as its arguments; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["program.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        exec(compile(program, "program.py", "exec"), {"__name__": "__main__"})
    return int(ended.value.code or 0)


def test_the_launch_configurations_start_portbev_and_attach_to_the_ports_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    launch, *attached = json.loads(block(PAGE, "launch"))["configurations"]
    assert (launch["module"], launch["type"]) == ("portbev", "debugpy")
    assert launch["args"].pop(launch["args"].index("--debug")) == "--debug"
    check_portbev(" ".join(launch["args"]), launch["args"])
    listened: list[Any] = []
    debugpy: Any = ModuleType("debugpy")
    debugpy.listen, debugpy.wait_for_client = listened.append, lambda: listened.append("waited")
    monkeypatch.setitem(sys.modules, "debugpy", debugpy)
    for rank in (0, 1):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert run(block(PAGE, "ranks"), monkeypatch) == 0
    assert "Run directory" in capsys.readouterr().out
    assert listened[1::2] == ["waited"] * 2
    assert [one[1] for one in listened[::2]] == [one["connect"]["port"] for one in attached]


def test_the_program_searches_for_anomalies_in_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert run(block(PAGE, "program"), monkeypatch) == 0
        assert torch.is_anomaly_enabled() and "Run directory" in capsys.readouterr().out
    finally:
        torch.autograd.set_detect_anomaly(False)
