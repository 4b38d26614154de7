"""Importing torch on machines whose vendor's package cannot be imported.

torch imports every package with an entry point of group ``torch.backends`` while it is imported itself. One that fails
there (a vendor's package whose driver or toolkit is not set up) makes ``import torch`` fail, whichever device is asked
for. Backends import what they need in their probes and keep the error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "TORCH_DEVICE_BACKEND_AUTOLOAD"


@contextmanager
def no_autoload() -> Iterator[None]:
    """While inside, this process and those it starts import torch alone; the environment is restored afterwards."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "0"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before
