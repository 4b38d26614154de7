"""Reports as pages, read back: the elements of one, and the page of runs made by hand."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from portbev.parity.assemble import report_on
from portbev.parity.document import ParityReport
from portbev.parity.render import write_report
from portbev.parity.runs import load_runs

VOID = {"meta", "br", "link", "input", "img", "hr"}


class Element:
    """A tag with its attributes, what is in it, and its text."""

    def __init__(self, tag, attributes, parent=None):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children, self._texts = [], []

    @property
    def text(self):
        return " ".join(" ".join(part if isinstance(part, str) else part.text for part in self._texts).split())

    def has(self, name):
        return name in (self.attributes.get("class") or "").split()

    def all(self, tag=None, **attributes):
        """Elements below this one in the order of the page."""
        found = []
        for child in self.children:
            if tag in (None, child.tag) and all(child.attributes.get(k) == v for k, v in attributes.items()):
                found.append(child)
            found += child.all(tag, **attributes)
        return found


class Page(HTMLParser):
    """A page's tree; ``unclosed`` has tags that were opened and not closed, or closed and not opened."""

    def __init__(self, text):
        super().__init__()
        self.root = self._at = Element("page", {})
        self.unclosed = []
        self.feed(text)
        while self._at is not self.root:
            self.unclosed.append(self._at.tag)
            self._at = self._at.parent

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs), self._at)
        self._at.children.append(element)
        self._at._texts.append(element)
        if tag not in VOID:
            self._at = element

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if self._at.tag == tag:
            self._at = self._at.parent
        else:
            self.unclosed.append(f"/{tag}")

    def handle_data(self, data):
        self._at._texts.append(data)

    def all(self, tag=None, **attributes):
        return self.root.all(tag, **attributes)


def write_page(paths, out: Path, change=None, **options) -> str:
    """The HTML of the report on ``paths``; ``change`` may alter the document before it is drawn."""
    runs = load_runs(paths)
    report: ParityReport = report_on(runs, **options)
    if change is not None:
        change(report)
    return write_report(report, runs, out)["html"].read_text(encoding="utf-8")
