"""mmcv's names in this process: none at first, and none afterwards. ``plant`` makes an installed mmcv."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from portbev.compat.mmcv import serving, uninstall
from portbev.kernels import KERNELS, Ledger

FILES = {
    "__init__.py": "__version__ = '2.0.1'\n",
    "utils/__init__.py": "from . import ext_loader\n",
    "utils/ext_loader.py": """
        import importlib

        def load_ext(name, funcs):
            ext = importlib.import_module("mmcv." + name)
            assert all(hasattr(ext, fun) for fun in funcs), f"{funcs} not in {name}"
            return ext
    """,
    "cnn/__init__.py": """
        from .bricks.registry import CONV_LAYERS

        def build_conv_layer(cfg, *args, **kwargs):
            cfg = dict(cfg)
            return CONV_LAYERS.module_dict[cfg.pop("type")](*args, **kwargs, **cfg)
    """,
    "cnn/bricks/__init__.py": "",
    "cnn/bricks/registry.py": """
        class Registry:
            def __init__(self):
                self.module_dict = {}

        CONV_LAYERS, ATTENTION = Registry(), Registry()
    """,
    "ops/__init__.py": """
        from .deform_conv import DeformConv2d, DeformConv2dPack, deform_conv2d
        from .nms import nms, soft_nms
        from .point_sample import point_sample
        from .points import Points
    """,
    "ops/deform_conv.py": """
        import torch
        from mmcv.cnn import CONV_LAYERS
        from ..utils import ext_loader

        ext_module = ext_loader.load_ext("_ext", ["deform_conv_forward"])

        class DeformConv2dFunction:
            apply = staticmethod(lambda *args: ext_module.deform_conv_forward())

        deform_conv2d = DeformConv2dFunction.apply

        class DeformConv2d(torch.nn.Module):
            def __init__(self, *args, **kwargs):
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(2, 2, 1, 1))

            def forward(self, x):
                offset = torch.zeros(len(x), 2, *x.shape[2:])
                return deform_conv2d(x, offset, self.weight, 1, 0, 1, 1, 1, False, 32)

        class DeformConv2dPack(DeformConv2d):
            pass

        CONV_LAYERS.module_dict["DCN"] = DeformConv2dPack
    """,
    "ops/nms.py": """
        from ..utils import ext_loader

        ext_module = ext_loader.load_ext("_ext", ["nms", "softnms"])

        def nms(boxes):
            return ext_module.nms(boxes)

        soft_nms = nms
    """,
    "ops/point_sample.py": "def point_sample(x):\n    return x\n",
    "ops/points.py": "from .nms import nms\n\nclass Points:\n    pass\n",
}
EXTENSIONS = {
    "missing": None,
    "raises": "raise ImportError('libcudart.so.10.1: cannot open shared object file')\n",
    "works": """
        def deform_conv_forward(*args):
            raise RuntimeError("deform_conv_forward_impl: implementation for device cpu not found")

        def nms(boxes):
            return boxes

        softnms = nms
    """,
}


def _forget() -> None:
    uninstall()
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmcv"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No mmcv, no ranked kernels, before and after."""
    monkeypatch.setattr(KERNELS, "_active", {})
    monkeypatch.setattr(KERNELS, "_device_type", "cpu")
    monkeypatch.setattr(KERNELS, "ledger", Ledger())
    monkeypatch.setattr(serving, "_SERVING", type(serving._SERVING)())
    _forget()
    yield
    _forget()


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``plant(extension)``: an mmcv whose compiled operators are ``missing``, raise, or work and lack the device."""

    def make(extension: str) -> Path:
        for name, text in {**FILES, "_ext.py": EXTENSIONS[extension]}.items():
            path = tmp_path / "mmcv" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_text(dedent(text), encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        return tmp_path / "mmcv"

    return make
