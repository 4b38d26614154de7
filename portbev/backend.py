"""A device family as data plus a few methods.

Everything that is the same on every device goes through ``torch.accelerator`` or ``getattr(torch, device_type)``;
what differs is here, in the subclasses that plugins bring, and nowhere else.
"""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from portbev.precision import Amp, Precision

API_VERSION = 1


@dataclass(frozen=True)
class Stage:
    """One step of finding a device: what was looked for, whether it was there, and what to do if not."""

    name: str
    ok: bool
    detail: str = ""
    cure: str = ""


@dataclass(frozen=True)
class Availability:
    """The stages of a probe, in order; the device is usable when all of them passed."""

    stages: tuple[Stage, ...]

    @property
    def available(self) -> bool:
        return all(stage.ok for stage in self.stages)

    @property
    def failed(self) -> Stage | None:
        """First stage that did not pass."""
        return next((stage for stage in self.stages if not stage.ok), None)

    @property
    def reason(self) -> str:
        return "" if self.failed is None else f"{self.failed.name}: {self.failed.detail}"

    @property
    def cure(self) -> str:
        return "" if self.failed is None else self.failed.cure


class Backend:
    """A device family. Subclass it in a plugin and return an instance from the hook ``portbev_backends``.

    Attributes:
        name: what ``--backend`` takes.
        device_type: torch device type (``cpu``, ``cuda``, ``npu``); two backends may share one (cuda and rocm).
        collective: name of the process-group backend (``gloo``, ``nccl``, ``hccl``).
        visible_devices: environment variable that limits the devices a process sees; empty if there is none.
        priority: ``--backend auto`` takes the available backend with the highest.
        emulated: whether the device is emulated; shown wherever the device is named.
    """

    api_version: ClassVar[int] = API_VERSION
    name: str = ""
    device_type: str = ""
    collective: str = ""
    visible_devices: str = ""
    priority: int = 0
    emulated: bool = False

    def probe(self) -> Availability:
        """Look for the device in stages, keeping each stage's error. Never raises, never changes torch's state."""
        raise NotImplementedError

    def activate(self, precision: Precision = "highest", deterministic: bool = False) -> None:
        """Make the process use this device with the given float32 precision and determinism.

        ``highest`` turns reduced-precision matrix units off for float32 (TF32, HF32); ``fast`` turns them on.
        """
        raise NotImplementedError

    def environment(self) -> dict[str, Any]:
        """Driver, runtime, libraries and devices with their versions, as JSON values, for the run record."""
        raise NotImplementedError

    # What follows is the same for every device that torch knows; override only where the vendor differs.

    @property
    def label(self) -> str:
        """Name for people: says when the device is emulated."""
        return f"{self.name} (emulated)" if self.emulated else self.name

    @property
    def module(self) -> Any:
        """``torch.cuda``, ``torch.npu`` ...; ``torch.cpu`` for the CPU."""
        return getattr(torch, self.device_type)

    def device_count(self) -> int:
        return int(self.module.device_count())

    def device(self, index: int | None = None) -> torch.device:
        """Device number ``index``; None: the one that :meth:`set_device` chose for this process."""
        return torch.device(self.device_type, int(self.module.current_device()) if index is None else index)

    def set_device(self, index: int) -> None:
        self.module.set_device(index)

    def device_name(self, index: int | None = None) -> str:
        return str(self.module.get_device_name(self.device(index)))

    def synchronize(self) -> None:
        """Wait until the device has done all that was asked of it."""
        self.module.synchronize()

    def reset_peak_memory(self) -> None:
        self.module.reset_peak_memory_stats()

    def peak_memory(self) -> int:
        """Largest number of bytes in use on the device since :meth:`reset_peak_memory`."""
        return int(self.module.max_memory_allocated())

    def autocast(self, amp: Amp) -> AbstractContextManager[Any]:
        """Autocast context for the forward pass."""
        if amp == "none":
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype={"fp16": torch.float16, "bf16": torch.bfloat16}[amp])

    def grad_scaler(self, amp: Amp, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
        """Loss scaler that starts at ``init_scale``; enabled for fp16 only."""
        return torch.amp.GradScaler(self.device_type, init_scale=init_scale, enabled=amp == "fp16")

    def rng_state(self) -> torch.Tensor | None:
        """State of the device's own generator, as a CPU byte tensor; None when it has none apart from the CPU's."""
        return self.module.get_rng_state()

    def set_rng_state(self, state: torch.Tensor) -> None:
        self.module.set_rng_state(state)


@dataclass
class Emulator:
    """An emulated device for machines that lack the real one.

    ``install`` makes torch know the device type and puts stand-ins for the vendor's packages in place; after it the
    backend's own probe passes. It raises :class:`portbev.errors.BackendError` where the real device is present.
    """

    name: str
    install: Callable[[], None]
    describe: str = ""


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


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as handle:
            return next(line.split(":", 1)[1].strip() for line in handle if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


class MissingError(Exception):
    """What a probe stage found missing, told in words of our own; other exceptions are shown with their type."""


@contextlib.contextmanager
def staged(stages: list[Stage], name: str, cure: str) -> Iterator[list[str]]:
    """Record one probe stage: passes with the text put into the yielded list, fails with the exception's."""
    said: list[str] = []
    try:
        yield said
    except MissingError as error:
        stages.append(Stage(name, False, str(error), cure))
    except Exception as error:
        stages.append(Stage(name, False, f"{type(error).__name__}: {error}", cure))
    else:
        stages.append(Stage(name, True, " ".join(said)))
