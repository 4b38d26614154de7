"""Plugins: discovery, failures kept, names that collide."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest

from portbev import plugins as module
from portbev.errors import PortbevError
from portbev.hookspecs import hookimpl
from portbev.plugins import Plugins
from portbev_cpu.backend import CpuBackend


class Good:
    @hookimpl
    def portbev_backends(self) -> list[CpuBackend]:
        return [CpuBackend()]


class Raising:
    @hookimpl
    def portbev_backends(self) -> list[CpuBackend]:
        raise RuntimeError("no such driver")


class Unknown:
    @hookimpl
    def portbev_wheels(self) -> list[object]:
        return []


def registered(**named: object) -> Plugins:
    def load(found: Plugins) -> None:
        for name, plugin in named.items():
            found.register(plugin, name)

    return Plugins(load)


def test_a_hook_that_raises_is_recorded_and_the_others_serve() -> None:
    found = registered(raising=Raising(), good=Good())
    assert set(found.backends()) == {"cpu"}
    (failure,) = found.failures
    assert (failure.plugin, failure.hook, failure.error) == (
        "raising",
        "portbev_backends",
        "RuntimeError: no such driver",
    )
    assert "Traceback" in failure.details


def test_a_hook_that_raises_is_recorded_once() -> None:
    found = registered(raising=Raising())
    found.backends()
    found.backends()
    assert len(found.failures) == 1


def test_an_unknown_hook_is_recorded_and_its_plugin_left_out() -> None:
    found = registered(unknown=Unknown(), good=Good())
    assert [failure.plugin for failure in found.failures] == ["unknown"]
    assert "portbev_wheels" in found.failures[0].error
    assert set(found.backends()) == {"cpu"}


def test_two_backends_of_one_name_are_an_error_with_a_cure() -> None:
    with pytest.raises(PortbevError, match=r"two plugins offer a backend named 'cpu'\. Uninstall one"):
        registered(one=Good(), two=Good()).backends()


def plugin_of(backend_name: str, **options: bool) -> object:
    backend = type("Named", (CpuBackend,), {"name": backend_name})()
    return type("Plugin", (), {"portbev_backends": hookimpl(**options)(lambda self: [backend])})()


def test_hooks_run_in_pluggy_s_order() -> None:
    assert list(registered(a=plugin_of("first"), b=plugin_of("last")).backends()) == ["last", "first"]
    chosen = registered(a=plugin_of("a", tryfirst=True), b=plugin_of("b"), c=plugin_of("c", trylast=True))
    assert list(chosen.backends()) == ["a", "b", "c"]


def test_a_wrapper_sees_and_changes_what_the_others_offer() -> None:
    class Wrapper:
        @hookimpl(wrapper=True)
        def portbev_backends(self):  # type: ignore[no-untyped-def]
            offered = yield
            return [records for records in offered if records[0].name != "unwanted"]

    found = registered(good=Good(), bad=plugin_of("unwanted"), wrapper=Wrapper())
    assert set(found.backends()) == {"cpu"}


def test_a_wrapper_that_raises_is_recorded_and_left_out() -> None:
    class Wrapper:
        @hookimpl(wrapper=True)
        def portbev_backends(self):  # type: ignore[no-untyped-def]
            yield
            raise RuntimeError("no")

    found = registered(good=Good(), wrapper=Wrapper())
    assert set(found.backends()) == {"cpu"}
    assert [failure.plugin for failure in found.failures] == ["wrapper"]


def test_installed_plugins_come_in_the_order_of_their_names() -> None:
    names = list(Plugins().models())
    assert names == sorted(names)


def test_an_entry_point_that_does_not_import_is_recorded_and_the_rest_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "portbev_not_there", module.GROUP)
    npu = EntryPoint("npu", "portbev_npu", module.GROUP)
    monkeypatch.setattr(module, "entry_points", lambda group: [broken, npu])
    found = Plugins()
    assert set(found.backends()) == {"npu"}
    assert str(found.failures[0]) == "plugin 'broken' failed: ModuleNotFoundError: No module named 'portbev_not_there'"
    assert "portbev_not_there" in found.said()


def test_installed_plugins_all_load() -> None:
    found = Plugins()
    assert {"cpu", "cuda", "rocm", "npu"} <= set(found.backends())
    assert set(found.emulators()) == {"npu"}
    assert found.kernels()
    assert [failure for failure in found.failures if failure.plugin in ("cuda", "rocm", "npu", "emulated")] == []


def test_nothing_failed_is_nothing_said() -> None:
    assert registered(good=Good()).said() == ""


def test_a_plugin_may_be_any_object_with_hooks() -> None:
    plugin = SimpleNamespace(portbev_models=hookimpl(lambda: []))
    assert registered(plain=plugin).models() == {}
