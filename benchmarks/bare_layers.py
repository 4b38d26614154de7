"""The layers of a model by themselves, on recorded shapes: what its arithmetic costs with some version of torch.

Imported by benchmarks/bevdepth_speed.py, and started by it as a program under another Python that has another torch (it
needs Python 3.9, torch 1.9 and nothing of this project): one JSON line with the layers and the threads on its standard
input, then one of `forward`, `forward + backward` a line; each is answered with `wall cpu` in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

ARITHMETIC = ("Conv2d", "ConvTranspose2d", "Linear")
KINDS = (*ARITHMETIC, "BatchNorm2d", "ReLU")
NAMES = {
    "Conv2d": "in_channels out_channels kernel_size stride padding dilation groups bias",
    "ConvTranspose2d": "in_channels out_channels kernel_size stride padding bias",
    "Linear": "in_features out_features bias",
    "BatchNorm2d": "num_features",
    "ReLU": "",
}


def kind_of(module: nn.Module) -> str | None:
    """Name of the layer's class in torch, also where the module's own class is derived from it; None: no layer."""
    return next((base.__name__ for base in type(module).__mro__ if base.__name__ in KINDS), None)


def describe(module: nn.Module, given: Tensor) -> dict[str, Any]:
    """A layer as JSON: its kind, arguments, the shape and memory format of its input, and whether it trains."""
    kind = kind_of(module)
    options = {name: getattr(module, name) for name in NAMES[str(kind)].split()}
    if "bias" in options:
        options["bias"] = options["bias"] is not None
    trains = kind == "ReLU" or any(p.requires_grad for p in module.parameters())
    last = not given.is_contiguous() and given.is_contiguous(memory_format=torch.channels_last)
    return {"kind": kind, "options": options, "shape": list(given.shape), "channels_last": last, "trains": trains}


class BareLayers:
    """Layers with inputs of noise, each run alone, in the recorded memory format or all contiguous."""

    def __init__(self, layers: list[dict[str, Any]], contiguous: bool = False) -> None:
        self.calls: list[tuple[nn.Module, Tensor, bool]] = []
        for layer in layers:
            module, given = getattr(nn, layer["kind"])(**layer["options"]), torch.randn(layer["shape"])
            if layer["channels_last"] and not contiguous:
                given = given.contiguous(memory_format=torch.channels_last)
            self.calls.append((module, given, layer["trains"]))

    def forward(self) -> None:
        """Every layer in evaluation, without gradients."""
        with torch.no_grad():
            for module, given, _ in self.calls:
                module.eval()(given)

    def forward_backward(self) -> None:
        """Every layer in training; frozen ones forward only, none differentiates by the images."""
        for module, given, trains in self.calls:
            given.requires_grad_(trains and given.shape[1] != 3)
            output = module.train()(given)
            if trains:
                output.backward(torch.ones_like(output))
                module.zero_grad()
                given.grad = None


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def serve() -> None:
    """Answer the lines on standard input."""
    told = json.loads(sys.stdin.readline())
    torch.set_num_threads(told["threads"])
    bare = BareLayers(told["layers"], contiguous=True)
    print(torch.__version__, flush=True)
    for line in sys.stdin:
        work = bare.forward if line.strip() == "forward" else bare.forward_backward
        print(*timed(work), flush=True)


if __name__ == "__main__":
    serve()
