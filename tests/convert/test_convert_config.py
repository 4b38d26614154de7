"""``portbev convert config``: the originals' configurations say what ours say, and nothing in them is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import standin_bevdepth
import standin_bevformer
import standin_echofusion

from portbev.cli import main
from portbev.config import load_config
from portbev.config.meaning import Meaning
from portbev.config.section import keys_of
from portbev.convert.config import account, convert_config
from portbev.convert.expressions import Called
from portbev.convert.settings import merge
from portbev.convert.source import read_source
from portbev.errors import ConfigError

NOT_IN_FILES = {"compute.deterministic": (standin_bevformer, standin_echofusion)}
"""Settings of the originals' command lines."""
PAIRS = [
    *((standin_bevformer, f"bevformer_{size}", f"bevformer/{size}") for size in ("tiny", "tiny_fp16", "small", "base")),
    *((standin_bevdepth, name, f"bevdepth/{name}") for name in standin_bevdepth.EXPERIMENTS),
    *(
        (standin_echofusion, name, f"echofusion/{name}")
        for name in ("rt", "rt_img", "rd_img", "ra_img", "adc_img", "pc_img")
    ),
]


@pytest.mark.parametrize(("dialect", "name", "ours"), PAIRS, ids=[pair[2] for pair in PAIRS])
def test_an_original_resolves_to_the_configuration_that_comes_with_portbev(
    dialect: Any, name: str, ours: str, tmp_path: Path
) -> None:
    converted = convert_config(dialect.write(tmp_path, name))
    sides = [load_config(converted.values), load_config(ours)]
    theirs, shipped = ({key: value for key, value, meaning in keys_of(one) if _matters(meaning)} for one in sides)
    differing = {key for key in {*theirs, *shipped} if theirs.get(key) != shipped.get(key)}
    assert {key for key in differing if dialect not in NOT_IN_FILES.get(key, ())} == set()
    assert converted.different == [] and converted.without == []


def _matters(meaning: Meaning) -> bool:
    return meaning is not Meaning.NEITHER


def test_the_written_file_is_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = standin_bevformer.write(tmp_path, "bevformer_base"), tmp_path / "mine.yaml"
    assert main(["convert", "config", str(source), "-o", str(out), "--name", "mine", "--devices", "4"]) == 0
    said = capsys.readouterr().out
    config = load_config(out)
    assert config.name == "mine" and config.optimizer.reference_batch == 4
    assert "ckpts/r101_dcn_fcos3d_pretrain.pth" in said and "--devices" in said
    assert "bev_size: [200, 200]" in out.read_text() and "# model.pts_bbox_head.bev_h, bev_w" in out.read_text()
    assert main(["convert", "config", str(source), "-o", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_without_a_file_the_terminal_gets_yaml_alone_on_stdout(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = standin_bevdepth.write(tmp_path, "r50_256x704_128x128_24e")
    assert main(["convert", "config", str(path)]) == 0
    said = capsys.readouterr()
    out = tmp_path / "piped.yaml"
    out.write_text(said.out)
    assert load_config(out).model.family == "bevdepth"
    assert "note: " in said.err


def test_what_the_models_here_cannot_do_is_told(tmp_path: Path) -> None:
    path = standin_bevformer.write(tmp_path, "bevformer_tiny")
    path.write_text(
        path.read_text()
        + "\nmodel['img_backbone']['type'] = 'SwinTransformer'"
        + "\nmodel['pts_bbox_head']['transformer']['use_shift'] = False"
        + "\nmodel['pts_bbox_head']['new_trick'] = 3\nlr_config = dict(policy='cyclic')\nunheard_of = dict(a=1)\n"
    )
    converted = convert_config(path)
    different = {place: here for place, _, here in converted.different}
    assert {"model.img_backbone.type", "model.pts_bbox_head.transformer.use_shift", "lr_config.policy"} == set(
        different
    )
    assert ("model.pts_bbox_head.new_trick", 3) in converted.without and ("unheard_of.a", 1) in converted.without
    text = "\n".join(account(converted))
    assert "different here (3)" in text and "new_trick = 3" in text


def test_a_wrapper_of_the_training_data_is_looked_into_and_told(tmp_path: Path) -> None:
    path = standin_bevformer.write(tmp_path, "bevformer_base")
    path.write_text(
        path.read_text() + "\ndata['train'] = dict(_delete_=True, type='CBGSDataset', dataset=data['train'])\n"
    )
    converted = convert_config(path)
    assert [place for place, *_ in converted.different] == ["data.train.type"] and converted.without == []
    assert converted.values["data"]["queue_length"] == 4 and converted.values["data"]["bgr"] is True


def test_what_the_file_leaves_to_defaults_is_named(tmp_path: Path) -> None:
    path = standin_bevformer.write(tmp_path, "bevformer_tiny")
    path.write_text(path.read_text() + "\ndel model['pts_bbox_head']['num_query']\n")
    (note,) = [one for one in convert_config(path).notes if "does not say" in one]
    assert "model.decoder.queries" in note and "model.hidden" not in note


def test_an_experiment_of_the_first_releases_has_its_own_layer(tmp_path: Path) -> None:
    path = standin_bevdepth.write(tmp_path, "r50_256x704_128x128_20e_cbgs_2key_da")
    text = path.read_text().replace("        self.backbone_conf['use_da'] = True\n", "")
    layer = "class DepthAggregation:\n    pass\n\n\nclass BEVDepth:\n    pass\n\n\nclass BEVDepthLightningModel"
    path.write_text(text.replace("class BEVDepthLightningModel", layer).replace("BaseBEVDepth(", "BEVDepth("))
    converted = convert_config(path)
    assert converted.values["model"]["depth_aggregation"] is True and converted.different == []


def test_a_file_derived_from_an_original_inherits_as_mmcv_does(tmp_path: Path) -> None:
    base = standin_bevformer.write(tmp_path, "bevformer_tiny")
    path = base.with_name("derived.py")
    path.write_text(
        "_base_ = './bevformer_tiny.py'\n"
        "scale = 2\n"
        "model = dict(pts_bbox_head=dict(bev_h=50 * scale, bev_w=scale * 50,\n"
        "    positional_encoding=dict(row_num_embed=100, col_num_embed=100),\n"
        "    num_query={{_base_.data.workers_per_gpu}} * 50))\n"
        "data = dict(train=dict(bev_size=(100, 100)), val=dict(bev_size=(100, 100)), test=dict(bev_size=(100, 100)))\n"
        "lr_config = dict(_delete_=True, policy='step', step=[16, 22])\n"
        "data['train']['queue_length'] = len([i for i in range(10) if i % 2])\n"
    )
    converted = convert_config(path)
    values = converted.values
    assert converted.different == []
    assert values["model"]["bev_size"] == [100, 100] and values["model"]["decoder"]["queries"] == 200
    assert values["schedule"] == {"name": "multistep", "milestones": [16, 22], "gamma": 0.1}
    assert values["data"]["queue_length"] == 5 and values["model"]["image_backbone"]["depth"] == 50


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": {"b": 1}}, {"a": {"_delete_": True, "d": 1}}, {"a": {"d": 1}}),
        ({"a": [{"b": 1}, 2]}, {"a": {"0": {"b": 5}}}, {"a": [{"b": 5}, 2]}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
    ],
)
def test_dictionaries_merge_as_in_mmcv(base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge(base, over, "") == merged


MARK = (
    "import os\nos.system('touch {mark}')\nvalue = __import__('os').system('touch {mark}')\nx = open('{mark}', 'w')\n"
)


@pytest.mark.parametrize("dialect", ["config", "experiment"])
def test_nothing_in_a_file_is_executed(dialect: str, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    text = MARK.format(mark=mark)
    if dialect == "config":
        path = standin_bevformer.write(tmp_path, "bevformer_tiny")
    else:
        path = standin_bevdepth.write(tmp_path, "r50_256x704_128x128_24e_ema")
        text += f"class Evil:\n    def __init__(self):\n        open('{mark}', 'w')\nEvil()\n"
    path.write_text(text + path.read_text())
    source = read_source(path)
    assert not mark.exists()
    assert source.kind == dialect
    if dialect == "config":
        assert isinstance(source.values["x"], Called)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = 9 ** 9 ** 9 ** 9\n", "cannot be computed"),
        ("a = 'x' * 10 ** 12\n", "cannot be computed"),
        ("a = [0] * 99999\nb = [a] * 99999\nmodel = dict(type='BEVFormer', x=b)\n", "more values than a configuration"),
        ("a = " + "(" * 5000 + "1" + ")" * 5000, "is no Python"),
        ("a = " + "-" * 3000 + "1", ""),
        ("model = dict(\n", "is no Python"),
        ("model = lambda x: x\n", "is not read"),
        ("for i in range(3):\n    a = i\n", "a loop is not read"),
        ("with read_base():\n    from .x import *\n", "a with statement is not read"),
        ("a = 1 / 0\n", "ZeroDivisionError"),
        ("_base_ = 'itself.py'\n", "inherits from itself"),
        ("_base_ = 3\n", "names no files"),
        ("model = dict(type='DETR')\n", "no configuration that a model family here knows (model DETR)"),
        ("", "no configuration that a model family here knows"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "itself.py"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        convert_config(path)
    line = str(refused.value)
    assert said in line and "\n" not in line and str(path) in line


def test_other_files_are_refused_by_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    binary = tmp_path / "binary.py"
    binary.write_bytes(b"\x80\x04\xff\xfe")
    for path in (tmp_path / "absent.py", tmp_path, binary):
        assert main(["convert", "config", str(path)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and str(path) in error


def test_an_experiment_outside_its_checkout_says_what_it_lacks(tmp_path: Path) -> None:
    path = standin_bevdepth.write(tmp_path, "r50_256x704_128x128_24e_2key")
    alone = tmp_path / "elsewhere" / "bev_24e_2key.py"
    alone.parent.mkdir()
    alone.write_text(path.read_text())
    (tmp_path / "bevdepth").rename(tmp_path / "moved")
    with pytest.raises(ConfigError, match="no configuration that a model family here knows"):
        convert_config(alone)
    (tmp_path / "elsewhere" / "ema.py").write_text(
        "from x.cli import run_cli\nfrom x.y import Model\nif __name__ == '__main__':\n    run_cli(Model, 'a')\n"
    )
    with pytest.raises(ConfigError, match="Give the file inside a checkout"):
        convert_config(tmp_path / "elsewhere" / "ema.py")


def test_the_values_are_checked_as_any_configuration(tmp_path: Path) -> None:
    path = standin_bevformer.write(tmp_path, "bevformer_tiny")
    path.write_text(path.read_text() + "\nmodel['pts_bbox_head']['transformer']['encoder']['num_layers'] = 0\n")
    with pytest.raises(ConfigError, match=r"model\.encoder\.layers") as refused:
        convert_config(path)
    assert str(path) in str(refused.value)
