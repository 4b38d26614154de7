"""Every key says what it means; the page of all keys is fresh."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from portbev.config import Meaning, load_config
from portbev.config.keys import Group, find_keys, groups
from portbev.config.load import layers_of, validated
from portbev.config.page import page
from portbev.config.readers import readers
from portbev.config.section import Section, keys_of
from portbev.config.shipped import description, shipped_configs, who_says
from portbev.config.type_text import type_text
from portbev.config.written import annotated, origins, written
from portbev.config.yamls import parse_yaml
from portbev.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted(shipped_configs())


def test_the_page_of_all_keys_is_what_the_schemas_say_now():
    committed = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert committed == page(), "portbev config page > docs/configuration.md"


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.title)
def test_no_key_lacks_a_meaning(group: Group):
    for key in group.keys:
        assert key.text.endswith(".") and key.text[0] in "`ft" + key.text[0].upper(), key.path
        assert "Annotated" not in key.kind and "typing" not in key.kind and key.kind, key.path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_of_a_shipped_configuration_is_on_the_page_with_its_class(name: str):
    known = {(key.path, key.meaning) for group in groups() for key in group.keys}
    mappings = tuple(f"{key.path}." for group in groups() for key in group.keys if key.kind.startswith("mapping"))
    for key, _, meaning in keys_of(load_config(name)):
        assert (key, meaning) in known or key.startswith(mappings), key


def test_defaults_and_classes_are_those_of_the_place_and_not_of_the_class():
    class Inner(Section):
        size: int = Field(1, ge=1)
        """How large. [cells]"""

    class Outer(Section):
        here: Inner = Inner(size=3)
        there: Annotated[Inner, Meaning.HOW] = Inner()

    from portbev.config.keys import _keys

    here, there = _keys(Outer, "", (), None)
    assert (here.path, here.default, here.meaning) == ("here.size", "3", Meaning.WHAT)
    assert (there.path, there.default, there.meaning) == ("there.size", "1", Meaning.HOW)
    assert (here.text, here.unit, here.kind) == ("How large.", "cells", "whole number >= 1")


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (float | None, "number or null"),
        (Literal["a", "b"], "`a` or `b`"),
        (Literal["dynamic"] | Annotated[float, Field(gt=0)], "`dynamic` or number > 0"),
        (tuple[float, float, float], "3 of: number"),
        (tuple[str, ...], "list of: text"),
        (tuple[tuple[str, ...], ...], "list of: list of: text"),
        (dict[str, Annotated[float, Field(ge=0)]], "mapping of text to number >= 0"),
        (bool, "true or false"),
    ],
)
def test_types_are_said_in_words(annotation, said: str):
    assert type_text(annotation) == said


@pytest.mark.parametrize("name", SHIPPED)
def test_a_configuration_that_is_shown_reads_back_as_the_same(name: str, tmp_path: Path):
    layers = layers_of(name)
    config = validated(layers)
    shown = tmp_path / "shown.yaml"
    shown.write_text(annotated(config, origins(config, layers)))
    assert load_config(shown) == config


@pytest.mark.parametrize("value", ["off", "no", "1e-4", "a: b", "synthetic:?a=1", "", "é", "x, y", 1e-7, 3, [1.5, "b"]])
def test_a_written_value_reads_back_as_the_same(value):
    assert parse_yaml(f"[{written(value)}]", "") == [value]
    assert parse_yaml(f"key: {written(value)}", "") == {"key": value}


def test_who_said_a_value_is_the_last_who_did(tmp_path: Path):
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: bevformer/tiny\nname: mine\nmodel: {quirks: fixed}\noptimizer: {lr: 1e-3}\n")
    layers = layers_of(mine, ["train.epochs=1"])
    said = origins(validated(layers), layers)
    assert said["optimizer.lr"] == said["model.quirks.image_size"] == str(mine)
    assert said["optimizer.reference_batch"] == "bevformer/_base.yaml"
    assert (said["train.epochs"], said["model.heads"]) == ("--set train.epochs=1", "default")
    assert said["data.queue_length"] == "bevformer/tiny.yaml"


def test_a_key_is_found_by_its_path_its_end_its_section_and_as_the_key_of_a_mapping():
    assert [key.path for key in find_keys("optimizer.lr")] == ["optimizer.lr"]
    assert {key.path for key in find_keys("reference_batch")} == {"optimizer.reference_batch"}
    assert {key.path for key in find_keys("train.ema")} >= {"train.ema.decay", "train.ema.ramp"}
    assert [key.path for key in find_keys("lr_multipliers.img_backbone")] == ["optimizer.lr_multipliers"]
    one, other = find_keys("model.decode.score_threshold")
    assert one.of == ("model.family: bevdepth",) and other.of == ("model.family: bevformer",)


@pytest.mark.parametrize(
    ("word", "near"),
    [("optimizer.lrr", "'optimizer.lr'"), ("train.lr", "'optimizer.lr'"), ("epoch", "'epochs'")],
)
def test_an_unknown_key_is_told_the_nearest(word: str, near: str):
    with pytest.raises(ConfigError, match=f"unknown key '{word}'. Did you mean {near}"):
        find_keys(word)


def test_where_a_key_is_read_is_where_the_code_has_it():
    for word in ("optimizer.reference_batch", "model.depth_aggregation", "model.image_backbone.frozen_norms"):
        (key,) = find_keys(word)
        places = [place for place in readers(key) if ":" in place]
        assert places
        for place in places:
            name, _, number = place.rpartition(":")
            (path,) = [found for top in ("", "plugins/") if (found := ROOT / f"{top}{name}").is_file()]
            assert key.name in path.read_text().splitlines()[int(number) - 1]


def test_shipped_configurations_say_what_they_are_and_who_sets_a_key():
    for name, path in shipped_configs().items():
        assert re.match(r"\w.{20,}", description(path)), name
    assert who_says("optimizer.reference_batch")["bevdepth/_base"] == 64
    assert who_says("model.no.such.key") == {}
