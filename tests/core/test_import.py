"""What `import portbev` costs: no vendor package, no heavy library beyond torch."""

from __future__ import annotations

import json
import subprocess
import sys

VENDORS = {"torch_npu", "mx_driving", "cupy", "triton", "mmcv", "mmdet3d", "torchvision", "deepspeed", "apex"}
HEAVY = {"cv2", "scipy", "matplotlib", "rich", "typer", "jinja2", "tensorboard"}


def modules_after(code: str) -> set[str]:
    """Top-level modules that `code` imports beyond those of torch."""
    script = (
        "import json, sys, torch; before = set(sys.modules)\n"
        f"{code}\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_portbev_imports_nothing_else() -> None:
    assert modules_after("import portbev") <= {"portbev", "importlib"}


def test_portbev_and_its_backends_import_no_vendor_package() -> None:
    found = modules_after("import portbev; from portbev.plugins import plugins; plugins().backends()")
    assert not found & VENDORS
    assert not found & HEAVY


def test_probing_every_backend_imports_no_vendor_package_that_is_absent() -> None:
    code = "from portbev.plugins import plugins\nfor backend in plugins().backends().values(): backend.probe()"
    assert not modules_after(code) & (VENDORS - {"triton"})


def test_activating_the_cpu_imports_no_vendor_package() -> None:
    assert not modules_after("import portbev; portbev.activate('cpu')") & {"torch_npu", "mx_driving", "cupy", "mmcv"}
