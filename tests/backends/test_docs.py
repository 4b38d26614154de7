"""The plugin printed in docs/backends.md works, and its conformance test passes as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[2] / "docs" / "backends.md"

RUN = """
import sys, types, torch
import pytest
from portbev import plugins as module
import portbev_host
found = module.plugins()
found.register(portbev_host, "host")
found._cache.clear()

import portbev
from portbev import ops
from portbev.kernels import KERNELS
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
backend = portbev.activate("host")
depth, context = torch.rand(2, 2, 5, 3, 4), torch.randn(2, 2, 6, 3, 4)
voxels = torch.randint(-1, 5, (2, 2, 5, 3, 4, 3)).int()
expected = KERNELS.references["voxel_pool_lift"].forward(VoxelPoolLiftCall(depth, context, voxels, [4, 3, 2]))
assert torch.allclose(ops.voxel_pool_lift(depth, context, voxels, (4, 3, 2)), expected, atol=1e-5)
assert KERNELS.ledger.snapshot()["voxel_pool_lift"]["forward"] == {"index_add": 1}
ops.voxel_pool_lift(depth.double(), context.double(), voxels, (4, 3, 2))
(passed,) = KERNELS.ledger.snapshot()["voxel_pool_lift"]["passed_over"]
assert passed["reason"] == "forward: torch.float64; float32 only", passed
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "test_host.py"]))
"""


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"no block {name}"
    return found.group(1)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the documentation is not part of this installation")
def test_the_printed_plugin_works_and_conforms(tmp_path: Path) -> None:
    (tmp_path / "portbev_host.py").write_text(block("plugin"), encoding="utf-8")
    (tmp_path / "test_host.py").write_text(block("conformance"), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
