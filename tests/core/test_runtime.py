"""Choosing a backend: names, absence, emulation."""

from __future__ import annotations

import pytest

from portbev.backend import Backend, Emulator
from portbev.errors import BackendError
from portbev.hookspecs import hookimpl
from portbev.plugins import Plugins
from portbev.probing import Availability, MissingError, Stage, staged
from portbev.runtime import activate, backends_here, find_backend
from portbev_cpu.backend import CpuBackend


class Machine:
    """Whether the device is in it, or its emulation."""

    def __init__(self) -> None:
        self.real = self.emulated = False

    def emulate(self) -> None:
        self.emulated = True


class Fake(CpuBackend):
    name, device_type, collective, priority = "fake", "cpu", "gloo", 50

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def probe(self) -> Availability:
        there = self.machine.real or self.machine.emulated
        return Availability((Stage("driver", True, "1.0"), Stage("device", there, "none found", "plug one in")))


class FakePlugin:
    def __init__(self, machine: Machine | None = None) -> None:
        self.machine = machine or Machine()

    @hookimpl
    def portbev_backends(self) -> list[Backend]:
        return [CpuBackend(), Fake(self.machine)]

    @hookimpl
    def portbev_emulators(self) -> list[Emulator]:
        return [Emulator("fake", self.machine.emulate, lambda: self.machine.emulated)]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def among(machine: Machine) -> Plugins:
    return Plugins(lambda found: found.register(FakePlugin(machine), "fake"))


def test_an_unknown_name_gets_the_nearest_and_all(among: Plugins) -> None:
    with pytest.raises(BackendError) as caught:
        find_backend("fakke", among=among)
    assert str(caught.value) == "--backend: unknown backend 'fakke'. Did you mean 'fake'? Known: cpu, fake"


def test_an_unknown_name_mentions_plugins_that_did_not_load() -> None:
    def load(found: Plugins) -> None:
        found.register(FakePlugin(), "fake")
        found.fail("gpu", "", ImportError("libgpu.so"))

    with pytest.raises(BackendError, match=r"not loaded: plugin 'gpu' failed: ImportError: libgpu\.so"):
        find_backend("gpu", among=Plugins(load))


def test_an_absent_device_gets_stage_reason_cure_and_the_emulator(among: Plugins) -> None:
    with pytest.raises(BackendError) as caught:
        find_backend("fake", among=among)
    assert str(caught.value) == (
        "backend 'fake' is not available: device: none found. "
        "plug one in; or try it without the device: --backend fake --emulate"
    )
    assert caught.value.exit_code == 2


def test_emulation_makes_it_available_and_says_so(among: Plugins) -> None:
    backend = find_backend("fake", emulate=True, among=among)
    assert backend.emulated
    assert backend.label == "fake (emulated)"


def test_emulation_leaves_the_plugins_own_object_as_it_was(among: Plugins) -> None:
    own = among.backends()["fake"]
    before = dict(vars(own))
    assert activate("fake", emulate=True, among=among).emulated
    assert among.backends()["fake"] is own
    assert vars(own) == before
    assert not own.emulated


def test_an_emulated_device_says_so_however_it_is_found_afterwards(among: Plugins) -> None:
    find_backend("fake", emulate=True, among=among)
    assert find_backend("fake", among=among).label == "fake (emulated)"
    assert [backend.label for backend in backends_here(among).values()] == ["cpu", "fake (emulated)"]


def test_emulating_what_has_no_emulator_is_an_error(among: Plugins) -> None:
    with pytest.raises(BackendError, match=r"there is no emulator for backend 'cpu'.*Known: fake"):
        find_backend("cpu", emulate=True, among=among)


def test_emulating_auto_is_an_error(among: Plugins) -> None:
    with pytest.raises(BackendError, match="--emulate needs a named backend"):
        find_backend("auto", emulate=True, among=among)


def test_auto_takes_the_available_backend_of_highest_priority(among: Plugins, machine: Machine) -> None:
    assert find_backend("auto", among=among).name == "cpu"
    machine.real = True
    assert find_backend("auto", among=among).name == "fake"


def test_auto_does_not_take_a_device_that_was_emulated_before(among: Plugins) -> None:
    backend = find_backend("fake", emulate=True, among=among)
    assert backend.probe().available and backend.priority > find_backend("cpu", among=among).priority
    assert find_backend("auto", among=among).name == "cpu"


def test_a_stage_that_raises_keeps_type_text_and_cure() -> None:
    stages: list[Stage] = []
    with staged(stages, "library", "install it"):
        raise OSError("libx.so: not found")
    assert stages == [Stage("library", False, "OSError: libx.so: not found", "install it")]


def test_a_stage_that_misses_something_says_it_in_its_own_words() -> None:
    stages: list[Stage] = []
    with staged(stages, "package", "install it"):
        raise MissingError("no package x")
    assert stages[0].detail == "no package x"


def test_a_stage_that_passes_keeps_what_it_said() -> None:
    stages: list[Stage] = []
    with staged(stages, "package", "install it") as said:
        said.append("1.2")
    assert stages == [Stage("package", True, "1.2")]


def test_availability_is_that_of_the_first_failed_stage() -> None:
    state = Availability((Stage("a", True), Stage("b", False, "why", "how"), Stage("c", False, "later", "later")))
    assert (state.available, state.reason, state.cure) == (False, "b: why", "how")
