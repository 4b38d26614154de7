"""What a third party's backend can test itself with.

>>> from portbev.testing import BackendConformance
>>> class TestMyBackend(BackendConformance):
...     backend_name = "mine"

pytest collects the class; ``emulate = True`` installs the emulated device of that name first.
"""

from __future__ import annotations

from portbev.testing.conformance import BackendConformance

__all__ = ["BackendConformance"]
