"""A matplotlib figure as small inline SVG that takes the page's colours, light or dark."""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

from portbev.parity.render.colours import COLOURS

INK, LINE = "#0a0b01", "#0a0b02"
"""Colours to draw with that stand for the page's ``--ink`` and ``--line``."""

_SLOTS = {
    INK: "var(--ink)",
    LINE: "var(--line)",
    **{f"#0a0c{index:02x}": f"var(--s{index})" for index in range(len(COLOURS))},
}


def slot(index: int) -> str:
    """The colour to draw with that stands for the page's colour of series ``index``."""
    return f"#0a0c{index % len(COLOURS):02x}"


def as_svg(figure: Any, name: str, said: str) -> str:
    """``figure`` without a size of its own.

    Args:
        name: prefix of every id in it, so that many figures can stand in one page.
        said: what it shows, in words.
    """
    import matplotlib as mpl

    target = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "portbev"}):
        figure.savefig(target, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    said = f'role="img" aria-label="{escape(said)}"'
    text = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', lambda box: f'<svg viewBox="{box[1]}" {said}>', text, count=1)
    text = re.sub(r'xlink:href="#', 'href="#', text)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\1{name}-", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font: \1 var(--font)", text)
    text = re.sub(r" transform=\"rotate\(-0 [^\"]*\)\"", "", text)
    text = re.sub(r' d="([^"]*)"', lambda path: f' d="{_short(path[1])}"', text)
    for colour, variable in _SLOTS.items():
        text = text.replace(colour, variable)
    return re.sub(r">\s+<", "><", text).strip()


def _short(path: str) -> str:
    """Path data with a tenth of a unit, which is a tenth of a pixel on the page."""
    numbers = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), path)
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", numbers).strip()
