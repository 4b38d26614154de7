"""Every command's help and output on narrow terminals: nothing is wider than the terminal, nothing is cut."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from portbev.cli import build_app, main

WIDTHS = (60, 80)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command and group, as words."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was printed, as a terminal shows it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out).splitlines()


def too_wide(lines: list[str], width: int) -> list[str]:
    """Lines wider than the terminal, but for a path or another word that would be cut otherwise."""
    return [line for line in lines if len(line) > width and len(line.split()) > 2]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_help_is_wider_than_the_terminal_or_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    command = typer.main.get_command(build_app())
    every = list(commands(command))
    assert len(every) > 25
    for words in every:
        command.main(args=[*words, "--help"], prog_name="portbev", standalone_mode=False)
        lines = told(capsys)
        assert not too_wide(lines, width), words
        assert not [line for line in lines if re.search(r"[\w,]\.\.\.$", line)], words
        assert "[[" not in "".join(lines), words


@pytest.fixture(params=WIDTHS)
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of that many columns."""
    monkeypatch.setenv("COLUMNS", str(request.param))
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    return int(request.param)


@pytest.fixture(scope="module")
def reported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on the run."""
    out = tmp_path_factory.mktemp("report") / "report"
    assert main(["parity", "report", str(trained), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize(
    "words",
    [
        "backends",
        "bench roofline bevdepth/tiny_test",
        "configs",
        "config print bevdepth/tiny_test",
        "config show bevdepth/tiny_test",
        "config show bevdepth/tiny_test --diff bevformer/tiny",
        "config explain model.decode",
        "config explain optimizer.lr",
        "data check nuscenes DATA",
        "eval RUN/predictions.json --data-root DATA --version v1.0-mini --split synth_val",
        "flops bevdepth/tiny_test",
        "logs table RUN",
        "logs time RUN",
        "parity report RUN --out OUT",
        "parity verify REPORT",
        "publish RUN --out OUT",
    ],
)
def test_no_output_is_wider_than_the_terminal(
    words: str,
    width: int,
    trained: Path,
    data: Path,
    reported: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = {"RUN": str(trained), "DATA": str(data), "OUT": str(tmp_path / "out"), "REPORT": str(reported)}
    assert main(re.sub("|".join(real), lambda name: real[name[0]], words).split()) == 0
    lines = told(capsys)
    assert lines
    assert not too_wide(lines, width)
    assert "…" not in "".join(lines)


def test_a_run_begins_and_ends_within_the_terminal(
    width: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "bevdepth/tiny_test", "--data-root", str(data), "--out", str(tmp_path / "run")]
    assert main([*words, "--set", "train.max_steps=1"]) == 0
    lines = told(capsys)
    said = " ".join(" ".join(lines).split())
    for text in ("chosen by auto", "parameters", "reference: ", "deterministic: required", "lr ", "training on synth"):
        assert text in said, text
    assert f"portbev viz {tmp_path / 'run'}" in said and "/pictures" not in said
    assert not [line for line in too_wide(lines, width) if not line.startswith("  portbev ")]
    assert "…" not in said
