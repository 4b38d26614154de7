from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from portbev.cli import main
from portbev.digests import file_digest
from portbev.errors import PortbevError
from portbev.runs.checkpoint import Checkpoint, write_checkpoint
from portbev.runs.publish import publish


def checkpoint(step: int, ema: bool = True) -> Checkpoint:
    model = {"conv.weight": torch.full((2, 2), float(step)), "bn.running_mean": torch.zeros(2)}
    averaged = {name: value + 0.5 for name, value in model.items()} if ema else None
    return Checkpoint(step=step, model=model, ema=averaged, state={"optimizer": {"lr": 1.0}}, meta={})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in (4, 8):
        write_checkpoint(checkpoint(step), tmp_path / "mine" / "checkpoints" / f"step_{step:08d}")
    return tmp_path / "mine"


def test_the_name_has_the_files_own_hash_and_the_file_weights_alone(run: Path) -> None:
    done = publish(run)
    assert done.path.parent == run.parent
    assert done.path.name == f"mine-{file_digest(done.path)[:8]}.safetensors"
    assert load_file(done.path)["conv.weight"].eq(8.5).all()
    assert (done.kind, done.tensors) == ("ema", 2)
    assert publish(run).path == done.path


def test_weights_of_a_step_without_average_can_be_asked_for(run: Path) -> None:
    done = publish(run, run.parent / "out" / "step4", use_ema=False, which="4")
    assert done.path.name.startswith("step4-")
    assert load_file(done.path)["conv.weight"].eq(4.0).all()


def test_as_pth_it_is_read_by_torch_and_mmdets_tools(run: Path) -> None:
    done = publish(run, form="pth")
    content = torch.load(done.path, weights_only=True)
    assert set(content["state_dict"]) == {"conv.weight", "bn.running_mean"}


def test_files_of_other_projects_lose_optimizer_and_epoch(tmp_path: Path) -> None:
    file = tmp_path / "epoch_24.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}, "optimizer": {"m": torch.ones(9)}, "epoch": 3}, file)
    done = publish(file)
    assert load_file(done.path).keys() == {"w"}
    assert done.left_out == ["optimizer", "epoch"]
    assert done.path.name.startswith("epoch_24-")


def test_tensors_that_share_memory_are_written(tmp_path: Path) -> None:
    shared = torch.ones(4)
    torch.save({"a": shared, "b": shared, "c": shared[1:3]}, tmp_path / "tied.pth")
    assert load_file(publish(tmp_path / "tied.pth").path).keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["NOTHING"], "no such checkpoint"),
        (["EMPTY"], "no run and no checkpoint"),
        (["RUN", "--checkpoint", "5"], "4, 8"),
        (["RUN", "--format", "onnx"], "safetensors or pth"),
    ],
)
def test_a_wrong_word_is_a_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"RUN": str(run), "EMPTY": str(tmp_path / "empty"), "NOTHING": str(tmp_path / "nothing.pth")}
    assert main(["publish", *(places.get(word, word) for word in arguments)]) == 2
    assert said in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_published(run: Path) -> None:
    for step in run.glob("checkpoints/step_*"):
        (step / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(PortbevError):
        publish(run)
    assert not list(run.parent.glob("mine-*"))


def test_the_command_says_what_it_wrote_and_left_out(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(run)]) == 0
    out = capsys.readouterr().out
    assert "2 tensors (averaged)" in out
    assert "left out: model, optimizer and training state" in out
