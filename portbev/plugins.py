"""The plugin manager: discovery by entry point, errors kept.

A plugin that fails to import or whose hook raises is recorded with its error and does not take the others down.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from portbev import hookspecs
from portbev.errors import PortbevError
from portbev.hookspecs import GROUP

if TYPE_CHECKING:
    from portbev.backend import Backend, Emulator
    from portbev.bench.models import BenchModel
    from portbev.bench.peers import Peer
    from portbev.convert.config import ConfigReader
    from portbev.data.kinds import DataKind, DataSet
    from portbev.doctor import Checkup
    from portbev.evaluate.benchmark import Benchmark
    from portbev.export.interface import ModelForms, RequestForm
    from portbev.kernels import Kernel
    from portbev.models import ModelFamily


@dataclass(frozen=True)
class PluginFailure:
    """A plugin, or one of its hooks, that could not be used."""

    plugin: str
    hook: str  # "" when the plugin itself did not load
    error: str
    details: str

    def __str__(self) -> str:
        what = f"hook {self.hook} of plugin {self.plugin!r}" if self.hook else f"plugin {self.plugin!r}"
        return f"{what} failed: {self.error}"


class Plugins:
    """Loaded plugins and what went wrong with the rest.

    Args:
        load: called with the pluggy manager and a function that records failures; registers the plugins.
            The default finds the entry points of group ``portbev``.
    """

    def __init__(self, load: Callable[[Plugins], None] | None = None) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.failures: list[PluginFailure] = []
        self._cache: dict[str, list[Any]] = {}
        (load or load_entry_points)(self)

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin; an unusable one is recorded in :attr:`failures`."""
        try:
            self.manager.register(plugin, name)
            self.manager.check_pending()
        except Exception as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            self.fail(name, "", error)

    def fail(self, plugin: str, hook: str, error: BaseException) -> None:
        """Record a failure with its traceback."""
        text = f"{type(error).__name__}: {error}"
        self.failures.append(PluginFailure(plugin, hook, text, "".join(traceback.format_exception(error))))

    def collect(self, hook: str) -> list[Any]:
        """Records of every plugin for ``hook``, in pluggy's order; a hook that raises is recorded, once."""
        if hook not in self._cache:
            self._cache[hook] = [record for records in self._call(hook) for record in records]
        return self._cache[hook]

    def _call(self, hook: str) -> list[Any]:
        """What the plugins return; whoever raises is left out, and the others are asked again."""
        broken: list[object] = []
        caller = getattr(self.manager.hook, hook)
        while True:
            try:
                results: list[Any] = caller()
                return results
            except Exception as error:
                culprit = _raised_by(error, caller.get_hookimpls())
                if culprit is None or culprit.plugin in broken:
                    raise
                self.fail(culprit.plugin_name, hook, error)
                broken.append(culprit.plugin)
                caller = self.manager.subset_hook_caller(hook, broken)

    def said(self) -> str:
        """What failed, for the end of an error about something that is missing; empty when all loaded."""
        return f" (not loaded: {'; '.join(map(str, self.failures))})" if self.failures else ""

    def backends(self) -> dict[str, Backend]:
        """Backends by name."""
        return self._by_name("portbev_backends", "backend")

    def emulators(self) -> dict[str, Emulator]:
        """Emulators by the name of the backend that they stand in for."""
        return self._by_name("portbev_emulators", "emulator")

    def kernels(self) -> list[Kernel]:
        """All kernels that plugins offer; those of the operators themselves (reference) are not among them."""
        return self.collect("portbev_kernels")

    def models(self) -> dict[str, ModelFamily]:
        """Model families by name."""
        return self._by_name("portbev_models", "model family")

    def datasets(self) -> dict[str, DataSet]:
        """Data sets by name."""
        return self._by_name("portbev_datasets", "data set")

    def data_kinds(self) -> dict[str, DataKind]:
        """Kinds of ``data`` sections by name, of all data sets."""
        return _by_name((kind for data_set in self.datasets().values() for kind in data_set.kinds), "kind of data")

    def benchmarks(self) -> dict[str, Benchmark]:
        """Benchmarks by name."""
        return self._by_name("portbev_benchmarks", "benchmark")

    def published(self) -> dict[str, Path]:
        """Files of published figures by their stem."""
        return {path.stem: path for path in self.collect("portbev_published")}

    def bench_models(self) -> dict[str, BenchModel]:
        """What is measured of model families, by family."""
        return {model.family: model for model in self.collect("portbev_bench_models")}

    def exports(self) -> dict[str, ModelForms]:
        """Model families as graphs of tensors, by family."""
        return {forms.family: forms for forms in self.collect("portbev_exports")}

    def requests(self) -> dict[str, RequestForm]:
        """How requests become batches, by kind of data."""
        return {form.kind: form for form in self.collect("portbev_requests")}

    def peers(self) -> list[Peer]:
        """Other libraries' forms of operators."""
        return self.collect("portbev_peers")

    def checkups(self) -> list[Checkup]:
        """What ``portbev doctor`` looks at on behalf of plugins."""
        return self.collect("portbev_checkups")

    def config_readers(self) -> dict[str, ConfigReader]:
        """Readers of the originals' configurations, by model family."""
        return self._by_name("portbev_config_readers", "reader of configurations")

    def _by_name(self, hook: str, what: str) -> dict[str, Any]:
        return _by_name(self.collect(hook), what)


def _by_name(records: Iterable[Any], what: str) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for record in records:
        if record.name in named:
            raise PortbevError(
                f"two plugins offer a {what} named {record.name!r}",
                cure="Uninstall one of them (pip list shows the distributions)",
            )
        named[record.name] = record
    return named


def _raised_by(error: Exception, implementations: Sequence[pluggy.HookImpl]) -> pluggy.HookImpl | None:
    """The implementation in whose call ``error`` was raised."""
    called = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    for implementation in implementations:
        function = getattr(implementation.function, "__func__", implementation.function)
        if getattr(function, "__code__", None) in called:
            return implementation
    return None


def load_entry_points(plugins: Plugins) -> None:
    """Register every module named by an entry point of group ``portbev``.

    Pluggy calls the last one first, so they are registered backwards: hooks then run in the order of the names.
    """
    for entry in sorted(entry_points(group=GROUP), key=lambda e: e.name, reverse=True):
        try:
            module = entry.load()
        except Exception as error:
            plugins.fail(entry.name, "", error)
        else:
            plugins.register(module, entry.name)


@lru_cache(maxsize=1)
def plugins() -> Plugins:
    """The process's plugins, found on first use."""
    return Plugins()
