from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from portbev.bench import sketches
from portbev.bench.complexity import Counter, complexity
from portbev.cli import main
from portbev.config import load_config
from portbev.errors import PortbevError
from portbev.ops import deform_conv2d


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.stem(x).mean((2, 3)))


def test_flops_are_torchs_own_and_belong_to_their_modules() -> None:
    net, x = Net(), torch.randn(2, 3, 6, 6)
    with Counter(net) as ours:
        net(x)
    with FlopCounterMode(display=False) as theirs:
        net(x)
    assert ours.amounts[""].flops == theirs.get_total_flops() == 2 * 2 * 36 * 27 * 8 + 2 * 2 * 8 * 4
    assert ours.amounts["stem"].flops == ours.amounts["stem.0"].flops == 2 * 2 * 36 * 27 * 8
    assert ours.amounts["stem.1"].flops == 0
    assert ours.amounts["fc"].bytes == 4 * (2 * 8 + 8 * 4 + 4 + 2 * 4)
    assert ours.amounts[""].activations == 2 * 8 * 36 + 2 * 4


def test_a_transform_is_counted() -> None:
    with Counter(Net()) as counter:
        torch.fft.fft(torch.randn(3, 64, dtype=torch.complex64))
        torch.fft.rfft(torch.randn(3, 64))
    assert counter.amounts[""].flops == (5 + 2.5) * 3 * 64 * math.log2(64)


def test_an_operator_of_ours_without_a_formula_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sketches.SKETCHES, "deform_conv2d")
    image, offset, weight = torch.randn(1, 4, 5, 5), torch.zeros(1, 18, 5, 5), torch.randn(4, 4, 3, 3)
    with pytest.raises(PortbevError, match="deform_conv2d"), Counter(Net()):
        deform_conv2d(image, offset, weight, padding=1)


@pytest.mark.parametrize("name", ["bevdepth/tiny_test", "bevformer/tiny_test", "echofusion/tiny_test"])
def test_the_parts_of_a_model_are_its_whole(name: str) -> None:
    found = complexity(load_config(name, ["train.batch_size=1"]), "train")
    top = [amount.flops for path, amount in found.modules.items() if path and "." not in path]
    whole = found.modules[""].flops
    assert found.samples == 1
    assert found.backward is not None
    assert 0.9 * whole < sum(top) <= whole
    assert sum(flops for _, flops in found.operators.values()) == whole + found.backward.flops
    assert 0.5 * whole < found.backward.flops < 3 * whole  # frames of the past have no backward


@pytest.mark.parametrize("family", ["bevdepth", "bevformer", "echofusion"])
def test_twice_the_samples_are_twice_the_work(family: str) -> None:
    sizes = ("eval.batch_size=1", "eval.batch_size=2")
    one, two = (complexity(load_config(f"{family}/tiny_test", [size])) for size in sizes)
    assert two.modules[""].flops == pytest.approx(one.modules[""].flops * two.samples, rel=0.05)
    assert (one.samples, two.samples) == (1, 1 if family == "bevformer" else 2)  # which sees frame after frame


def test_the_command_prints_modules_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "flops.json"
    assert main(["flops", "bevdepth/tiny_test", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    told = json.loads(file.read_text())
    assert told["samples"] == 1
    assert f"{told['modules']['head']['flops'] / 1e9:,.3f}" in out
    assert "portbev::deform_conv2d" in out


def test_a_part_that_does_not_exist_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["flops", "bevdepth/tiny_test", "--part", "both"]) == 2
    assert "train or eval" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["bevdepth/r50_256x704_128x128_24e", "bevformer/tiny"])
def test_the_pages_figures_are_what_is_counted(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "complexity.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| `{name}`"))
    found = complexity(load_config(name, ["eval.batch_size=1"]))
    told = [cell.strip() for cell in row.strip("|").split("|")][1:3]
    assert told == [f"{found.modules[''].flops / 1e9:.1f}", f"{found.parameters[''][0] / 1e6:.1f}"]
