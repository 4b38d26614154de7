"""Time, memory and energy of devices that this machine does not have, told by stand-ins of them."""

from __future__ import annotations

import ctypes
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from portbev.bench import resources
from portbev.bench.timing import FULL, QUICK, Timed, Timer, ratio
from portbev_cpu import rapl
from portbev_cuda import nvml
from portbev_rocm import smi


class Device:
    """A backend whose device says what it is told."""

    device_type, emulated = "other", False

    def __init__(self, **module: Any) -> None:
        self.module = types.SimpleNamespace(**module)
        self.used, self.peak = 100, 100
        self.joules: float | None = 1000.0

    def synchronize(self) -> None: ...

    def reset_peak_memory(self) -> None:
        self.peak = self.used

    def peak_memory(self) -> int:
        return self.peak

    def energy(self) -> float | None:
        return self.joules


class Event:
    """An event; eight milliseconds lie between one record and the next."""

    now = 0.0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.at = 0.0

    def record(self) -> None:
        Event.now += 8.0
        self.at = Event.now

    def elapsed_time(self, end: Event) -> float:
        return end.at - self.at


def test_events_of_the_device_give_seconds_of_one_call() -> None:
    timer = Timer(Device(Event=Event))  # type: ignore[arg-type]
    assert timer.seconds(lambda: None, calls=4) == pytest.approx(2e-3)  # 8 ms between the two
    assert "events of the device" in timer.method


def test_an_emulated_device_is_timed_by_the_host_s_clock() -> None:
    device = Device(Event=Event)
    device.emulated = True
    assert "the host's clock" in Timer(device).method  # type: ignore[arg-type]


def test_samples_are_of_so_many_calls_that_they_last_and_rounds_end_with_the_time() -> None:
    timer = Timer(Device())  # type: ignore[arg-type]
    timer._by_clock = lambda run, calls: 1e-4  # type: ignore[method-assign]
    one = Timed(lambda: None)
    timer.by_turns([one], QUICK)
    assert one.calls == 20 and len(one.samples) == QUICK.rounds[1]
    timer._by_clock = lambda run, calls: 30.0  # type: ignore[method-assign]
    long = Timed(lambda: None)
    timer.by_turns([long], FULL)
    assert long.samples == [30.0]


def test_a_ratio_is_the_median_of_neighbours_and_not_the_ratio_of_medians() -> None:
    assert ratio([2.0, 20.0, 200.0], [1.0, 10.0, 400.0]) == 2.0


def test_memory_is_what_a_call_adds_and_none_where_it_is_not_counted() -> None:
    device = Device(memory_allocated=lambda: 0)

    def run() -> None:
        device.peak = max(device.peak, device.used + 40)

    assert resources.extra_memory(device, run) == 40  # type: ignore[arg-type]
    assert resources.extra_memory(Device(), run) is None  # type: ignore[arg-type]


def test_energy_is_of_a_call_and_none_where_the_driver_is_silent_or_began_anew() -> None:
    device = Device()

    def run(spent: float) -> None:
        assert device.joules is not None
        device.joules += spent

    assert resources.energy(device, lambda: run(3.0), seconds=0.01) == pytest.approx(3.0)  # type: ignore[arg-type]
    assert resources.energy(device, lambda: run(-3.0), seconds=0.01) is None  # type: ignore[arg-type]
    device.joules = None
    assert resources.energy(device, lambda: None) is None  # type: ignore[arg-type]


class Nvml:
    """NVML's functions, for one GPU that has used 5 J."""

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        return 0 if uuid == b"GPU-1" else 6

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, used: Any) -> int:
        ctypes.cast(used, ctypes.POINTER(ctypes.c_ulonglong))[0] = 5000
        return 0


def test_nvml_tells_millijoules_of_the_gpu_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "_library", Nvml)
    assert nvml.joules("GPU-1") == 5.0
    assert nvml.joules("GPU-2") is None
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert nvml.joules("GPU-1") is None


def test_amdsmi_tells_counts_and_is_not_asked_where_gpus_are_renumbered(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("amdsmi")
    library.amdsmi_init = lambda: None  # type: ignore[attr-defined]
    library.amdsmi_get_processor_handles = lambda: ["first", "second"]  # type: ignore[attr-defined]
    count = {"first": 1e6, "second": 2e6}
    told = lambda handle: {"energy_accumulator": count[handle], "counter_resolution": 15.3}  # noqa: E731
    library.amdsmi_get_energy_count = told  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "amdsmi", library)
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    smi._library.cache_clear()
    try:
        assert smi.joules(1) == pytest.approx(30.6)
        assert smi.joules(5) is None
        monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
        assert smi.joules(0) is None
    finally:
        smi._library.cache_clear()


def test_rapl_adds_up_the_packages_and_not_their_parts(tmp_path: Path) -> None:
    for name, used in (("intel-rapl:0", "2000000"), ("intel-rapl:1", "3000000"), ("intel-rapl:0:0", "1000000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(used + "\n")
    assert rapl.joules(tmp_path) == pytest.approx(5.0)
    assert rapl.joules(tmp_path / "nowhere") is None
