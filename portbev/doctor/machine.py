"""The machine as checks see it: files, environment, packages and commands, each read when it is first asked for.

Everything is below ``root``, so a test plants a condition as a tree of files.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import platformdirs

from portbev.doctor.installed import Package, packages
from portbev.paths import is_url, roots_in

SECONDS = 60
"""A command that takes longer is taken for one that does not answer."""


@dataclass(frozen=True)
class Answer:
    """A command's exit status (negative: the signal that ended it) and what it printed, on both streams."""

    status: int
    output: str


@dataclass(frozen=True)
class Space:
    """Bytes of a file system."""

    total: int
    free: int


@dataclass(frozen=True)
class Mount:
    """A line of ``/proc/self/mounts``."""

    folder: str
    kind: str
    options: tuple[str, ...]


Run = Callable[[Sequence[str]], "Answer | None"]


@dataclass(frozen=True)
class Machine:
    """A view of a machine and of one Python environment on it.

    Attributes:
        root: of the file system; paths elsewhere are below it.
        environment: variables.
        search: folders that Python looks for packages in (``sys.path``).
        run: gives a command's answer; None: there is no such command.
        space: of the file system that a path is on; None: it is not there.
        may: whether this user may do what the mode (``os.R_OK | os.W_OK``) says with a path.
        python: this Python's version.
        system: ``Linux``, ``Windows``, ``Darwin``.
        architecture: ``x86_64``, ``aarch64``.
        interpreter: of this environment.
        home: the user's folder.
        out: where runs are written.
        cache: where derived files are written.
        data_root: of the data set; None: none was named.
        compiles: somebody is going to compile extensions here.
    """

    root: Path
    environment: Mapping[str, str]
    search: Sequence[str]
    run: Run
    space: Callable[[Path], Space | None]
    may: Callable[[Path, int], bool]
    python: str
    home: str
    out: str
    cache: str
    system: str = "Linux"
    architecture: str = "x86_64"
    interpreter: str = "python"
    data_root: str | None = None
    compiles: bool = False
    _texts: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)
    _answers: dict[tuple[str, ...], Answer | None] = field(default_factory=dict, compare=False, repr=False)

    def at(self, path: str) -> Path:
        """Where ``path`` of the machine really is."""
        return self.root / PurePosixPath(path).relative_to("/") if path.startswith("/") else Path(path)

    def text(self, path: str) -> str | None:
        """A file's text; None if it cannot be read."""
        if path not in self._texts:
            self._texts[path] = None
            with contextlib.suppress(OSError):
                self._texts[path] = self.at(path).read_text(encoding="utf-8", errors="replace").replace("\0", " ")
        return self._texts[path]

    def answer(self, *command: str) -> Answer | None:
        """A command's answer; each is run once. None: there is no such command."""
        if command not in self._answers:
            self._answers[command] = self.run(command)
        return self._answers[command]

    def exists(self, path: str) -> bool:
        """Whether there is such a file, folder or device."""
        try:
            return self.at(path).exists()
        except OSError:
            return False

    def names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; empty if it cannot be read."""
        try:
            return sorted(os.listdir(self.at(folder)))
        except OSError:
            return []

    def allowed(self, path: str, mode: int) -> bool:
        """Whether this user may open ``path`` in this way."""
        return self.may(self.at(path), mode)

    def standing(self, path: str) -> str:
        """``path``, or the nearest folder above it that is there already."""
        place = PurePosixPath(path)
        while not self.exists(str(place)) and place != place.parent:
            place = place.parent
        return str(place)

    def free(self, path: str) -> Space | None:
        """Space where ``path`` is or would be."""
        return self.space(self.at(self.standing(path)))

    def folders(self, variable: str) -> list[str]:
        """The folders of a variable such as ``LD_LIBRARY_PATH``."""
        return [one for one in self.environment.get(variable, "").split(":") if one.startswith("/")]

    @cached_property
    def packages(self) -> dict[str, list[Package]]:
        """Installed distributions by name in lower case with hyphens; more than one: the first is the one in use."""
        return packages({folder: str(self.at(folder)) for folder in self.search})

    def package(self, name: str) -> Package | None:
        """The distribution in use of that name."""
        return next(iter(self.packages.get(name, ())), None)

    @cached_property
    def mounts(self) -> list[Mount]:
        """Mounted file systems, in the order in which they were mounted."""
        found = []
        for line in (self.text("/proc/self/mounts") or "").splitlines():
            words = line.split()
            if len(words) >= 4:
                found.append(Mount(words[1].replace("\\040", " "), words[2], tuple(words[3].split(","))))
        return found

    def mount(self, path: str) -> Mount | None:
        """What ``path`` is on: the deepest mount above it, of several the last."""
        place = PurePosixPath(path)
        above = [one for one in self.mounts if PurePosixPath(one.folder) in (place, *place.parents)]
        return max(enumerate(above), key=lambda pair: (len(pair[1].folder), pair[0]))[1] if above else None

    @cached_property
    def is_wsl(self) -> bool:
        """Whether this is the Windows Subsystem for Linux."""
        return "microsoft" in (self.text("/proc/version") or "").lower()

    @cached_property
    def is_container(self) -> bool:
        """Whether this looks like a container."""
        words = ("docker", "kubepods", "containerd", "lxc")
        groups = self.text("/proc/1/cgroup") or ""
        marks = ("/.dockerenv", "/run/.containerenv")
        return any(map(self.exists, marks)) or any(word in groups for word in words)

    def pci(self, vendor: str, classes: Sequence[str]) -> list[str]:
        """PCI devices of a vendor (``0x10de``) whose class begins with one of ``classes`` (``0x03``): their folders."""
        bus = "/sys/bus/pci/devices"
        return [
            f"{bus}/{name}"
            for name in self.names(bus)
            if (self.text(f"{bus}/{name}/vendor") or "").strip() == vendor
            and (self.text(f"{bus}/{name}/class") or "").startswith(tuple(classes))
        ]


def here(*, data_root: str | None = None, out: str = ".", compiles: bool = False) -> Machine:
    """This machine and this environment."""
    cache = os.environ.get("PORTBEV_CACHE") or platformdirs.user_cache_dir("portbev")
    return Machine(
        root=Path("/"),
        environment=dict(os.environ),
        search=[os.path.abspath(folder or ".") for folder in sys.path],
        run=_run,
        space=_space,
        may=os.access,
        python=platform.python_version(),
        system=platform.system(),
        architecture=platform.machine(),
        interpreter=sys.executable,
        home=os.path.expanduser("~"),
        out=os.path.abspath(out),
        cache=os.path.abspath(os.path.expanduser(cache)),
        data_root=_first_folder(data_root),
        compiles=compiles,
    )


def _run(command: Sequence[str]) -> Answer | None:
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(124, f"no answer in {SECONDS} s")
    except OSError as error:
        return Answer(126, str(error))
    return Answer(done.returncode, done.stdout.decode("utf-8", "replace"))


def _space(path: Path) -> Space | None:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return Space(usage.total, usage.free)


def _first_folder(data_root: str | None) -> str | None:
    """The first of the data roots that a text names which is on a disk of this machine."""
    local = [root for root in roots_in(data_root or "") if root and not is_url(root)]
    return os.path.abspath(os.path.expanduser(local[0])) if local else None
