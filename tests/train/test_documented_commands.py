"""What the README and the pages tell people to type starts from weights wherever the configuration freezes layers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from portbev.config import load_config

PROJECT = Path(__file__).parents[2]
PAGES = sorted(path for path in (PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")) if path.exists())
pytestmark = pytest.mark.skipif(not PAGES, reason="the pages are not part of this installation")


def commands() -> list[tuple[str, str]]:
    """Configurations of models that are trained in a block of commands, and the command."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                named = re.search(r"portbev train ((?:bevdepth|bevformer|echofusion)/\w+)", line)
                found += [(named[1], line)] if named else []
    return found


def test_commands_that_freeze_layers_name_weights() -> None:
    assert {"bevformer/base", "bevformer/tiny", "echofusion/rt_img", "bevformer/laptop"} <= {n for n, _ in commands()}
    for name, line in commands():
        section: Any = load_config(name, re.findall(r"--set (\S+)", line)).model
        backbone = section.image_backbone
        frozen = backbone.frozen_stages >= 0 or getattr(backbone, "frozen_norms", False)
        if frozen and getattr(section, "camera", True) and "--resume" not in line:
            assert "model.image_backbone.weights=" in line or "--init " in line, line
