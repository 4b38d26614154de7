"""Configurations: inheritance, overrides, and one clear line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

import portbev_nuscenes
import portbev_radial
from portbev.config import Meaning, config_digest, dump_config, load_config, meanings, read_layers
from portbev.config.schema import ModelSection, RunConfig
from portbev.errors import ConfigError
from portbev.hookspecs import hookimpl
from portbev.plugins import Plugins
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData


class ToyOptions(ModelSection):
    family: str = "toy"
    width: int = 8
    inner: dict[str, int] = Field(default_factory=dict)


class ToyFamily:
    name = "toy"
    config = ToyOptions
    takes = ("nuscenes", "nuscenes_queue")

    def agree(self, config: RunConfig) -> list[str]:
        return []


class ToyPlugin:
    @hookimpl
    def portbev_models(self) -> list[ToyFamily]:
        return [ToyFamily()]


@pytest.fixture
def toys() -> Plugins:
    def load(found: Plugins) -> None:
        found.register(ToyPlugin(), "toy")
        found.register(portbev_nuscenes, "nuscenes")
        found.register(portbev_radial, "radial")

    return Plugins(load)


BASE = "name: base\nmodel: {family: toy, width: 4}\ndata: {sweeps: [0]}\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_off_is_a_word_in_files_and_settings_and_determinism_is_preferred(tmp_path: Path, toys: Plugins) -> None:
    path = write(tmp_path, "off.yaml", BASE + "compute: {deterministic: off}\ntrain: {tensorboard: on}\n")
    config = load_config(path, among=toys)
    assert (config.compute.deterministic, config.train.tensorboard) == ("off", True)
    assert load_config(path, ["compute.deterministic=required"], among=toys).compute.deterministic == "required"
    assert load_config(write(tmp_path, "plain.yaml", BASE), among=toys).compute.deterministic == "preferred"


def test_extends_merges_sections_and_the_later_file_wins(tmp_path: Path, toys: Plugins) -> None:
    write(tmp_path, "a.yaml", BASE + "optimizer: {lr: 0.1, weight_decay: 0.5}\n")
    write(tmp_path, "b.yaml", "optimizer: {lr: 0.2}\ndata: {sweeps: [0, 1]}\n")
    top = write(tmp_path, "c.yaml", "extends: [a.yaml, b.yaml]\nname: top\nmodel: {inner: {x: 1}}\n")
    config = load_config(top, among=toys)
    assert (config.name, config.optimizer.lr, config.optimizer.weight_decay) == ("top", 0.2, 0.5)
    assert config.data.sweeps == (0, 1)
    assert config.model == ToyOptions(width=4, inner={"x": 1})


def test_a_circle_of_extends_is_named(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml\n")
    write(tmp_path, "b.yaml", "extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"a\.yaml -> b\.yaml.*extends itself"):
        read_layers(tmp_path / "a.yaml")


def test_overrides_are_yaml_and_reach_every_depth(tmp_path: Path, toys: Plugins) -> None:
    path = write(tmp_path, "a.yaml", BASE)
    sets = ["optimizer.lr=1e-4", "data.sweeps=[0, 2]", "train.ema.enabled=false", "model.width=16"]
    config = load_config(path, [*sets, "train.max_steps=null"], among=toys)
    assert config.optimizer.lr == 1e-4
    assert config.data.sweeps == (0, 2)
    assert config.train.ema.enabled is False
    assert config.train.max_steps is None
    assert config.model.width == 16


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("optimizer.learning_rate=1", r"unknown key 'optimizer.learning_rate'"),
        ("optimizer.lrr=1", r"unknown key 'optimizer.lrr'\. Did you mean 'lr'\?"),
        ("train.ema.decai=0.9", r"unknown key 'train.ema.decai'\. Did you mean 'decay'\?"),
        ("model.widht=3", r"unknown key 'model.widht'\. Did you mean 'width'\?"),
        ("model.width=wide", r"model.width: .*valid integer.*'wide'"),
        ("optimizer.lr=fast", r"optimizer.lr: .*valid number.*'fast'"),
        ("compute.amp=fp8", r"compute.amp: .*'fp8'"),
        ("train.amp=fp16", r"unknown key 'train.amp'\. Did you mean 'compute.amp'\?"),
        (
            "data.kind=radial",
            r"data.kind is radial, which model family toy does not take\. Set data.kind to nuscenes or",
        ),
        ("model=7", r"model: should be a section, got 7"),
        ("model={width: 3}", r"would drop model.family\. Set its keys one by one: --set model.width=\.\.\."),
        ("model={}", r"'model.family' is missing"),
        ("model.family=toyy", r"unknown model family 'toyy'\. Did you mean 'toy'\?"),
        ("optimizer.lr", r"cannot read 'optimizer.lr'"),
        ("name.deeper=1", r"'name' in 'name.deeper' is a value"),
        ("data.sweeps=[0", r"data.sweeps is not valid YAML"),
    ],
)
def test_a_mistake_gives_one_line_with_the_key(tmp_path: Path, toys: Plugins, item: str, message: str) -> None:
    path = write(tmp_path, "a.yaml", BASE)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, [item], among=toys)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b\n", "holds no mapping"),
        ("a: [1\n", "not valid YAML"),
        ("extends: none.yaml\n", "extends 'none.yaml', which does not exist"),
        ("name: x\nmodel: {family: toy}\n", "'data' is missing"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, toys: Plugins, text: str, message: str) -> None:
    path = write(tmp_path, "bad.yaml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path, among=toys)
    assert "bad.yaml" in str(caught.value)


def test_an_unknown_configuration_names_the_nearest(toys: Plugins) -> None:
    with pytest.raises(ConfigError, match="no such configuration"):
        load_config("bevdepth/laptopp", among=toys)


def test_the_dump_loads_to_the_same_configuration(tmp_path: Path, toys: Plugins) -> None:
    config = load_config(write(tmp_path, "a.yaml", BASE), ["data.sweeps=[0,1]"], among=toys)
    again = load_config(dump_config(config), among=toys)
    assert again == config


def test_the_digest_sees_what_changes_numbers_and_nothing_else(tmp_path: Path, toys: Plugins) -> None:
    path = write(tmp_path, "a.yaml", BASE)
    digest = config_digest(load_config(path, among=toys))
    assert config_digest(load_config(path, ["data.root=/elsewhere", "data.workers=0", "name=b"], among=toys)) == digest
    assert config_digest(load_config(path, ["optimizer.lr=0.3"], among=toys)) != digest
    assert config_digest(load_config(path, ["model.width=5"], among=toys)) != digest


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("data.sweepz=[0]", r"unknown key 'data.sweepz'\. Did you mean 'sweeps'\?"),
        ("data.image.resise=1", r"unknown key 'data.image.resise'\. Did you mean 'resize'\?"),
        ("data.image.flip=perhaps", r"data.image.flip: .*'perhaps'"),
        ("data.kind=nuscenes_queu", r"unknown data.kind 'nuscenes_queu'\. Did you mean 'nuscenes_queue'\?"),
        ("data.kind=nuscenes_queue", r"unknown key 'data.sweeps'"),
        ("data=7", r"data: should be a section, got 7"),
        ("data.train_split=''", r"data.train_split: .*at least 1 character"),
    ],
)
def test_a_mistake_in_a_data_section_names_the_keys_of_its_kind(toys: Plugins, item: str, message: str) -> None:
    raw = {"name": "x", "model": {"family": "toy"}, "data": {"sweeps": [0]}}
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(raw, [item], among=toys)
    assert "nuscenes.sweepz" not in str(caught.value) and "\n" not in str(caught.value)


def test_the_kind_of_data_chooses_the_schema_and_nuscenes_needs_no_mention(toys: Plugins) -> None:
    raw = {"name": "x", "model": {"family": "toy"}, "data": {"workers": 1}}
    assert isinstance(load_config(raw, among=toys).data, NuscenesData)
    queue = load_config(raw, ["data.kind=nuscenes_queue", "data.queue_length=4"], among=toys)
    assert isinstance(queue.data, NuscenesQueueData) and queue.data.queue_length == 4
    assert queue.data.cameras[0] == "CAM_FRONT"
    assert load_config(dump_config(queue), among=toys) == queue
    with pytest.raises(ConfigError, match=r"unknown key 'data.queue_lenght'\. Did you mean 'queue_length'"):
        load_config(raw, ["data.kind=nuscenes_queue", "data.queue_lenght=4"], among=toys)


def test_every_key_says_what_it_means_where_it_is_defined(toys: Plugins) -> None:
    config = load_config(
        {"name": "x", "model": {"family": "toy"}, "data": {}}, ["compute.kernels.fft=torch"], among=toys
    )
    meant = meanings(config)
    assert {key for key, meaning in meant.items() if meaning is Meaning.NEITHER} == {
        "name", "data.root", "data.workers", "train.log_every", "train.tensorboard",
    }  # fmt: skip
    assert {key for key, meaning in meant.items() if meaning is Meaning.WATCH} == {
        "data.eval_stride", "train.max_steps", "train.eval_every", "train.checkpoint.every_steps",
        "train.checkpoint.keep", "train.checkpoint.best", "eval.batch_size", "eval.use_ema",
    }  # fmt: skip
    assert {key for key, meaning in meant.items() if meaning is Meaning.HOW and not key.startswith("compute.")} == {
        "train.batch_size", "train.accumulate", "train.sync_batchnorm", "train.find_unused_parameters", "train.seed",
    }  # fmt: skip
    assert {key for key, meaning in meant.items() if meaning is Meaning.SCORE} == {"data.eval_split"}
    assert {meaning for key, meaning in meant.items() if key.startswith("compute.")} == {Meaning.HOW}
    assert meant["compute.kernels.fft"] is Meaning.HOW
    assert {meant[key] for key in ("model.width", "data.cameras", "optimizer.lr", "train.ema.decay")} == {Meaning.WHAT}


def test_how_it_is_computed_leaves_the_digest_alone(toys: Plugins) -> None:
    raw = {"name": "x", "model": {"family": "toy"}, "data": {}}
    digest = config_digest(load_config(raw, among=toys))
    how = [
        "compute.weight_gradients=avx2",
        "compute.threads=3",
        "compute.kernels.fft=torch",
        "train.seed=4",
        "eval.batch_size=2",
    ]
    assert config_digest(load_config(raw, how, among=toys)) == digest


def test_the_caller_s_mapping_is_left_alone_by_overrides(toys: Plugins) -> None:
    raw = {"name": "x", "model": {"family": "toy"}, "data": {}}
    load_config(raw, ["model.width=9", "data.workers=0"], among=toys)
    assert raw == {"name": "x", "model": {"family": "toy"}, "data": {}}


@pytest.mark.parametrize("family", ["bevdepth", "bevformer", "echofusion"])
def test_every_shipped_configuration_loads_and_its_dump_too(family: str) -> None:
    folder = Path(__file__).resolve().parents[2] / "configs" / family
    files = sorted(path for path in folder.glob("*.yaml") if not path.name.startswith("_"))
    assert files
    for path in files:
        config = load_config(path)
        assert load_config(dump_config(config)) == config
