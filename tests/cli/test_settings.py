"""Settings as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from portbev.cli import main


@pytest.mark.parametrize("option", ["--set", "--cfg-options"])
@pytest.mark.parametrize(
    "command",
    [
        ["train", "bevdepth/tiny_test"],
        ["eval", "{weights}", "--config", "bevdepth/tiny_test"],
        ["config", "show", "bevdepth/tiny_test"],
        ["parity", "seeds", "bevdepth/tiny_test", "--seeds", "1", "--out", "{out}"],
        ["parity", "dump", "bevdepth/tiny_test", "--out", "{out}"],
        ["bench", "step", "bevdepth/tiny_test"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_several_settings_after_one_option_are_all_taken(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: list[str], option: str
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"none")
    words = [word.format(weights=tmp_path / "weights.pth", out=tmp_path / "out") for word in command]
    assert main([*words, option, "train.epochs=1", "data.workers=0", "train.log_every=0"]) == 2
    assert "train.log_every=0: train.log_every: Input should be greater than or equal to 1" in capsys.readouterr().err


def test_what_follows_settings_and_is_none_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "bevdepth/tiny_test", "--set", "train.epochs=1", "train.log_every"]) == 2
    assert "(train.log_every)" in capsys.readouterr().err
    assert main(["train", "bevdepth/tiny_test", "-cfg-options", "a=1"]) == 2
    said = "portbev: -cfg-options: unknown option. Write it with two dashes: --cfg-options\n"
    assert capsys.readouterr().err == said


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
