"""How the tests of dumps make one."""

from __future__ import annotations

from collections.abc import Callable

from portbev.parity.dumps.reading import Dump

MakeDump = Callable[..., Dump]
CONFIG = "bevdepth/tiny_test"
