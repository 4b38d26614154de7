"""Official configurations on generated data: one error with the whole command, and that command is enough."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path

import pytest

from portbev.comm import Comm
from portbev.config import RunConfig, load_config
from portbev.config.load import agreement
from portbev.config.shipped import shipped_configs
from portbev.config.typed import with_settings
from portbev.data.generated.fitting import fit_generated
from portbev.errors import ConfigError
from portbev.evaluate.checkpoints import evaluate_checkpoint
from portbev.nn.image_backbone import FrozenRandomError
from portbev.train import train
from portbev.train.output import claimed
from portbev.train.shares import equal_shares
from portbev.train.splits import open_splits
from portbev_radial.synth import RadialSynthOptions
from portbev_radial.synth import generate as generate_radial


@pytest.fixture
def comm() -> Comm:
    return Comm()


OFFICIAL = [name for name in shipped_configs() if name.split("/")[1] not in ("laptop", "tiny_test")]


@pytest.fixture(scope="module")
def radial_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = RadialSynthOptions(sequences=2, frames=2, samples=64, chirps=32, azimuths=31, image_size=(96, 54))
    return generate_radial(tmp_path_factory.mktemp("radial") / "tiny", options)


def told(config: RunConfig, root: str, name: str, frozen: FrozenRandomError | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        fit_generated(config, root, ["/usr/bin/portbev", "train", name, "--data-root", root], frozen=frozen)
    return str(caught.value)


def settings(line: str) -> list[str]:
    """The values of ``--set`` in the command that an error names."""
    words = shlex.split(line.partition("Type: ")[2].partition(" (with")[0])
    return [value for option, value in itertools.pairwise(words) if option == "--set"]


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_configuration_opens_generated_data_with_what_one_error_names(
    name: str, tiny_root: Path, radial_root: Path, comm: Comm
) -> None:
    root = str(radial_root if name.startswith("echofusion") else tiny_root)
    config = load_config(name)
    line = told(config, root, name)
    assert "\n" not in line and f"Type: portbev train {name} --data-root {root} --set " in line
    mended = load_config(name, [*settings(line), "data.workers=0"])
    fit_generated(mended, root, [])
    assert open_splits(mended, root, comm, equal_shares(mended.train.batch_size, comm)).steps_per_epoch > 0
    agreement(mended)


def test_missing_weights_of_a_frozen_backbone_are_in_the_same_error(tiny_root: Path) -> None:
    frozen = FrozenRandomError("no weights")
    frozen.settings = {"model.image_backbone.frozen_stages": -1}
    line = told(load_config("bevformer/tiny"), str(tiny_root), "bevformer/tiny", frozen)
    assert "data.version=v1.0-mini" in settings(line) and "model.image_backbone.frozen_stages=-1" in settings(line)
    assert "model.image_backbone.weights=FILE in place of" in line


def test_an_evaluation_asks_for_version_and_split_alone(tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Set data.version=v1.0-mini data.eval_split=synth_val$"):
        evaluate_checkpoint(tmp_path / "gone.pth", load_config("bevformer/tiny"), backend="cpu", data_root=tiny_root)


def test_without_data_and_without_weights_one_error_asks_for_both() -> None:
    frozen = FrozenRandomError("no weights", where="model.image_backbone", cure="Name them: --set weights=FILE")
    with pytest.raises(ConfigError, match=r"no data root, and no weights. .*--data-root DIR. .*weights=FILE"):
        fit_generated(load_config("bevformer/tiny"), None, [], frozen=frozen)


def test_data_that_will_be_generated_are_known_before_they_are() -> None:
    line = told(load_config("bevformer/tiny"), "synthetic:?scenes=1&version=v1.0-trainval", "bevformer/tiny")
    assert settings(line) == ["data.train_split=synth_train", "data.eval_split=synth_train"]


def test_generated_data_of_another_data_set_are_refused_with_the_root_that_generates_the_right_ones() -> None:
    with pytest.raises(ConfigError, match=r"in the form of nuscenes, and data.kind .* is radial.*synthetic-radial:"):
        fit_generated(load_config("echofusion/rt"), "synthetic:?scenes=1", [])


def test_other_data_keep_the_error_of_the_frozen_backbone(tmp_path: Path) -> None:
    config = load_config("bevformer/tiny")
    fit_generated(config, tmp_path, [], frozen=FrozenRandomError("no weights"))
    with pytest.raises(FrozenRandomError, match="frozen_stages is 1 and frozen_norms is true"):
        train(config, backend="cpu", data_root=tmp_path, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_was_typed_of_the_same_keys_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["portbev", "train", "x.yaml", "--cfg-options", "a.b=1", "--out", "o", "--set=c=2", "--set", "d=3", "e=4"]
    assert with_settings(typed, {"a.b": "v1", "c": [1, 2], "d": None}) == (
        "portbev train x.yaml --out o --set e=4 --set a.b=v1 --set 'c=[1, 2]' --set d=null"
    )
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "any"}.items():
        monkeypatch.setenv(name, value)
    assert with_settings(typed[:3], {"a": True}) == ("torchrun --nproc-per-node 2 -m portbev train x.yaml --set a=true")


def test_folders_made_for_a_run_that_cannot_begin_are_gone_and_others_stay(tmp_path: Path, comm: Comm) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "a" / "b", comm, resume=False):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(RuntimeError), claimed(tmp_path / "mine", comm, resume=False):
        raise RuntimeError
    with claimed(tmp_path / "c" / "d", comm, resume=False):
        (tmp_path / "c" / "d" / "run.json").write_text("{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "mine"]
    assert (tmp_path / "c" / "d" / "run.json").exists()
