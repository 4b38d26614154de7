"""The machine around the device: facts for the record, and memory where a device's memory is the host's."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import shutil
from typing import Any

import torch


def host_environment() -> dict[str, Any]:
    """Facts of the host that every backend's record shares."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "processor": _processor(),
        "logical_cores": os.cpu_count() or 0,
        "torch_threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


class HostMemory:
    """Peak resident memory of this process in bytes, for devices whose memory is the host's."""

    @staticmethod
    def reset() -> None:
        """Reset the kernel's peak counter where the system allows it (Linux)."""
        with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as handle:
            handle.write("5")

    @staticmethod
    def peak() -> int:
        try:
            with open("/proc/self/status") as handle:
                for line in handle:
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
        except OSError:
            pass
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cxx_compiler() -> list[str] | None:
    """The command of a C++ compiler: what ``CXX`` names, be it there or not, or else g++, clang++ or c++."""
    named = shlex.split(os.environ.get("CXX", ""))
    return named or next(([name] for name in ("g++", "clang++", "c++") if shutil.which(name)), None)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as handle:
            return next(line.split(":", 1)[1].strip() for line in handle if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
