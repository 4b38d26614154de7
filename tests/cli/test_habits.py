"""What users of other tools type: each option gets a line that names ours, and a command that parses."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from portbev.autoload import no_autoload
from portbev.cli import build_app, habits, main


@pytest.fixture(scope="module")
def app() -> Any:
    with no_autoload():
        return typer.main.get_command(build_app(None))


def command_of(app: Any, words: list[str]) -> tuple[Any, list[str]]:
    """The command that ``words`` name, and the words behind it."""
    command, rest = app, list(words)
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command = command.commands[rest.pop(0)]
    return command, rest


CASES = [
    ("train mine.yaml --work-dir work --seed 0 --gpus 1", "train mine.yaml --out work --set train.seed=0"),
    ("train mine.yaml --resume-from work/epoch_3.pth", "train mine.yaml --resume --out work"),
    ("train mine.yaml --resume work/run", "train mine.yaml --resume --out work/run"),
    ("train mine.yaml --auto-resume --amp", "train mine.yaml --resume --set compute.amp=fp16"),
    ("train mine.yaml --load-from a.pth --no-validate", "train mine.yaml --init a.pth"),
    (
        "train mine.yaml --amp_backend native -b 8 --gpus 8",
        "train mine.yaml --set compute.amp=fp16 --set train.batch_size=8",
    ),
    (
        "train mine.yaml --seed=3 --deterministic",
        "train mine.yaml --set train.seed=3 --set compute.deterministic=required",
    ),
    ("train --config mine.yaml --device npu --work-dir w", "train mine.yaml --backend npu --out w"),
    ("eval mine.yaml a.pth --eval bbox --show-dir pictures", "eval a.pth --config mine.yaml"),
    ("eval mine.yaml a.pth", "eval a.pth --config mine.yaml"),
    ("eval a.pth --format-only --gpu-collect --tmpdir t --device=cpu", "eval a.pth --backend cpu"),
    ("config print mine.yaml --options a.b=1 c.d=2", "config print mine.yaml --cfg-options a.b=1 --cfg-options c.d=2"),
    ("data browse mine.yaml --online --task det", "data browse mine.yaml --show"),
    ("logs plot a.json --eval-interval 2 --style dark", "logs plot a.json --interval 2"),
    ("viz run --show-dir out --score-thr 0.5", "viz run --out out --score 0.5"),
    ("flops mine.yaml --shape 256 704", "flops mine.yaml"),
    ("publish a.pth b.pth", "publish a.pth --out b.pth"),
    ("submit mine.yaml --work-dir w --nodes 2", "submit mine.yaml --out w --nodes 2"),
]


@pytest.mark.parametrize(("typed", "here"), CASES)
def test_a_command_by_habit_is_told_as_it_is_written_here(
    app: Any, typed: str, here: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(typed)) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.endswith(f"So: portbev {here}\n")
    for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", typed):
        assert f"{option}: " in said.err or option in here.split(), option
    command, rest = command_of(app, shlex.split(here))
    command.make_context("portbev", rest, resilient_parsing=False)


@pytest.mark.parametrize("name", ["", *habits._COMMANDS])
def test_no_habit_hides_an_option_of_ours_and_what_it_becomes_is_one(app: Any, name: str) -> None:
    table = habits._COMMANDS[name] if name else habits._EVERYWHERE
    command, rest = command_of(app, (name or "train").split())
    assert not rest
    ours = {one for parameter in command.params for one in (*parameter.opts, *parameter.secondary_opts)}
    for option, habit in table.items():
        assert not name or option not in ours, option
        assert {word for word in habit.becomes.split() if word.startswith("-")} <= ours, option
        if habit.becomes == "--set {}" or "--set " in habit.becomes:
            assert "=" in habit.becomes


def test_settings_of_habits_are_keys_of_a_configuration() -> None:
    from portbev.config.keys import find_keys

    tables = [habits._EVERYWHERE, *habits._COMMANDS.values()]
    said = {key for table in tables for one in table.values() for key in re.findall(r"--set ([\w.]+)=", one.becomes)}
    assert len(said) > 6
    assert said.isdisjoint(habits._KEYS)
    for key in said | set(habits._KEYS.values()):
        assert any(found.path == key for found in find_keys(key)), key


@pytest.mark.parametrize(
    ("name", "here"),
    [("tools/test.py", "eval"), ("dist_train.sh", "train"), ("tools/misc/print_config.py", "config print")],
)
def test_a_tool_by_its_name_is_told_the_command(name: str, here: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "mine.py"]) == 2
    assert capsys.readouterr().err == f"portbev: unknown command {name!r}. Here it is portbev {here}\n"


def test_every_command_that_a_tool_is_told_exists(app: Any) -> None:
    for here in habits._ELSEWHERE.values():
        command, rest = command_of(app, here.split())
        assert command is not app and (not rest or rest[0].startswith("-")), here


def test_no_option_is_advised_that_the_command_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "--seed", "1"]) == 2
    assert "no such option: --seed" in capsys.readouterr().err


def test_an_option_that_nobody_has_stays_an_unknown_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "mine.yaml", "--nonsense"]) == 2
    assert "no such option: --nonsense" in capsys.readouterr().err


def test_keys_of_other_configurations_are_no_keys_here() -> None:
    from portbev.config import load_config
    from portbev.errors import ConfigError

    for key in (*habits._KEYS, *habits._NO_KEYS):
        with pytest.raises(ConfigError):
            load_config("bevdepth/tiny_test", [f"{key}=1"])


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (
            "train x --cfg-options total_epochs=2",
            "--set total_epochs=2: here it is train.epochs. So: --set train.epochs=2",
        ),
        ("train x --set a.b=1 data.samples_per_gpu=4", "So: --set train.batch_size=4"),
        ("config print x --cfg-options=load_from=a.pth", "--set load_from=a.pth: is no key here but --init FILE"),
    ],
)
def test_a_setting_of_another_configuration_is_told_as_it_is_written_here(
    typed: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed.split()) == 2
    said = capsys.readouterr().err
    assert told in said and len(said.splitlines()) == 1


def test_a_command_of_a_group_by_another_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "plot_curve", "a.json"]) == 2
    assert capsys.readouterr().err == "portbev: logs: no such command 'plot_curve'. Here it is portbev logs plot\n"


def test_results_of_an_evaluation_go_into_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "a.pth", "--out", "work/results.pkl"]) == 2
    assert "--out is a folder" in capsys.readouterr().err


def test_the_short_name_of_help_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-h"]) == 0 and "Run directory" in capsys.readouterr().out
