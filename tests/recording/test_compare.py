"""Two dumps of real steps beside each other: what is clean is not accused, what is at fault is named."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from making import MakeDump

from portbev.errors import PortbevError
from portbev.parity.bisect.files import from_files
from portbev.parity.dumps.compare import compare
from portbev.parity.dumps.reading import Dump, load_dump
from portbev.parity.dumps.told import lines
from portbev.recording.dump import Plan


def command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "portbev", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=cwd, check=False)


@pytest.mark.parametrize(
    "sets",
    [("compute.threads=2",), ("compute.memory_format=channels_last",), ("compute.kernels.all=reference",)],
    ids=["threads", "channels_last", "providers"],
)
def test_what_computes_the_same_in_another_way_is_within_rounding(
    sets: tuple[str, ...], base: Dump, make_dump: MakeDump
) -> None:
    found = compare(base, make_dump(*sets, plan=Plan(bands=False)))  # judged by the bands of the other
    assert found.bands
    assert found.verdict in ("bit-identical", "within rounding"), "\n".join(lines(found))
    assert [difference.key for difference in found.allowed] == [key.partition("=")[0] for key in sets]


def test_onednn_on_and_off_is_within_rounding(base: Dump, make_dump: MakeDump) -> None:
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        other = make_dump(plan=Plan(bands=False))
    finally:
        torch.backends.mkldnn.enabled = True  # type: ignore[assignment]
    found = compare(base, other)
    assert found.verdict == "within rounding", "\n".join(lines(found))


def test_a_convolution_that_rounds_is_the_cause_and_nothing_else(
    base: Dump, make_dump: MakeDump, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portbev.train import setup

    build = setup._build_model

    def built(*args: object, **kwargs: object) -> object:
        model, notes = build(*args, **kwargs)  # type: ignore[arg-type]
        layer = model.get_submodule("backbone.img_backbone.layer2.0.conv1")
        layer.register_forward_pre_hook(lambda module, inputs: (inputs[0].bfloat16().float(),))
        return model, notes

    monkeypatch.setattr(setup, "_build_model", built)
    other = make_dump()
    found = compare(base, other)
    assert found.verdict == "different"
    assert found.cause is not None
    assert found.cause.a.key[:3] == ("backbone.img_backbone.layer2.0.conv1", "conv2d", "output")
    told = "\n".join(lines(found))
    assert "cause: backbone.img_backbone.layer2.0.conv1 conv2d output" in told
    assert "what it is computed from agrees" in told
    assert not any("neither dump has bands" in line for line in from_files(base, other).verdict.others)
    bare = [replace(dump, header=dump.header.model_copy(update={"reruns": []})) for dump in (base, other)]
    assert any("neither dump has bands" in line for line in from_files(*bare).verdict.others)


def test_other_data_seeds_settings_and_weights_are_refused_with_what_differs(base: Dump, make_dump: MakeDump) -> None:
    quick = Plan(level="hashes")
    for sets, what in (
        (("train.seed=5",), "seed"),
        (("model.x_bound=[-51.2, 51.2, 6.4]", "model.y_bound=[-51.2, 51.2, 6.4]"), "model.x_bound|model.parameters"),
        (("optimizer.lr=0.5",), "optimizer.lr"),
    ):
        with pytest.raises(PortbevError, match=what):
            compare(base, make_dump(*sets, plan=quick))
    with pytest.raises(PortbevError, match="kind of step"):
        compare(base, make_dump(plan=replace(quick, kind="inference")))
    other = copy.deepcopy(base)
    other.header.run.data.digest = "0" * 64
    with pytest.raises(PortbevError, match="digest"):
        compare(base, other)
    other = copy.deepcopy(base)
    other.header.weights = "0" * 64
    with pytest.raises(PortbevError, match="weights before the step differ"):
        compare(base, other)


def test_calls_that_one_device_makes_besides_are_said_and_do_not_shift_the_others(base: Dump) -> None:
    other = copy.deepcopy(base)
    records = other.ranks[0].records
    at = next(r for r in records if r.key.operator == "mul" and r.key.role == "output" and r.key.call == 3)
    siblings = [r for r in records if r.key[:4] == at.key[:4] and r.key.call >= 3]
    for record in siblings:
        records[record.n] = replace(record, key=record.key._replace(call=record.key.call + 1))
    extra = replace(at, n=len(records), inputs=(), sketch=replace(at.sketch, shape=(1, 2, 3)))  # type: ignore[type-var]
    records.append(extra)
    found = compare(base, other)
    assert found.verdict == "bit-identical"
    assert [record.n for record in found.ranks[0].alignment.only_b] == [extra.n]
    assert any("only B has 1 record:" in line for line in lines(found))


def test_cpu_and_emulated_npu_are_compared_where_neither_data_nor_configuration_is(base: Dump, tmp_path: Path) -> None:
    out = tmp_path / "npu"
    made = command("parity", "dump", "bevdepth/tiny_test", "--backend", "npu", "--emulate", "--out", out, "--no-bands")
    assert made.returncode == 0, made.stderr
    assert "npu (emulated)" in made.stdout
    empty = tmp_path / "empty"
    empty.mkdir()
    done = command("parity", "compare", base.path, out, "--json", cwd=empty)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["b"]["emulated"]
    assert "(emulated)" in content["b"]["name"]
    assert "(emulated)" in content["b"]["backend"]
    assert content["verdict"] in ("bit-identical", "not bit-identical")
    told = "\n".join(lines(compare(base, load_dump(out))))
    assert all(
        "npu" not in line or "emulated" in line or "backend" in line or "torch_npu" in line for line in told.split("\n")
    )


def test_the_command_says_bad_input_in_one_line(base_copy: Path, tmp_path: Path) -> None:
    for arguments, what in (
        (("parity", "compare", tmp_path, base_copy), "is no dump"),
        (("parity", "dump", "bevdepth/tiny_test", "--out", base_copy), "holds a dump already"),
        (("parity", "dump", "bevdepth/tiny_test", "--out", tmp_path / "x", "--level", "all"), "--level"),
    ):
        done = command(*arguments)
        assert done.returncode == 2, done.stdout
        assert what in done.stderr
        assert "Traceback" not in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_two_processes_write_their_own_records_of_one_step(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "portbev"]
    out = tmp_path / "two"
    words = ["parity", "dump", "bevdepth/tiny_test", "--backend", "cpu", "--out", str(out), "--level", "hashes"]
    done = subprocess.run([*torchrun, *words], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = load_dump(out)
    assert [rank.rank for rank in found.header.ranks] == [0, 1]
    assert found.header.ranks[0].tokens != found.header.ranks[1].tokens
    first, second = (rank.by_key for rank in found.ranks)
    names = {key.module for key in first if key.role == "parameter.grad"}
    key = next(
        key for key in first if key.role == "parameter.grad" and key.module.endswith("img_backbone.conv1.weight")
    )
    local = key._replace(role="parameter.local")
    assert first[key].sketch == second[key].sketch, "what was exchanged is equal"
    assert first[local].sketch != second[local].sketch, "what each has made of its own samples is not"
    assert len(names) > 100
