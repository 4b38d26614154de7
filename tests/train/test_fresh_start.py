"""Files of weights that a configuration names are read where a run starts anew, and nowhere else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from portbev.config import RunConfig, load_config
from portbev.errors import CheckpointError, ConfigError
from portbev.evaluate.checkpoints import evaluate_run
from portbev.plugins import plugins
from portbev.train import train
from portbev.train.start import load_start

Toy = Callable[..., RunConfig]
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def reads(toy_family: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The toy model starts from a file; what it read is listed."""
    import toy_plugin

    said: list[str] = []

    def load_pretrained(self: Any) -> list[str]:
        torch.nn.init.constant_(self.head.bias, 0.25)
        said.append("toy.pth")
        return ["started from toy.pth"]

    monkeypatch.setattr(toy_plugin.ToyModel, "load_pretrained", load_pretrained)
    return said


def stopped_early(run: Path, copy: Path) -> None:
    """A copy of a run as if it had been stopped before its first checkpoint."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "checkpoints")
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**record, "status": "interrupted", "finished": None}))


def test_only_a_fresh_start_reads_the_files(toy: Toy, tiny_root: Path, tmp_path: Path, reads: list[str]) -> None:
    out = tmp_path / "run"
    steps: dict[str, Any] = {"backend": "cpu", "data_root": tiny_root, "out": out}
    run = train(toy(train__max_steps=1), **steps)
    assert reads == ["toy.pth"] and "started from toy.pth" in run.record.notes
    train(toy(train__max_steps=2), **steps, resume=True)
    evaluate_run(out, backend="cpu", data_root=tiny_root, out=tmp_path / "scored")
    newest = run.checkpoints.path(run.checkpoints.steps()[-1])
    other = train(toy(train__max_steps=1), **{**steps, "out": tmp_path / "other"}, init=newest)
    assert reads == ["toy.pth"] and "started from toy.pth" not in other.record.notes


def test_a_run_stopped_before_its_first_checkpoint_starts_anew_from_the_files(
    toy: Toy, tiny_root: Path, tmp_path: Path, reads: list[str]
) -> None:
    out = tmp_path / "run"
    whole = train(toy(train__max_steps=1), backend="cpu", data_root=tiny_root, out=tmp_path / "whole")
    stopped_early(whole.path, out)
    resumed = train(toy(train__max_steps=2), backend="cpu", data_root=tiny_root, out=out, resume=True)
    assert reads == ["toy.pth", "toy.pth"]
    assert resumed.scalars()[0].losses == whole.scalars()[0].losses


def test_a_run_stopped_before_its_first_checkpoint_starts_anew_from_the_checkpoint_it_was_given(
    toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"backend": "cpu", "data_root": tiny_root}
    donor = train(toy(train__max_steps=3), **how, out=tmp_path / "donor")
    init = donor.checkpoints.path(donor.checkpoints.steps()[-1])
    whole = train(toy(train__max_steps=1), **how, out=tmp_path / "whole", init=init)
    assert whole.record.init == str(init)
    stopped_early(whole.path, tmp_path / "run")
    resumed = train(toy(train__max_steps=1), **how, out=tmp_path / "run", resume=True)
    assert resumed.scalars()[0].losses == whole.scalars()[0].losses
    assert resumed.record.init == str(init)


def test_a_part_of_a_checkpoint_must_have_the_frozen_layers_or_a_file_must(tmp_path: Path) -> None:
    def build(*changes: str) -> tuple[Any, Any]:
        frozen = ["model.image_backbone.frozen_stages=1", *changes]
        section = load_config(str(CONFIGS / "bevformer" / "tiny_test.yaml"), frozen).model
        family = plugins().models()["bevformer"]
        return family.build(section), family

    donor, family = build()
    state = donor.state_dict()
    for name, part in {"whole": ("",), "rest": ("encoder", "head"), "stem": ("img_backbone.conv1", "head")}.items():
        save_file({key: value.clone() for key, value in state.items() if key.startswith(part)}, tmp_path / name)
    backbone = {key.removeprefix("img_backbone."): w for key, w in state.items() if key.startswith("img_backbone.")}
    torch.save(backbone, tmp_path / "backbone.pth")

    model, _ = build()
    load_start(model, family, tmp_path / "whole", partial=True)
    assert torch.equal(model.img_backbone.conv1.weight, donor.img_backbone.conv1.weight)
    for part in ("rest", "stem"):
        with pytest.raises(ConfigError, match="frozen_stages is 1"):
            load_start(build()[0], family, tmp_path / part, partial=True)
    model, _ = build(f"model.image_backbone.weights={tmp_path / 'backbone.pth'}")
    load_start(model, family, tmp_path / "rest", partial=True)
    assert all(torch.equal(value, backbone[key]) for key, value in model.img_backbone.state_dict().items())
    weight = "encoder.layers.0.temporal.value_proj.weight"
    assert torch.equal(model.get_parameter(weight), state[weight])


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ("bevformer/tiny", ConfigError, "frozen_stages=-1 model.image_backbone.frozen_norms=false"),
        ("echofusion/rt_img", ConfigError, "frozen_stages=-1"),
        ("bevdepth/r50_256x704_128x128_24e", ConfigError, "frozen_stages=-1"),
        ("bevformer/tiny_test", CheckpointError, "gone.pth"),
    ],
)
def test_what_is_wrong_with_the_weights_is_told_before_any_data_are_generated(
    config: str, error: type[Exception], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    changes = ["model.image_backbone.depth=18", "model.image_backbone.base_channels=4"]
    changes += ["model.image_backbone.weights=gone.pth"] if "gone" in said else []
    settings = load_config(str(CONFIGS / f"{config}.yaml"), changes)
    root = "synthetic-radial:?seed=77" if config.startswith("echofusion") else "synthetic:?scenes=2&seed=77"
    with pytest.raises(error, match=said):
        train(settings, backend="cpu", data_root=root, out=tmp_path / "run")
    assert not (tmp_path / "cache").exists()
