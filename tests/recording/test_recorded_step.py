"""What a dump of a real step holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from making import CONFIG, MakeDump

from portbev.errors import PortbevError
from portbev.parity.dumps.compare import compare
from portbev.parity.dumps.one_pass import seek_one_pass
from portbev.parity.dumps.reading import Dump, load_dump
from portbev.parity.dumps.sketch import sketch
from portbev.recording.dump import Plan, dump
from portbev.recording.step import read_source


def test_every_kind_of_record_is_there(base: Dump) -> None:
    roles = Counter(record.key.role for record in base.ranks[0].records)
    assert {"batch", "parameter", "buffer", "output", "view", "draw", "loss", "grad", "written"} <= set(roles)
    parameters = roles["parameter"]
    for role in ("parameter.local", "parameter.grad", "update", "parameter.after"):
        assert roles[role] == parameters > 100


def test_keys_are_unique_and_inputs_come_before(base: Dump) -> None:
    records = base.ranks[0].records
    assert len(base.ranks[0].by_key) == len(records)
    assert all(n < record.n for record in records for n in record.inputs)


def test_operators_of_portbev_say_who_served_them_and_dropout_masks_are_draws(base: Dump) -> None:
    calls = [r for r in base.ranks[0].records if r.key.operator.startswith("portbev.") and r.key.role == "output"]
    served = {record.key.operator: record.provider for record in calls}
    assert {"portbev.voxel_pool_lift", "portbev.dropout", "portbev.deform_conv2d"} <= set(served)
    assert all(served.values())
    masks = [r for r in base.ranks[0].records if r.key.operator == "portbev.dropout" and r.key.role == "draw"]
    assert masks
    assert all(r.sketch is not None and r.sketch.dtype == "bool" for r in masks)


def test_augmentation_is_recorded_as_draws(base: Dump) -> None:
    drawn = {r.key.operator.rpartition(" ")[2] for r in base.ranks[0].records if r.key.module == "(data)"}
    assert {"shuffle", "uniform", "choice"} & drawn or {"permutation", "uniform"} <= drawn


def test_what_a_gradient_follows_from_leads_back_to_the_loss(base: Dump) -> None:
    mine = base.ranks[0]
    by_key = mine.by_key
    first = next(
        r
        for r in mine.records
        if r.key.role == "parameter.local" and r.key.module.endswith("img_backbone.conv1.weight")
    )
    seen, waiting = set(), [first.n]
    while waiting:
        n = waiting.pop()
        if n not in seen:
            seen.add(n)
            waiting += mine.records[n].inputs
    grads = {mine.records[n].key.role for n in seen}
    assert "grad" in grads
    losses = {record.inputs[0] for record in by_key.values() if record.key.role == "loss"}
    assert losses & seen


def test_a_dump_says_what_rounding_does_and_what_that_took(base: Dump) -> None:
    assert [rerun.kind for rerun in base.header.reruns] == ["ulp", "ulp", "order", "order"]
    assert all(rerun.seconds > 0 for rerun in base.header.reruns)
    outputs = [r for r in base.ranks[0].records if r.key.role == "output" and r.key.operator == "conv2d"]
    relative = [
        (record.responses[0] or 0) / record.sketch.norm
        for record in outputs
        if record.sketch is not None and record.sketch.norm  # layers that start at zero do not move
    ]
    assert len(relative) > 50
    assert min(relative) > 1e-8
    assert max(relative) < 1e-3


def test_the_step_that_is_recorded_is_the_one_that_training_takes(base: Dump, tmp_path: Path) -> None:
    from portbev.train import train

    config = read_source("bevdepth/tiny_test", ["train.max_steps=1", "train.checkpoint.every_steps=1"]).config
    run = train(config, backend="cpu", out=tmp_path / "run")
    trained = run.checkpoints.newest([])
    assert trained is not None
    after = {r.key.module: r.sketch for r in base.ranks[0].records if r.key.role == "parameter.after"}
    for name, told in after.items():
        assert told is not None
        assert told.hash == sketch(trained.model[name]).hash, name
    losses = {r.key.operator: r.sketch for r in base.ranks[0].records if r.key.role == "loss"}
    row = run.scalars()[0]
    for name, told in losses.items():
        assert told is not None
        assert told.mean == pytest.approx(row.losses[name], rel=1e-6)
    again = tmp_path / "dump"
    dump(read_source(str(run.path)), again, Plan(bands=False), backend="cpu")
    header = load_dump(again).header
    assert (header.step.number, header.step.kind) == (1, "train")
    assert header.weights != base.header.weights


def test_the_same_step_again_is_bit_identical(base: Dump, make_dump: MakeDump) -> None:
    found = compare(base, make_dump(plan=Plan(bands=False)))
    assert found.verdict == "bit-identical"
    assert not found.ranks[0].alignment.only_a
    assert not found.ranks[0].alignment.only_b


def test_whole_tensors_are_kept_where_asked(make_dump: MakeDump) -> None:
    found = make_dump(plan=Plan(tensors=("backbone.img_backbone.conv1", "* linear output"), bands=False))
    kept = [record for record in found.ranks[0].records if record.tensor]
    assert {record.key.module for record in kept} > {"backbone.img_backbone.conv1"}
    for record in kept:
        tensor = found.tensor(0, record)
        assert tensor is not None
        assert sketch(tensor) == record.sketch


def test_hashes_alone_tell_equal_from_different(base: Dump, make_dump: MakeDump) -> None:
    hashes = make_dump(plan=Plan(level="hashes"))
    assert not hashes.header.reruns
    assert compare(hashes, base).verdict == "bit-identical"
    moved = make_dump("compute.memory_format=channels_last", plan=Plan(level="hashes"))
    assert compare(hashes, moved).verdict == "not bit-identical"


def test_inference_is_recorded_up_to_the_detections(make_dump: MakeDump) -> None:
    found = make_dump(plan=Plan(kind="inference", bands=False))
    roles = Counter(record.key.role for record in found.ranks[0].records)
    assert roles["detections"] == 3
    assert roles["grad"] == 0
    assert found.header.step.kind == "inference"


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PortbevError):
        dump(read_source("bevdepth/tiny_test"), tmp_path / "d", backend="cpu", data_root=tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_dump_is_never_overwritten(base: Dump) -> None:
    with pytest.raises(PortbevError, match="holds a dump already"):
        dump(read_source("bevdepth/tiny_test"), base.path, backend="cpu")


def test_an_edited_truncated_or_foreign_dump_is_refused(base_copy: Path) -> None:
    records, header = base_copy / "records.0.jsonl", base_copy / "header.json"
    whole, text = records.read_bytes(), header.read_text()
    records.write_bytes(whole[:-100])
    with pytest.raises(PortbevError, match="truncated"):
        load_dump(base_copy)
    records.write_bytes(whole.replace(b'"float32"', b'"float64"', 1))
    with pytest.raises(PortbevError, match="altered"):
        load_dump(base_copy)
    records.unlink()
    with pytest.raises(PortbevError, match="is missing"):
        load_dump(base_copy)
    records.write_bytes(whole)
    header.write_text(text.replace('"emulated": false', '"emulated": true'))
    with pytest.raises(PortbevError, match="altered"):
        load_dump(base_copy)
    header.write_text(text.replace("portbev.dump/3", "portbev.dump/2"))
    with pytest.raises(PortbevError, match="version"):
        load_dump(base_copy)
    content = json.loads(text)
    del content["run"]["backend"]
    header.write_text(json.dumps(content))
    with pytest.raises(PortbevError, match="altered"):
        load_dump(base_copy)
    header.write_text(text[:200])
    with pytest.raises(PortbevError, match="cannot be read"):
        load_dump(base_copy)


def test_recording_leaves_torch_and_the_model_as_they_were(base: Dump) -> None:
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_dump_says_what_made_its_sketches_and_why_not_something_faster(
    base: Dump, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not seek_one_pass().reason:
        assert base.header.sketched_by == "one compiled pass over each tensor"
    said: list[str] = []
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "/bin/false")
    seek_one_pass.cache_clear()
    try:
        out = dump(read_source(CONFIG, ()), tmp_path / "dump", Plan(bands=False), backend="cpu", say=said.append)
    finally:
        seek_one_pass.cache_clear()
    told = load_dump(out)
    line = "torch, which takes longer: /bin/false does not compile one_pass.cpp: exit status 1"
    assert told.header.sketched_by == line
    assert said.count(f"sketches are made by {line}") == 1
    others = {r.key: r.sketch for r in base.ranks[0].records if r.sketch is not None}
    for record in told.ranks[0].records:
        assert record.sketch is None or record.sketch.hash == others[record.key].hash
