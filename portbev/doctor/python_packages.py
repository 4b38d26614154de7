"""Python, torch, and packages that do not go together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

from portbev.distributions import overwriting
from portbev.doctor.findings import Check, Seen
from portbev.doctor.installed import Package
from portbev.doctor.machine import Machine
from portbev.doctor.torch_build import parsed, release_of, torch_build, torch_import

OLDEST_TORCH, PYTHONS = (2, 8), ((3, 10), (3, 13))
_WATCHED = re.compile(r"portbev|torch|triton|cupy|numpy|numba|mmcv|mmengine|mmdet|xformers|pandas|scipy|opencv")
_SHOWN = ("torch", "torch-npu", "mx-driving", "mx-driving-a5", "triton", "triton-ascend", "numpy", "mmcv")


def facts(machine: Machine) -> Mapping[str, str]:
    """Python and the versions that matter."""
    build = torch_build(machine)
    found = {"python": f"{machine.python} ({machine.interpreter})"}
    if build is not None:
        found["torch"] = f"{build.version}, {build.kind}"
    names = [*_SHOWN[1:], *(name for name in machine.packages if name.startswith("cupy"))]
    others = [f"{name} {one.version}" for name in names if (one := machine.package(name))]
    if others:
        found["packages"] = ", ".join(others)
    return found


def python(machine: Machine) -> Iterable[Seen]:
    """Python's version."""
    if not PYTHONS[0] <= release_of(machine.python) <= PYTHONS[1]:
        yield Seen("python-unknown", machine.interpreter, f"portbev is not tested on Python {machine.python}")


def torch(machine: Machine) -> Iterable[Seen]:
    """torch: there, and new enough. Whether it can be imported is asked last, of a process of its own."""
    build = torch_build(machine)
    if build is None:
        yield Seen("torch-missing", machine.interpreter)
    elif release_of(build.version) < OLDEST_TORCH:
        yield Seen("torch-old", build.folder, f"torch {build.version} is older than portbev takes")
    elif error := torch_import(machine).error:
        yield Seen("torch-import", f"{machine.interpreter} -c 'import torch'", says=error)


def twice(machine: Machine) -> Iterable[Seen]:
    """The same distribution in two folders, in two versions."""
    for name, found in machine.packages.items():
        if len({one.version for one in found}) > 1 and _WATCHED.match(name):
            first, second = found[0], next(one for one in found if one.version != found[0].version)
            if first.folder == second.folder:
                what = f"{name} {first.version} and {second.version} are both in {first.folder}"
                yield Seen("installed-twice", first.folder, what, f"pip install --force-reinstall {name}")
            else:
                what = f"{name} is here twice: {first.version}, which is used, and {second.version}"
                yield Seen("installed-twice", f"{first.folder}, {second.folder}", what, _out_of(first, second))


def left_behind(machine: Machine) -> Iterable[Seen]:
    """Folders that begin with ``~``."""
    for folder in machine.search:
        parts = [name for name in machine.names(folder) if name.startswith("~")]
        if parts:
            says = f"WARNING: Ignoring invalid distribution {parts[0].split('-')[0]}"
            yield Seen("half-installed", folder, cure=f"rm -r {folder}/~*", says=says)


def requirements(machine: Machine) -> Iterable[Seen]:
    """What packages of this field ask of each other. Whatever else is installed is not ours to judge."""
    for name, (one, *_) in machine.packages.items():
        if not _WATCHED.match(name) or name == "torch-npu":  # its backend says it
            continue
        for need in one.requirements():
            other = machine.package(canonicalize_name(need.name))
            if other is None or not _WATCHED.match(other.name) or need.extras:
                continue
            if not need.specifier.contains(parsed(other.version), prereleases=True):
                asks = f"{need.name}{need.specifier}"
                yield Seen(
                    "requirement-broken",
                    f"{one.name} {one.version} in {one.folder}",
                    f"{one.name} {one.version} asks for {asks}; {other.name} is {other.version}",
                    f"pip install '{one.name}=={one.version}' '{asks}'",
                    f"{one.name} {one.version} requires {asks}, but you have {other.name} {other.version} "
                    "which is incompatible.",
                )


def overwritten(machine: Machine) -> Iterable[Seen]:
    """Distributions with the same folder."""
    for folder, names in overwriting(machine.packages).items():
        what = f"{' and '.join(names)} overwrite each other's {folder}/ folder"
        where = ", ".join(f"{one} {machine.packages[one][0].version}" for one in names)
        if folder == "cv2":
            kept = "opencv-python-headless"
            yield Seen("opencv-twice", where, what, f"pip uninstall --yes {' '.join(names)} && pip install {kept}")
        else:
            cure = f"pip uninstall --yes {' '.join(names)} && pip install THE_ONE_THAT_IS_NEEDED"
            yield Seen("overwritten", where, what, cure)


def mmcv(machine: Machine) -> Iterable[Seen]:
    """mmcv's compiled part, and what its old releases do not bear."""
    one = machine.package("mmcv") or machine.package("mmcv-full") or machine.package("mmcv-lite")
    if one is None:
        return
    if not any(name.startswith("_ext.") for name in machine.names(f"{one.folder}/mmcv")):
        yield Seen("mmcv-without-operators", f"{one.name} {one.version}", says="No module named 'mmcv._ext'")
    formatter = machine.package("yapf")
    if formatter and release_of(one.version) < (2, 0) and parsed(formatter.version) >= parsed("0.40.2"):
        yield Seen("yapf-verify", f"yapf {formatter.version}, {one.name} {one.version}")


def building(machine: Machine) -> Iterable[Seen]:
    """Tools that building needs, where something is to be built."""
    tools = machine.package("setuptools")
    if machine.compiles and tools is not None and release_of(tools.version) >= (81, 0):
        yield Seen("setuptools-pkg-resources", f"setuptools {tools.version}")


def libgomp(machine: Machine) -> Iterable[Seen]:
    """Copies of libgomp that packages bring, on the architecture where that bites."""
    if machine.architecture != "aarch64" or "libgomp" in machine.environment.get("LD_PRELOAD", ""):
        return
    copies = [
        f"{folder}/{libraries}/{name}"
        for folder in machine.search
        for libraries in machine.names(folder)
        if libraries.endswith(".libs")
        for name in machine.names(f"{folder}/{libraries}")
        if name.startswith("libgomp")
    ]
    if len(copies) > 1:
        what = f"{len(copies)} copies of libgomp are installed on aarch64"
        says = f"{copies[-1]}: cannot allocate memory in static TLS block"
        yield Seen("libgomp-late", ", ".join(copies), what, f"export LD_PRELOAD={':'.join(copies)}", says)


CHECKS: tuple[Check, ...] = (
    python,
    twice,
    left_behind,
    requirements,
    overwritten,
    mmcv,
    building,
    libgomp,
    torch,
)


def _out_of(first: Package, second: Package) -> str:
    """How to have one alone."""
    variable = "PYTHONNOUSERSITE=1" if "/.local/" in first.folder else ""
    if variable:
        return f"export {variable} (the user's own folder then no longer comes first)"
    return f"take {first.folder} out of PYTHONPATH, or uninstall {first.name} there"
