"""Training that starts from the weights of a checkpoint that fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from portbev.config import RunConfig
from portbev.errors import CheckpointError, PortbevError
from portbev.train import train

Toy = Callable[..., RunConfig]


def test_what_fits_is_taken_and_what_does_not_is_said_once_and_recorded(
    toy: Toy, tiny_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(toy(train__max_steps=1), backend="cpu", data_root=tiny_root, out=tmp_path / "a")
    other = toy(train__max_steps=1, optimizer__lr=1e-12, model__spare=True)
    where = {"backend": "cpu", "data_root": tiny_root, "out": tmp_path / "b"}
    with pytest.raises(CheckpointError, match=r"2 missing \(spare\.weight, spare\.bias\)"):
        train(other, init=tmp_path / "a", **where)
    with pytest.raises(PortbevError, match="--init-partial needs a checkpoint"):
        train(other, init_partial=True, **where)
    capsys.readouterr()
    second = train(other, init=tmp_path / "a", init_partial=True, **where)
    (note,) = [note for note in second.record.notes if "weights were taken" in note]
    assert "2 missing (spare.weight, spare.bias)" in note
    assert capsys.readouterr().out.count("2 missing (spare.weight, spare.bias)") == 1
    before = load_file(first.checkpoints.path(1) / "ema.safetensors")
    after = load_file(second.checkpoints.path(1) / "model.safetensors")
    assert (before["head.weight"] - after["head.weight"]).abs().max() < 1e-6
