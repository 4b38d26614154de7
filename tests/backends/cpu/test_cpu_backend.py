"""The cpu backend prepares the process and the model as the section ``compute`` asks, and says what has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from portbev.config import ComputeSection
from portbev.nn.map_format import ImagePath
from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.head import BEVDepthHead
from portbev_cpu import linear_products
from portbev_cpu.backend import CpuBackend
from portbev_cpu.conv_gradients import Avx2Conv2d
from portbev_cpu.linear_products import OneDnnLinear


class Pictures(ImagePath, nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 2, 3)


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def prepared(model: nn.Module, **compute: Any) -> list[str]:
    return CpuBackend().prepare_model(model, ComputeSection(**compute))


def test_threads_are_set_and_left_alone_where_nothing_is_said() -> None:
    assert CpuBackend().prepare_host(ComputeSection(threads=3)) == []
    assert torch.get_num_threads() == 3
    assert CpuBackend().prepare_host(ComputeSection()) == []
    assert torch.get_num_threads() == 3


def test_memory_format_and_weight_gradients_are_the_sections_both_ways_and_however_often() -> None:
    model = Pictures()
    for _ in range(2):
        assert prepared(model, memory_format="channels_last", weight_gradients="avx2") == []
        assert model.map_format == torch.channels_last
        assert type(model.first) is Avx2Conv2d
    for _ in range(2):
        assert prepared(model) == []
        assert model.map_format == torch.contiguous_format
        assert type(model.first) is nn.Conv2d


@pytest.mark.parametrize(
    ("capability", "weight_gradients", "last"),
    [("AVX512", "torch", True), ("AVX2", "torch", False), ("AVX2", "avx2", True), ("DEFAULT", "torch", False)],
)
def test_birds_eye_view_maps_are_channels_last_where_their_weight_gradients_are_no_slower(
    monkeypatch: pytest.MonkeyPatch, capability: str, weight_gradients: str, last: bool
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    head = BEVDepthHead(BevDepthConfig())
    prepared(head, memory_format="channels_last", weight_gradients=weight_gradients)
    assert head.arrange(torch.ones(1, 2, 3, 4)).is_contiguous(memory_format=torch.channels_last) == last
    prepared(head)
    assert head.map_format == torch.contiguous_format


@pytest.mark.parametrize(
    ("compute", "note"),
    [
        ({}, "compute.weight_gradients: avx2 is for channels-last maps, and compute.memory_format is contiguous"),
        (
            {"memory_format": "channels_last", "amp": "bf16"},
            "compute.weight_gradients: avx2 is for float32; with amp bf16 it is torch's own way",
        ),
    ],
)
def test_weight_gradients_that_will_not_be_taken_are_told(compute: dict[str, Any], note: str) -> None:
    assert prepared(Pictures(), weight_gradients="avx2", **compute) == [note]


def test_a_model_without_convolutions_or_image_path_is_told() -> None:
    assert prepared(nn.Linear(2, 2), memory_format="channels_last", weight_gradients="avx2") == [
        "compute.memory_format: this model has no image path; its tensors stay contiguous",
        "compute.weight_gradients: this model has no plain convolution for avx2 to serve",
    ]


def test_linear_layers_go_to_onednn_and_back_as_the_section_says() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    for way, kind in (("onednn", OneDnnLinear), ("onednn", OneDnnLinear), ("torch", nn.Linear)):
        assert prepared(model, linear=way) == []
        assert type(model[0]) is kind


def test_linear_layers_that_onednn_will_not_serve_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    note = "compute.linear: onednn is for float32; with amp bf16 it is torch's own way"
    assert prepared(nn.Linear(2, 2), linear="onednn", amp="bf16") == [note]
    note = "compute.linear: this model has no plain linear layer for onednn to serve"
    assert prepared(nn.Conv2d(2, 2, 1), linear="onednn") == [note]
    monkeypatch.setattr(linear_products, "available", lambda: False)
    layer = nn.Linear(2, 2)
    assert prepared(layer, linear="onednn") == ["compute.linear: this torch has no oneDNN; torch's own way is taken"]
    assert type(layer) is nn.Linear
