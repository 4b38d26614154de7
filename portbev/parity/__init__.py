"""Evidence that runs on different devices agree.

``runs`` reads run directories, ``grouping`` says which of them may be compared, ``table``, ``curves`` and
``differences`` compare, ``document`` is what they fill in, ``assemble`` fills it, ``render`` writes it.
"""

from portbev.parity.assemble import build_report
from portbev.parity.document import ParityReport
from portbev.parity.render import write_report

__all__ = ["ParityReport", "build_report", "write_report"]
