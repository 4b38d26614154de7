"""Importing the vendor's packages without harm.

Sources: torch_npu 2.13.0. Its ``__init__`` sets ``TORCH_DEVICE_BACKEND_AUTOLOAD=0`` and restores it after a good import
only, so a failed one would leak "0" to child processes. mx_driving 26.1.0 and 26.2.0: their ``__init__`` imports
``torch_npu.contrib.transfer_to_npu``, which turns ``torch.cuda`` and ``torch.distributed`` of the whole process into
the npu's; sets up the root logger; and prepends to ``ASCEND_CUSTOM_OPP_PATH``, by which CANN finds the kernels once one
of them is called.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from portbev import autoload

AUTOLOAD = autoload.VARIABLE
CANN_LIBRARIES = ("libascendcl.so", "libhccl.so", "libacl_op_compiler.so", "libge_runner.so", "libgraph.so")
"""What torch_npu's library is linked with: without any of them ``import torch_npu`` fails."""
DRIVER = "libdrvdsmi_host.so"
"""The driver's library by which mx_driving tells the chip."""
TRANSFER = "torch_npu.contrib.transfer_to_npu"
KERNEL_PATH = "ASCEND_CUSTOM_OPP_PATH"
_kernel_paths: list[str] = []


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


@contextmanager
def kept_logging() -> Iterator[None]:
    """Restore the root logger's handlers and level, and the filters of warnings."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with warnings.catch_warnings():
        try:
            yield
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)


@contextmanager
def transfer_kept_out() -> Iterator[None]:
    """An empty module in the place of the one that patches the process. One that was imported before stays."""
    if TRANSFER in sys.modules:
        yield
        return
    sys.modules[TRANSFER] = ModuleType(TRANSFER)
    try:
        yield
    finally:
        del sys.modules[TRANSFER]


def _drop_finders(package: str) -> None:
    """Remove the import finders of ``package``, which would change other packages as they are imported."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not _module_of(finder).startswith(f"{package}.")]


def _module_of(finder: Any) -> str:
    return str(getattr(finder, "__module__", "") or type(finder).__module__)


def guarded_import(package: str) -> ModuleType:
    """``import package`` with the process kept as it was: environment, root logger, warnings, ``torch.cuda`` and
    ``torch.distributed``.

    Raises:
        ImportError: whatever the package raised (missing CANN libraries raise several kinds), with its text.
    """
    if package in sys.modules:
        return sys.modules[package]
    with ExitStack() as kept:
        kept.enter_context(kept_environment(AUTOLOAD, KERNEL_PATH))
        kept.enter_context(kept_logging())
        kept.enter_context(transfer_kept_out())
        kept.callback(_drop_finders, package)
        before = os.environ.get(KERNEL_PATH)
        try:
            module = importlib.import_module(package)
        except ImportError:
            raise
        except Exception as error:
            raise ImportError(f"{type(error).__name__}: {error}", name=package) from error
        after = os.environ.get(KERNEL_PATH)
        if after is not None and after != before:
            _kernel_paths[:] = [after]
        return module


def driving() -> Any:
    """mx_driving, for a call of one of its kernels.

    The first call puts the path back that its import set: CANN reads it when it first looks for a kernel, on a thread
    of its own perhaps, so it stays from then on.
    """
    module = guarded_import("mx_driving")
    if _kernel_paths:
        os.environ[KERNEL_PATH] = _kernel_paths.pop()
    return module


def load_library(name: str) -> None:
    """Load a shared library of CANN.

    Raises:
        OSError: the loader's own words.
    """
    ctypes.CDLL(name)
