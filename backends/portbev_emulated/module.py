"""``torch.npu``: the device module, and what torch's C++ side asks of a device."""

# mypy: disable-error-code="attr-defined, name-defined, misc"
# (private parts of torch, which have no types)

from __future__ import annotations

import os
import sys
import time
from types import ModuleType, SimpleNamespace, TracebackType
from typing import Any

import torch

from portbev.host import HostMemory
from portbev_emulated.memory import DEVICE_TYPE

DEVICE_NAME = "emulated Ascend npu"


class Stream:
    """The device's only stream: everything is done when the call returns."""

    def __init__(self, device: Any = None, priority: int = 0, **kwargs: Any) -> None:
        check_device(device)
        self.device = torch.device(DEVICE_TYPE, 0)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to restore."""

    def synchronize(self) -> None:
        """Nothing is pending."""

    def wait_stream(self, stream: Stream) -> None:
        """Nothing is pending."""

    def wait_event(self, event: Event) -> None:
        """Nothing is pending."""

    def query(self) -> bool:
        return True

    def record_event(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event


class Event:
    """A moment on the stream."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.time = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.time = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        """Nothing is pending."""

    def synchronize(self) -> None:
        """Nothing is pending."""

    def query(self) -> bool:
        return True

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to ``end_event``."""
        return (end_event.time - self.time) * 1e3


class DeviceContext:
    """``with torch.npu.device(0)``: there is one device."""

    def __init__(self, device: Any) -> None:
        check_device(device)

    def __enter__(self) -> DeviceContext:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to restore."""


def check_device(device: Any = None) -> None:
    """Raise as a runtime does for a device number that does not exist."""
    index = 0 if device is None else torch.device(device).index if isinstance(device, (str, torch.device)) else device
    if index not in (None, -1, 0):
        raise RuntimeError(f"invalid device ordinal {index}: the emulated npu is one device, npu:0")


def set_device(device: Any) -> None:
    """There is one device."""
    check_device(device)


def build() -> ModuleType:
    """The module ``torch.npu`` of the emulated device, with the parameters of torch_npu 2.8 and 2.13.

    Random numbers come from the CPU's default generator: the emulated npu draws what the CPU would draw.
    """
    module = ModuleType("torch.npu", "The emulated npu: one device in host memory.")
    functions: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "init": lambda: None,
        "_lazy_init": lambda: None,
        "_is_in_bad_fork": lambda: False,
        "is_bf16_supported": lambda including_emulation=False: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": set_device,
        "_exchange_device": lambda device: -1,
        "_maybe_exchange_device": lambda device: -1,
        "get_device_name": lambda device_name=None: DEVICE_NAME,
        "get_device_properties": lambda device_name=None: SimpleNamespace(
            name=DEVICE_NAME, total_memory=_host_memory()
        ),
        "get_amp_supported_dtype": lambda: [torch.float16, torch.bfloat16],
        "synchronize": check_device,
        "current_stream": lambda device=None: Stream(),
        "default_stream": lambda device=None: Stream(),
        "stream": lambda stream: Stream(),
        "manual_seed": lambda seed: None,  # torch.manual_seed has seeded the CPU's generator already
        "manual_seed_all": lambda seed: None,
        "get_rng_state": lambda device="npu": torch.get_rng_state(),
        "set_rng_state": lambda new_state, device="npu": torch.set_rng_state(new_state),
        "empty_cache": lambda: None,
        "memory_allocated": lambda device=None: HostMemory.peak(),
        "max_memory_allocated": lambda device=None: HostMemory.peak(),
        "max_memory_reserved": lambda device=None: HostMemory.peak(),
        "reset_peak_memory_stats": lambda device=None: HostMemory.reset(),
        "Stream": Stream,
        "Event": Event,
        "device": DeviceContext,
        "utils": SimpleNamespace(is_support_inf_nan=lambda: os.environ.get("INF_NAN_MODE_ENABLE", "1") != "0"),
        # HF32 as on the device: convolutions on by default, matrix products off. Recorded, without effect.
        "conv": SimpleNamespace(allow_hf32=True),
        "matmul": SimpleNamespace(allow_hf32=False),
    }
    for name, value in functions.items():
        setattr(module, name, value)
    return module


def register() -> ModuleType:
    """Make torch know the device type ``npu`` with its module."""
    module = build()
    torch.utils.rename_privateuse1_backend(DEVICE_TYPE)
    torch.utils.generate_methods_for_privateuse1_backend()
    torch._register_device_module(DEVICE_TYPE, module)
    sys.modules["torch.npu"] = module
    return module


def _host_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
