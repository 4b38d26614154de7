"""Strided 1x1 convolutions of few channels stay out of the channels-last format, in which their gradient may crash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from portbev.config import load_config
from portbev.nn.contiguous_conv import FEW_CHANNELS, ContiguousConv2d, keep_contiguous
from portbev.plugins import plugins
from portbev.runtime import find_backend

CONFIGS = Path(__file__).parents[2] / "configs"
# In a process of its own: where the gradient writes past its memory, that process dies.
PROGRAM = """
import torch
from torch import nn
from portbev.config.schema import ComputeSection
from portbev.nn.resnet import ResNet
from portbev.runtime import find_backend

def check(model, x):
    for _ in range(3):
        x = x.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        model.zero_grad()
        out = model(x)
        out = out[-1] if isinstance(out, list) else out
        grad = torch.randn_like(out).contiguous(memory_format=torch.channels_last)
        out.backward(grad)
        room = [torch.randn(n) for n in range(1, 4000, 37)]  # touches the heap
    assert all(w.grad.isfinite().all() for w in model.parameters())

for stride in ((1, 2), (2, 1), 2, 3):
    for channels in (1, 3, 7, 8, 12, 15, 16):
        conv = nn.Sequential(nn.Conv2d(channels, 16, 1, stride, bias=False))
        find_backend("cpu").prepare_model(conv, ComputeSection())
        check(conv, torch.randn(1, channels, 32, 100))
check(ResNet(18, in_channels=8, base_channels=8, strides=(1, (2, 1), 2, 2)), torch.randn(1, 8, 128, 400))
check(ResNet(50, base_channels=2, style="caffe", strides=(1, 2, (1, 2), 2)), torch.randn(1, 3, 128, 400))
print("alive")
"""


def test_the_gradients_of_strided_1x1_convolutions_do_not_crash() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and done.stdout.split() == ["alive"], (done.returncode, done.stderr[-500:])


def test_values_and_gradients_are_those_of_the_plain_layer() -> None:
    torch.manual_seed(0)
    plain, kept = nn.Conv2d(8, 4, 1, 2), nn.Sequential(nn.Conv2d(8, 4, 1, 2))
    keep_contiguous(kept)
    kept[0].load_state_dict(plain.state_dict())
    assert type(kept[0]) is ContiguousConv2d
    inputs = [torch.randn(2, 8, 9, 11).requires_grad_()]
    inputs.append(inputs[0].detach().contiguous(memory_format=torch.channels_last).requires_grad_())
    results: list[list[Tensor]] = []
    for layer, x in zip((plain, kept), inputs, strict=True):
        out = layer(x)
        assert out.is_contiguous()
        results.append([out, *torch.autograd.grad(out.square().sum(), [x, *layer.parameters()])])
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_layers_that_are_safe_stay_what_they_are() -> None:
    layers = nn.Sequential(nn.Conv2d(16, 4, 1, 2), nn.Conv2d(8, 4, 3, 2), nn.Conv2d(8, 4, 1), nn.Conv2d(3, 4, 2, 2))
    keep_contiguous(layers)
    assert all(type(layer) is nn.Conv2d for layer in layers)


@pytest.mark.parametrize("config", ["bevdepth/tiny_test", "bevformer/tiny_test", "echofusion/tiny_test"])
@pytest.mark.parametrize("prepared", [False, True])
def test_no_family_has_such_a_layer_outside_of_the_contiguous_format(config: str, prepared: bool) -> None:
    settings = load_config(str(CONFIGS / f"{config}.yaml"))
    model = plugins().models()[settings.model.family].build(settings.model)
    if prepared:
        find_backend("cpu").prepare_model(model, settings.compute)
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels < FEW_CHANNELS]
    strided = [m for m in convs if m.kernel_size == (1, 1) and max(m.stride) > 1]
    assert strided and all(isinstance(m, ContiguousConv2d) for m in strided)
