"""Write a report: JSON, CSV, Markdown with a picture, one self-contained HTML page."""

from portbev.parity.render.write import write_report

__all__ = ["write_report"]
