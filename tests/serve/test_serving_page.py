"""The page on serving: its client gets boxes from a server of a trained model."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from standin import Server
from test_trained import opened

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this installation")


def client() -> str:
    """The program behind ``<!-- client -->``."""
    found = re.search(r"<!-- client -->\n```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def written(request: Any, cameras: tuple[str, ...], folder: Path) -> Path:
    """A request's first frame as the page's folder of pictures."""
    calibration = {}
    folder.mkdir()
    for index, name in enumerate(cameras):
        Image.fromarray(request["images"][0, index]).save(folder / f"{name}.jpg", quality=95)
        calibration[name] = {
            "intrinsic": request["intrinsics"][0, index].tolist(),
            "camera2ego": request["camera2ego"][0, index].tolist(),
        }
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return folder


def test_the_client_of_the_page_prints_boxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor, _, _, config, _ = opened("bevdepth")
    folder = written(predictor.samples().request(0), config.data.cameras, tmp_path / "frame")
    with Server(predictor) as server:
        monkeypatch.setattr(sys, "argv", ["client.py", server.url, str(folder)])
        exec(compile(client(), "serving.md", "exec"), {"__name__": "__main__"})
        assert server.service.answered == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and all(" at x=" in line and line.split()[0] in predictor.classes for line in lines)
