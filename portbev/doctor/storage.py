"""Data, runs, cache: whether they are there, can be read or written, are fast enough, and have room."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from portbev.doctor.findings import Check, Seen
from portbev.doctor.host import GIB, sized
from portbev.doctor.machine import Machine

OUT_ENOUGH, CACHE_ENOUGH, TEMPORARY_ENOUGH = 5 * GIB, GIB, GIB
_SLOW = {
    "9p": "a folder of Windows seen from WSL",
    "drvfs": "a folder of Windows seen from WSL",
    "cifs": "a network share",
    "smb3": "a network share",
    "nfs": "a network share",
    "nfs4": "a network share",
    "fuse.sshfs": "a folder of another machine over ssh",
    "fuse.rclone": "a bucket seen as a folder",
    "fuse.s3fs": "a bucket seen as a folder",
    "fuse.gcsfuse": "a bucket seen as a folder",
}


def facts(machine: Machine) -> Mapping[str, str]:
    """Room where runs are written, and where the data are."""
    found = {}
    for name, path in (("runs", machine.out), ("data", machine.data_root)):
        space = machine.free(path) if path else None
        if path and space is not None:
            mount = machine.mount(path)
            found[name] = f"{path}, {sized(space.free)} free{f' ({mount.kind})' if mount else ''}"
    return found


def data_root(machine: Machine) -> Iterable[Seen]:
    """There, readable, and what it is on."""
    root = machine.data_root
    if root is None:
        return
    if not machine.exists(root):
        nearest = machine.standing(root)
        what = f"there is no {root}; {nearest} has {', '.join(machine.names(nearest)[:8]) or 'nothing in it'}"
        yield Seen("data-root-missing", root, what)
        return
    if not machine.allowed(root, os.R_OK | os.X_OK):
        yield Seen("data-root-unreadable", root, says=f"[Errno 13] Permission denied: '{root}'")
        return
    mount = machine.mount(root)
    if not machine.allowed(root, os.W_OK) or (mount is not None and "ro" in mount.options):
        yield Seen("read-only", root, says=f"[Errno 30] Read-only file system: '{root}/...'")
    if mount is not None and mount.kind in _SLOW:
        what = f"the data root is {_SLOW[mount.kind]} ({mount.kind}), slow with small files"
        yield Seen("data-root-slow", f"{mount.folder}, {mount.kind}", what)


def out(machine: Machine) -> Iterable[Seen]:
    """Where runs are written."""
    place = machine.standing(machine.out)
    if not _writable(machine, place):
        yield Seen("out-unwritable", machine.out)
        return
    yield from _room(machine, machine.out, OUT_ENOUGH)


def cache(machine: Machine) -> Iterable[Seen]:
    """Where derived files are written, and temporary ones."""
    place = machine.standing(machine.cache)
    if not _writable(machine, place):
        yield Seen("cache-unwritable", machine.cache)
    else:
        yield from _room(machine, machine.cache, CACHE_ENOUGH)
    temporary = machine.environment.get("TMPDIR", "/tmp")
    if machine.exists(temporary):
        yield from _room(machine, temporary, TEMPORARY_ENOUGH, "export TMPDIR=FOLDER_ON_ANOTHER_DISK")


def kernels(machine: Machine) -> Iterable[Seen]:
    """Where Triton keeps what it compiles."""
    if not machine.package("triton") and not machine.package("triton-ascend"):
        return
    folder = machine.environment.get("TRITON_CACHE_DIR") or f"{machine.home}/.triton"
    place = machine.standing(folder)
    mount = machine.mount(place)
    if not _writable(machine, place):
        yield Seen("kernels-unwritable", folder, says=f"[Errno 13] Permission denied: '{folder}'")
    elif mount is not None and "noexec" in mount.options:
        yield Seen("kernels-noexec", f"{folder}, on {mount.folder} (noexec)")


CHECKS: tuple[Check, ...] = (data_root, out, cache, kernels)


def _writable(machine: Machine, folder: str) -> bool:
    mount = machine.mount(folder)
    return machine.allowed(folder, os.W_OK | os.X_OK) and not (mount is not None and "ro" in mount.options)


def _room(machine: Machine, path: str, enough: int, cure: str = "") -> Iterable[Seen]:
    space = machine.free(path)
    if space is not None and space.free < enough:
        yield Seen("disk-full", path, f"{sized(space.free)} are free where {path} is", cure)
