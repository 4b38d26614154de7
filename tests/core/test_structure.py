"""The structure that the linter checks: who may import whom, and that the framework names no data set and no model."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = re.compile(r"nuscenes|radial|bevdepth|bevformer|echofusion|mx_driving|torch_npu", re.IGNORECASE)


def contracts(root: Path) -> subprocess.CompletedProcess[str]:
    """The linter's word on the packages of ``root``."""
    script = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    paths = os.pathsep.join(str(root / folder) for folder in (".", "backends", "plugins"))
    return subprocess.run(
        [sys.executable, "-c", script, "--no-cache", "--config", str(root / "pyproject.toml")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages' sources."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("portbev", "backends", "plugins"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.yaml", "*.json"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_hold(checkout: Path) -> None:
    done = contracts(checkout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("portbev/train/loop.py", "from portbev_nuscenes.classes import DETECTION_CLASSES", "knows no backend"),
        ("portbev/nn/resnet.py", "def late():\n    import torch_npu", "knows no backend"),
        ("portbev/ops/fft.py", "from portbev.train import train", "point one way"),
        ("portbev/data/root.py", "import portbev.evaluate.benchmark", "point one way"),
        (
            "plugins/portbev_radial/dataset.py",
            "from portbev_nuscenes.classes import ATTRIBUTES",
            "data sets know no model",
        ),
        ("plugins/portbev_bevdepth/head.py", "import portbev_bevformer.head", "Models do not know each other"),
        ("plugins/portbev_bevdepth/lss.py", "import mx_driving", "Plugins know no backend"),
        ("backends/portbev_cuda/backend.py", "import portbev_npu.backend", "Devices do not know each other"),
        ("backends/portbev_npu/backend.py", "import portbev_bevdepth.model", "Backends and plugins do not know"),
        ("portbev/nowhere.py", "", "point one way"),
    ],
)
def test_a_forbidden_import_is_caught(checkout: Path, file: str, line: str, broken: str) -> None:
    path = checkout / file
    before = path.read_text(encoding="utf-8") if path.exists() else None
    try:
        path.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
        done = contracts(checkout)
    finally:
        path.unlink() if before is None else path.write_text(before, encoding="utf-8")
    assert done.returncode != 0
    blamed = done.stdout.partition("Broken contracts")[2]
    assert broken in re.sub(r"\s+", " ", blamed), done.stdout


def named_outside_documentation(path: Path) -> list[str]:
    """Places in code that name a data set, a model or a vendor's package; docstrings and comments are free to."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }
    found = []
    for node in ast.walk(tree):
        words = [
            value
            for field, value in ast.iter_fields(node)
            if isinstance(value, str) and id(node) not in documentation and field != "type_comment"
        ]
        found += [f"{path.name}:{getattr(node, 'lineno', '?')}: {word}" for word in words if NAMES.search(word)]
    return found


def test_the_framework_s_code_names_no_data_set_no_model_and_no_vendor() -> None:
    found = [place for path in sorted((ROOT / "portbev").rglob("*.py")) for place in named_outside_documentation(path)]
    assert found == []
    data = [path for path in (ROOT / "portbev").rglob("*") if path.suffix in (".yaml", ".json", ".html", ".css")]
    assert [path.name for path in data if NAMES.search(path.read_text(encoding="utf-8"))] == []
