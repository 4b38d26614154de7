"""Packages that change the process that imports them as the vendor's wheels do, and what of a process they change."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from portbev_npu import vendor

TRANSFER = """
import warnings
import torch
import torch.distributed
torch.cuda.is_available = lambda: True
torch.distributed.init_process_group = None
torch.Tensor.cuda = None
torch.jit.script = lambda function: function
warnings.filterwarnings("once")
"""
DRIVING = """
import logging, os, sys
import torch
import torch_npu
from torch_npu.contrib import transfer_to_npu
from mx_driving import patcher
logging.basicConfig(level=logging.INFO)
os.environ["ASCEND_CUSTOM_OPP_PATH"] = ":".join(["KERNELS", *filter(None, [os.environ.get("ASCEND_CUSTOM_OPP_PATH")])])
{end}
"""
PATCHER = """
import sys
class Finder:
    def find_spec(self, *names):
        return None
sys.meta_path.insert(0, Finder())
"""
TORCH_NPU = """
import os, types
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
import torch
__version__ = "2.8.0"
torch.utils.rename_privateuse1_backend("npu")
device = types.ModuleType("torch.npu")
device.is_available = lambda: True
device.device_count = lambda: 1
device.current_device = lambda: 0
device.set_device = lambda index: None
device.get_device_name = lambda index=None: "Ascend910B3"
device.conv = types.SimpleNamespace(allow_hf32=True)
device.matmul = types.SimpleNamespace(allow_hf32=False)
torch._register_device_module("npu", device)
npu_deformable_conv2d = npu_deformable_conv2dbk = None
del os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"]
"""
STATE = """
import json, logging, os, sys, warnings
import torch, torch.distributed
torch.use_deterministic_algorithms(False)  # imports torch's compiler, which sets a variable and a filter of its own
def state():
    root = logging.getLogger()
    return {"torch.cuda.is_available": torch.cuda.is_available(), "torch.jit.script": id(torch.jit.script),
            "init_process_group": id(torch.distributed.init_process_group), "Tensor.cuda": id(torch.Tensor.cuda),
            "filters of warnings": str(warnings.filters), "showwarning": id(warnings.showwarning),
            "handlers": str(root.handlers), "level": root.level, "environment": dict(os.environ),
            "import finders": [getattr(finder, "__module__", 0) or type(finder).__module__ for finder in sys.meta_path],
            "transfer": "torch_npu.contrib.transfer_to_npu" in sys.modules}
before = state()
def changed():
    now = state()
    return [name for name in before if before[name] != now[name]]
"""


def write_wheels(folder: Path) -> Path:
    """torch_npu with a device that answers, mx_driving, and CANN's libraries, in a new folder."""
    contrib, libraries = folder / "torch_npu" / "contrib", folder / "lib"
    for new in (contrib, folder / "mx_driving", libraries):
        new.mkdir(parents=True)
    (folder / "torch_npu" / "__init__.py").write_text(TORCH_NPU)
    (contrib / "__init__.py").write_text("")
    (contrib / "transfer_to_npu.py").write_text(TRANSFER)
    (folder / "mx_driving" / "patcher.py").write_text(PATCHER)
    (folder / "mx_driving" / "__init__.py").write_text(DRIVING.format(end=""))
    real = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libm.so" in line)
    ctypes.CDLL(real)
    for name in vendor.CANN_LIBRARIES:
        (libraries / name).symlink_to(real)
    return folder


def ran(folder: Path, script: str, **variables: str) -> Any:
    """What ``script``, which begins with :data:`STATE`, puts into ``report``, with the packages of ``folder``."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / "lib"), **variables, "PYTHONPATH": path}
    command = [sys.executable, "-c", f"{STATE}\n{script}\nprint('REPORT', json.dumps(report))"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.rpartition("REPORT ")[2])
