"""A device family as data plus a few methods.

Everything that is the same on every device goes through ``torch.accelerator`` or ``getattr(torch, device_type)``;
what differs is here, in the subclasses that plugins bring, and nowhere else.
"""

from __future__ import annotations

import contextlib
import copy
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from portbev.combinations import Combination
from portbev.precision import Amp, Determinism, Precision
from portbev.probing import Availability

if TYPE_CHECKING:
    from portbev.config.schema import ComputeSection

API_VERSION = 1


class Backend:
    """A device family. Subclass it in a plugin and return an instance from the hook ``portbev_backends``.

    A backend is a value: nothing changes it after it was made, and :meth:`as_emulated` gives another one.

    Attributes:
        name: what ``--backend`` takes.
        device_type: torch device type (``cpu``, ``cuda``, ``npu``); two backends may share one (cuda and rocm).
        collective: name of the process-group backend (``gloo``, ``nccl``, ``hccl``).
        visible_devices: environment variable that limits the devices a process sees; empty if there is none.
        priority: ``--backend auto`` takes the available backend with the highest.
        own_settings: keys of the configuration's section ``compute`` that not every backend can follow and this one
            does, in its own :meth:`prepare_host` or :meth:`prepare_model`. Of the others the user is told.
        combinations: versions that go together, as far as that is tested; the first row that fits counts.
        pins_memory: whether the device copies from pinned host memory while the host goes on.
        sums_wide: whether it computes with float64 and 64-bit integers, and at a speed worth using.
        emulated: whether the device is emulated; shown wherever the device is named.
    """

    api_version: ClassVar[int] = API_VERSION
    name: str = ""
    device_type: str = ""
    collective: str = ""
    visible_devices: str = ""
    priority: int = 0
    own_settings: tuple[str, ...] = ()
    combinations: tuple[Combination, ...] = ()
    pins_memory: bool = False
    sums_wide: bool = True
    emulated: bool = False

    def probe(self) -> Availability:
        """Look for the device in stages, keeping each stage's error. Never raises, never changes torch's state."""
        raise NotImplementedError

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        """Make the process use this device with the given float32 precision and determinism.

        ``highest`` turns reduced-precision matrix units off for float32 (TF32, HF32); ``fast`` turns them on.
        :func:`use_deterministic_algorithms` is torch's part of determinism.
        """
        raise NotImplementedError

    def environment(self) -> dict[str, Any]:
        """Driver, runtime, libraries and devices with their versions, as JSON values, for the run record."""
        raise NotImplementedError

    def components(self) -> dict[str, str | None]:
        """Versions of what :attr:`combinations` speaks of, None where it is not installed; empty where nothing of the
        device's is. Asked whether the device is there or not; imports nothing of the vendor's."""
        return {"torch": torch.__version__, "Python": platform.python_version()}

    # What follows is the same for every device that torch knows; override only where the vendor differs.

    def prepare_host(self, compute: ComputeSection) -> list[str]:
        """Settings of this process: torch's CPU threads. Doing it again changes nothing.

        Returns:
            Notes for people: what ``compute`` asks for and cannot be done.
        """
        if compute.threads is not None:
            torch.set_num_threads(compute.threads)
        if compute.keep_freed_memory and "keep_freed_memory" not in self.own_settings:
            return ["compute.keep_freed_memory is for the cpu backend; the heap stays as it was"]
        return []

    def pins(self, compute: ComputeSection) -> bool:
        """Whether loaded batches are put into pinned memory."""
        return self.pins_memory and not self.emulated and compute.pin_memory == "auto"

    def prepare_model(self, model: nn.Module, compute: ComputeSection) -> list[str]:
        """Make a model compute as asked for: the memory format of its maps, compiled parts.

        Doing it again changes nothing.

        Layers that must not see that format stay out of it (:mod:`portbev.nn.contiguous_conv`).

        It comes after the model is built and before it is wrapped for data parallelism. Parameters, their names and
        their values stay.

        Returns:
            Notes for people: what is compiled, and what ``compute`` asks for and cannot be done.
        """
        from portbev.nn.contiguous_conv import keep_contiguous  # layers stand above devices
        from portbev.nn.map_format import BevPath, ImagePath, set_format

        keep_contiguous(model)
        notes = []
        last = compute.memory_format == "channels_last"
        set_format(model, BevPath, _format(last and self.bev_channels_last(compute)))
        if not set_format(model, ImagePath, _format(last)) and last:
            notes.append("compute.memory_format: this model has no image path; its tensors stay contiguous")
        notes += self._compile(model, compute)
        if compute.weight_gradients == "avx2" and "weight_gradients" not in self.own_settings:
            notes.append("compute.weight_gradients: avx2 is for the cpu backend; torch's own weight gradients are used")
        if compute.linear == "onednn" and "linear" not in self.own_settings:
            notes.append("compute.linear: onednn is for the cpu backend; torch's own products are used")
        return notes

    def bev_channels_last(self, compute: ComputeSection) -> bool:
        """Whether ``compute.memory_format: channels_last`` means bird's-eye-view maps too: where it was seen to pay."""
        return False

    def _compile(self, model: nn.Module, compute: ComputeSection) -> list[str]:
        """Compile the parts that the model names, or say why they are not."""
        from portbev.nn.compiled import compile_parts, compiled_parts, recomputing, why_not

        named = compiled_parts(model) if compute.compile == "parts" else []
        left_out = recomputing(model, named)
        wanted = [name for name in named if name not in left_out]
        reason = None
        if wanted:
            reason = "nothing compiles for an emulated device" if self.emulated else why_not(self.device())
        compile_parts(model, [] if reason else wanted)
        if compute.compile == "off":
            return []
        if not named:
            return ["compute.compile: this model names no parts to compile; nothing is compiled"]
        if reason:
            return [f"compute.compile: nothing is compiled: {reason}"]
        told = {
            "are compiled, which the first steps take time for": wanted,
            "are not compiled, because their activations are recomputed": left_out,
        }
        return [f"compute.compile: {', '.join(names)} {what}" for what, names in told.items() if names]

    def as_emulated(self) -> Backend:
        """The same backend on its emulated device."""
        twin = copy.copy(self)
        twin.emulated = True
        return twin

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

    def energy(self) -> float | None:
        """Joules that the device has used since some moment in the past; None where the driver does not tell."""
        return None

    def autocast(self, amp: Amp) -> AbstractContextManager[Any]:
        """Autocast context for the forward pass."""
        if amp == "none":
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, dtype={"fp16": torch.float16, "bf16": torch.bfloat16}[amp])

    def grad_scaler(self, amp: Amp, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
        """Loss scaler that starts at ``init_scale``; enabled for fp16 only."""
        return torch.amp.GradScaler(self.device_type, init_scale=init_scale, enabled=amp == "fp16")

    def other_order(self) -> tuple[str, AbstractContextManager[Any]] | None:
        """A way to compute the same in which sums are added up in another order: what it is, and what to enter for it.

        None where there is no such way.
        """
        return None

    def rng_state(self) -> torch.Tensor | None:
        """State of the device's own generator, as a CPU byte tensor; None when it has none apart from the CPU's."""
        return self.module.get_rng_state()

    def set_rng_state(self, state: torch.Tensor) -> None:
        self.module.set_rng_state(state)


def _format(channels_last: bool) -> torch.memory_format:
    return torch.channels_last if channels_last else torch.contiguous_format


def use_deterministic_algorithms(deterministic: Determinism) -> None:
    """torch's own functions: deterministic ones alone (``required``), where there are some, or whichever is fastest."""
    torch.use_deterministic_algorithms(deterministic != "off", warn_only=deterministic == "preferred")


@dataclass(frozen=True)
class Emulator:
    """An emulated device for machines that lack the real one.

    Attributes:
        name: of the backend whose device it stands in for.
        install: makes torch know the device type and puts stand-ins for the vendor's packages in place; after it the
            backend's own probe passes. It raises :class:`portbev.errors.BackendError` where the real device is
            present, and may be called again.
        installed: whether this process has the emulated device. Imports nothing.
        describe: what it is, for people.
    """

    name: str
    install: Callable[[], None]
    installed: Callable[[], bool]
    describe: str = ""
