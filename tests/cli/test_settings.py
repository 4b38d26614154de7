"""Settings as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from portbev.cli import main


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--cfg-options", "train.epochs=1", "data.workers=0"],
            "--cfg-options: 'data.workers=0' stands without its option. "
            "Repeat the option before each: --cfg-options KEY=VALUE --cfg-options data.workers=0",
        ),
        (
            ["--set=train.epochs=1", "name=x"],
            "--set: 'name=x' stands without its option. Repeat the option before each: --set KEY=VALUE --set name=x",
        ),
        (["-cfg-options", "a=1"], "-cfg-options: unknown option. Write it with two dashes: --cfg-options"),
    ],
)
def test_several_settings_after_one_option_are_told_how_to_be_written(
    capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert main(["train", "bevdepth/tiny_test", *words]) == 2
    assert capsys.readouterr().err == f"portbev: {line}\n"


def test_a_file_whose_name_has_an_equals_sign_is_taken_for_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=1.yaml").write_text("name: [\n")
    assert main(["train", "--set", "train.epochs=1", "lr=1.yaml"]) == 2
    assert "lr=1.yaml: not valid YAML" in capsys.readouterr().err


def test_sizes_of_a_model_that_cannot_be_made_are_refused_in_a_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    setting = f"model.image_backbone.base_channels={2**63}"
    assert main(["train", "bevdepth/tiny_test", "--set", setting, "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("portbev: model: the model cannot be built: ")
