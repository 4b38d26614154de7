"""The page of ``portbev data browse`` in a real browser: its keys, and that it works from a file without a network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from portbev.viz.browse import Looked, page
from portbev.viz.seen import Seen

pytest.importorskip("fcntl", reason="a browser is driven over inherited pipes, which needs POSIX")
sys.path.append(str(Path(__file__).parents[1] / "parity"))
from chromium import Chromium, find_chromium

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium on the PATH, and PORTBEV_CHROMIUM names none"
)


def seen(name: str) -> Seen:
    return Seen(name, np.full((90, 160, 3), 40, np.uint8), (f"{name} <said>",))


SHOWN = """[...document.querySelectorAll(".look")].filter((one) => one.offsetParent !== null)
    .map((one) => one.closest(".sample").dataset.token + " " + one.dataset.name).join("; ")"""


def test_keys_and_buttons_lead_through_samples_and_looks(tmp_path: Path) -> None:
    looks = tuple(seen(name) for name in ("as annotated", "epoch 0", "epoch 1"))
    samples = iter([Looked(index, token, "scene", looks) for index, token in enumerate(("first", "second"))])
    path = tmp_path / "page.html"
    path.write_text(page(samples, title="a <title>", facts=["a fact"]), encoding="utf-8")
    with Chromium(find_chromium()) as browser:
        tab = browser.open(path.as_uri(), width=1280)

        def press(key: str) -> str:
            tab.press(key)
            return str(tab.evaluate(SHOWN))

        assert tab.evaluate(SHOWN) == "first as annotated"
        assert press("ArrowDown") == "first epoch 0"
        assert press("n") == "second epoch 0"
        assert press("ArrowRight") == "second epoch 0"  # the last one
        assert press("j") == "second epoch 1" and press("ArrowDown") == "second epoch 1"
        assert press("0") == "second as annotated"
        assert press("p") == "first as annotated" and press("x") == "first as annotated"
        tab.evaluate('document.getElementById("next").click()')
        assert tab.evaluate(SHOWN) == "second as annotated"
        assert tab.evaluate("location.hash") == "#1.0"
        assert tab.evaluate('document.querySelector("img").naturalWidth') == 160
        assert tab.evaluate("document.title") == "a <title>"
        assert tab.problems() == []
        assert not [one for one in tab.requests() if one != path.as_uri() and not one.startswith("data:")]
