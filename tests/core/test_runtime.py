"""Choosing a backend: names, absence, emulation."""

from __future__ import annotations

import pytest

from portbev.backend import Availability, Backend, Emulator, MissingError, Stage, staged
from portbev.errors import BackendError
from portbev.hookspecs import hookimpl
from portbev.plugins import Plugins
from portbev.runtime import find_backend
from portbev_cpu.backend import CpuBackend


class Fake(Backend):
    name, device_type, collective, priority = "fake", "cpu", "gloo", 50
    there = False

    def probe(self) -> Availability:
        return Availability((Stage("driver", True, "1.0"), Stage("device", self.there, "none found", "plug one in")))


class FakePlugin:
    def __init__(self) -> None:
        self.backend = Fake()

    @hookimpl
    def portbev_backends(self) -> list[Backend]:
        return [CpuBackend(), self.backend]

    @hookimpl
    def portbev_emulators(self) -> list[Emulator]:
        return [Emulator("fake", self.install)]

    def install(self) -> None:
        self.backend.there = True


@pytest.fixture
def among() -> Plugins:
    return Plugins(lambda found: found.register(FakePlugin(), "fake"))


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


def test_emulating_what_has_no_emulator_is_an_error(among: Plugins) -> None:
    with pytest.raises(BackendError, match=r"there is no emulator for backend 'cpu'.*Known: fake"):
        find_backend("cpu", emulate=True, among=among)


def test_emulating_auto_is_an_error(among: Plugins) -> None:
    with pytest.raises(BackendError, match="--emulate needs a named backend"):
        find_backend("auto", emulate=True, among=among)


def test_auto_takes_the_available_backend_of_highest_priority(among: Plugins) -> None:
    assert find_backend("auto", among=among).name == "cpu"
    among.backends()["fake"].there = True  # type: ignore[attr-defined]
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
