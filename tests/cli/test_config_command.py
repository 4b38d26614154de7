"""Configurations found, shown and explained by the real commands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from portbev.cli import main
from portbev.config.shipped import shipped_configs


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_configs_lists_every_shipped_configuration_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "configs").splitlines()
    named = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(named) == sorted(shipped_configs())
    assert lines.index("on generated data, as they are:") < lines.index("on a data set, with --data-root DIR:")
    assert len(said(capsys, "configs", "laptop").splitlines()) == 4


def test_configs_fit_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, said(capsys, "configs").splitlines())) <= 60


def test_show_prints_yaml_with_the_class_of_each_key_and_who_said_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "config", "show", "bevdepth/tiny_test", "--cfg-options", "train.epochs=7", "optimizer.lr=1e-3")
    shown = yaml.safe_load(text)
    assert (shown["train"]["epochs"], shown["optimizer"]["lr"]) == (7, 0.001)
    lines = {
        line.split(":")[0].strip(): line.split("#")[1].split(None, 1) for line in text.splitlines()[1:] if "#" in line
    }
    assert lines["epochs"] == ["what", "--set train.epochs=7"]
    assert lines["threads"] == ["how", "bevdepth/tiny_test.yaml"]
    assert lines["log_every"] == ["neither", "default"]


def test_show_says_what_differs_between_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: bevformer/tiny_test\nname: mine\ncompute: {threads: 2}\n")
    first, *lines = said(capsys, "config", "show", "bevformer/tiny_test", "--diff", str(mine)).splitlines()
    assert first == f"bevformer/tiny_test -> {mine}: 2 keys differ"
    assert [" ".join(line.split()) for line in lines] == [
        "neither name: bevformer_tiny_test -> mine",
        "how compute.threads: 1 -> 2",
    ]
    assert "no key differs" in said(capsys, "config", "show", str(mine), "--diff", str(mine))
    families = said(capsys, "config", "show", "bevformer/tiny_test", "--diff", "bevdepth/tiny_test", "--all")
    assert "model.variant: (no such key) -> bevdepth" in families


def test_explain_says_meaning_type_default_class_and_who_sets_and_reads_it(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "config", "explain", "schedule.warmup_steps").splitlines()
    assert lines[0] == "schedule.warmup_steps"
    rest = {line[:10].strip(): line[12:] for line in lines[2:]}
    assert rest["type"] == "whole number >= 0" and rest["unit"] == "steps" and rest["default"] == "0"
    assert rest["class"].startswith("what: with another value it is another experiment")
    assert "bevdepth/laptop: 30" in rest["set by"] and "portbev/train/optim.py:" in rest["read by"]
    section = said(capsys, "config", "explain", "train.checkpoint").splitlines()
    assert [line.split(":")[0] for line in section[:3]] == [
        f"train.checkpoint.{k}" for k in ("every_steps", "keep", "best")
    ]


def test_page_is_the_committed_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "config", "page").startswith("# Every key of a configuration\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["configs", "laptopp"], "no configuration's name has 'laptopp' in it. Did you mean 'bevdepth/laptop'?"),
        (
            ["config", "show", "bevdepth/laptp"],
            "bevdepth/laptp: no such configuration. Did you mean 'bevdepth/laptop'?",
        ),
        (["config", "show", "bevdepth/laptop", "--diff", "nothing"], "nothing: no such configuration"),
        (
            ["config", "show", "bevdepth/laptop", "--set", "optimizer.rl=1"],
            "unknown key 'optimizer.rl'. Did you mean 'lr'?",
        ),
        (["confg", "show", "bevdepth/laptop"], "unknown command 'confg'. Did you mean 'config'?"),
        (["config", "explain", "optimizer.lrr"], "unknown key 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
    ],
)
def test_what_is_unknown_is_told_in_a_line(capsys: pytest.CaptureFixture[str], words: list[str], line: str) -> None:
    assert main(words) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told


@pytest.mark.parametrize("words", [["configs"], ["config", "show"], ["config", "explain"], ["config", "page"]])
def test_help_has_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert f"portbev {' '.join(words)} " in " ".join(said(capsys, *words, "--help").split("Example")[1].split())
