"""Importing the vendor's packages without harm.

Sources: torch_npu 2.13.0. Its ``__init__`` sets ``TORCH_DEVICE_BACKEND_AUTOLOAD=0`` and restores it after a good import
only, so a failed one would leak "0" to child processes.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
CANN_LIBRARIES = ("libascendcl.so", "libhccl.so")


def is_installed(package: str) -> bool:
    """Whether ``import package`` would find something; nothing is imported."""
    if package in sys.modules:
        return True
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


@contextmanager
def kept_environment(*names: str) -> Iterator[None]:
    """Restore the environment variables ``names`` on the way out, whatever happened in between."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def guarded_import(package: str) -> ModuleType:
    """``import package`` with the environment kept.

    Raises:
        ImportError: whatever the package raised (missing CANN libraries raise several kinds), with its text.
    """
    with kept_environment(AUTOLOAD):
        try:
            return importlib.import_module(package)
        except ImportError:
            raise
        except Exception as error:
            raise ImportError(f"{type(error).__name__}: {error}", name=package) from error


def load_library(name: str) -> None:
    """Load a shared library of CANN.

    Raises:
        OSError: the loader's own words.
    """
    ctypes.CDLL(name)
