"""Whoever made a mistake is named: a setting, or the file that said it; and files that are no configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from portbev.config import load_config, read_layers
from portbev.config.layers import find_config
from portbev.errors import ConfigError

BASE = "extends: bevdepth/tiny_test\n"


def refusal(path: Path, *items: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, items)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def layered(tmp_path: Path) -> Path:
    """A file whose base has room for mistakes."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "top.yaml").write_text("extends: base.yaml\nname: top\noptimizer: {lr: 0.1}\n")
    return tmp_path / "top.yaml"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("train.epochs=many", "--set train.epochs=many: train.epochs: Input should be a valid integer"),
        ("train.epochs=0", "--set train.epochs=0: train.epochs: Input should be greater than or equal to 1, got 0"),
        ("train.epochs=yes", "--set train.epochs=yes: train.epochs: should be a number, not true or false, got True"),
        (
            "compute.deterministic=true",
            "--set compute.deterministic=true: compute.deterministic: should be required, preferred or off; "
            "for true say required (deterministic kernels alone), got True",
        ),
        (
            "compute.deterministic=no",
            "--set compute.deterministic=no: compute.deterministic: should be required, preferred or off; "
            "for false say off (the fastest), or preferred, got False",
        ),
        ("data.sweeps=[no]", "--set data.sweeps=[no]: data.sweeps: should be a number, not true or false"),
        ("train.epoch=3", "--set train.epoch=3: unknown key 'train.epoch'. Did you mean 'epochs'?"),
        ("optimzer.lr=1", "--set optimzer.lr=1: unknown key 'optimzer'. Did you mean 'optimizer'?"),
        ("optimizer.lr=inf", "--set optimizer.lr=inf: optimizer.lr: Input should be a finite number"),
        ("optimizer.lr=.nan", "--set optimizer.lr=.nan: optimizer.lr: Input should be a finite number"),
        ("optimizer.lr=1:30", "--set optimizer.lr=1:30: optimizer.lr: Input should be a valid number"),
        ("optimizer=3", "--set optimizer=3: optimizer: should be a section, got 3. Its keys are: betas, lr"),
        ("train.ema=false", "--set train.ema=false: train.ema: should be a section, got False. Its keys are: decay"),
        ("model.head=[1]", "--set model.head=[1]: model.head: should be a section, got [1]"),
        ("optimizer={name: sgd}", "--set optimizer={name: sgd}: would drop optimizer.reference_batch, optimizer.lr"),
        ("train.epochs=", "--set: train.epochs has no value. Write train.epochs=null for none"),
        ("data.version=1.0", "--set data.version=1.0: data.version: Input should be a valid string, got 1.0. Quote it"),
        ("data.version=no", """Quote it if it is meant as text: data.version='"False"'"""),
        ("train..epochs=3", "--set: cannot read 'train..epochs=3'"),
        ("=3", "--set: cannot read '=3'"),
        ("data.sweeps=[0", "--set: value of data.sweeps is not valid YAML"),
        ("data.sweeps=&a [*a]", "--set: value of data.sweeps is line 1: a value contains itself"),
        ("model.family=7", "--set model.family=7: unknown model family 7"),
        (
            "schedule.by_epoch=true",
            "--set schedule.by_epoch=true: schedule: by_epoch is for cosine",
        ),
    ],
)
def test_a_mistake_in_a_setting_is_blamed_on_the_setting(layered: Path, item: str, message: str) -> None:
    text = refusal(layered, "train.log_every=3", item)
    assert message in text and "log_every" not in text.split("Its keys")[0].split("Known")[0]


@pytest.mark.parametrize("item", ["optimzer.lr=1", "train.emma.enabled=true", "schedule.by_epoch=true"])
def test_a_section_that_no_file_has_is_blamed_on_the_setting_alone(layered: Path, item: str) -> None:
    assert refusal(layered, item).startswith(f"--set {item}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epoch: 3}\n", "unknown key 'train.epoch'"),
        ("train: {epochs: 0}\n", "train.epochs: Input should be greater"),
        ("schedule: {by_epoch: true}\n", "schedule: by_epoch is for cosine"),
        ("model: {head: 3}\n", "model.head: should be a section, got 3"),
        ("data: {kind: nothing}\n", "unknown data.kind 'nothing'"),
        ("train:\n  epochs: 2\n  epochs: 3\n", "key 'epochs' stands twice, on lines 3 and 4"),
        ("name: a\ntrain: {}\nname: b\n", "key 'name' stands twice, on lines 2 and 4"),
        ("1: x\n", "key 1 is no text"),
        ("? [a]\n: x\n", "line 2: a key must be a word"),
        ("train: *nowhere\n", "not valid YAML"),
        ("train: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("--- \nname: b\n---\nname: c\n", "not valid YAML"),
        ("name: [" * 3000 + "\n", "not valid YAML"),
    ],
)
def test_a_mistake_in_a_base_is_blamed_on_the_base(layered: Path, text: str, message: str) -> None:
    base = layered.parent / "base.yaml"
    base.write_text(BASE + text)
    said = refusal(layered, "train.log_every=3")
    assert said.startswith(str(base)) and message in said


def test_what_the_upper_file_says_is_the_upper_files(layered: Path) -> None:
    (layered.parent / "base.yaml").write_text(BASE + "optimizer: {lr: fast}\n")
    layered.write_text("extends: base.yaml\noptimizer: {lr: faster}\n")
    assert refusal(layered).startswith(f"{layered}: optimizer.lr: ")


def test_a_schema_chosen_by_a_setting_is_named_beside_the_file_that_does_not_fit_it(layered: Path) -> None:
    said = refusal(layered, "model.family=bevformer")
    assert "tiny_test.yaml with --set model.family=bevformer: " in said


@pytest.mark.parametrize(
    "items",
    [
        ("train.epochs=2", "train.epochs=3"),
        ("train.ema.decay=0.5", "train.ema={}"),
        ("schedule={name: cosine, by_epoch: true}", "schedule.by_epoch=false"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(items: tuple[str, str]) -> None:
    said = refusal(Path("bevdepth/tiny_test"), *items)
    assert repr(items[0]) in said and repr(items[1]) in said and "set the same key" in said


def test_a_setting_given_twice_alike_is_no_contradiction_and_spaces_are_no_matter() -> None:
    config = load_config("bevdepth/tiny_test", ["train.epochs=7", "train.epochs=7", "optimizer.lr = 1e-4"])
    assert (config.train.epochs, config.optimizer.lr) == (7, 1e-4)


@pytest.mark.parametrize(
    ("text", "value"),
    [("010", 10), ("1e1", 10), ("0x10", 16), ("1_000", 1000), ("+3", 3), ("3.0", 3)],
)
def test_a_number_is_what_it_looks_like(text: str, value: int) -> None:
    assert load_config("bevdepth/tiny_test", [f"train.log_every={text}"]).train.log_every == value


def test_a_version_that_looks_like_a_date_stays_text() -> None:
    assert load_config("bevdepth/tiny_test", ["data.version=2024-01-31"]).data.version == "2024-01-31"


def test_aliases_and_merge_keys_work_and_a_flood_of_them_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_layers(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"a\.yaml: line \d+: more than 100000 values"):
        read_layers(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.yaml", b"", "is empty"),
        ("comment.yaml", b"# nothing\n", "is empty"),
        ("text.yaml", b"hello\n", "holds no mapping"),
        ("latin.yaml", "name: caf\xe9\n".encode("latin-1"), "is not UTF-8 text (byte 9)"),
        ("utf16.yaml", "name: x\n".encode("utf-16"), "is not UTF-8 text"),
        ("zero.yaml", b"name: \0\n", "not valid YAML"),
        ("huge.yaml", b"#" * (1 << 22) + b"#", "bytes, too many for a configuration"),
        ("model.py", b"_base_ = ['a.py']\n", "is a Python file"),
        ("twice.json", b'{"name": "a", "name": "b"}', "key 'name' stands twice"),
        ("cut.json", b'{"name": ', "not valid JSON"),
        ("extends.yaml", b"extends: 7\n", "extends: should be the name of a file or a list of names, got 7"),
        ("itself.yaml", b"extends: itself.yaml\n", "itself.yaml -> itself.yaml: extends itself"),
        ("folder.yaml", b"extends: .\n", "extends '.', which does not exist"),
    ],
)
def test_a_file_that_is_no_configuration_is_told_what_it_is(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    said = refusal(tmp_path / name)
    assert name in said and message in said


def test_json_with_tabs_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{\n\t"extends": "bevdepth/tiny_test",\n\t"name": "json"\n}\n')
    assert load_config(path).name == "json"


def test_a_folder_a_run_and_an_unreadable_file_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "is a folder, not a configuration" in refusal(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    assert f"is a run, not a configuration. To continue that run: portbev train --resume --out {tmp_path}" in refusal(
        tmp_path
    )
    path = tmp_path / "a.yaml"
    path.write_text("name: a\n")

    def unreadable(*args: object, **options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert refusal(path) == f"{path}: cannot be read: Permission denied"


def test_a_name_that_comes_with_portbev_may_have_its_suffix_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # in a checkout, the last name is a file
    names = ("bevdepth/laptop", "bevdepth/laptop.yaml", "configs/bevdepth/laptop.yaml")
    assert len({find_config(name).resolve() for name in names}) == 1
