"""The host: CPU, memory, limits of processes and of containers, compilers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from portbev.doctor.findings import Check, Seen
from portbev.doctor.machine import Machine

GIB = 1 << 30
SHM_ENOUGH = GIB
MEMORY_ENOUGH = 6 * GIB
OPEN_FILES_ENOUGH, THREADS_ENOUGH = 1024, 512


def facts(machine: Machine) -> Mapping[str, str]:
    """Python, CPU and memory."""
    cpus, memory = _cpus(machine), _memory(machine)
    name = re.search(r"^model name\s*:\s*(.+)$", machine.text("/proc/cpuinfo") or "", re.MULTILINE)
    place = "WSL" if machine.is_wsl else "container" if machine.is_container else ""
    shm = machine.space(machine.at("/dev/shm"))
    found = {
        "system": " ".join(filter(None, (machine.system, machine.architecture, place))),
        "cpu": f"{cpus} x {name[1].strip() if name else machine.architecture}" if cpus else "",
        "memory": sized(memory) if memory else "",
        "/dev/shm": sized(shm.total) if shm else "",
    }
    return {key: value for key, value in found.items() if value}


def cpu_without_avx(machine: Machine) -> Iterable[Seen]:
    """x86 alone: other processors have no AVX and need none."""
    flags = re.search(r"^flags\s*:(.*)$", machine.text("/proc/cpuinfo") or "", re.MULTILINE)
    if machine.architecture in ("x86_64", "AMD64") and flags and "avx" not in flags[1].split():
        yield Seen("cpu-without-avx", "/proc/cpuinfo: flags")


def shared_memory(machine: Machine) -> Iterable[Seen]:
    """/dev/shm."""
    space = machine.space(machine.at("/dev/shm"))
    if space is not None and space.total < SHM_ENOUGH:
        yield Seen("shm-small", "/dev/shm", f"/dev/shm has {sized(space.total)}")


def limits(machine: Machine) -> Iterable[Seen]:
    """Limits of this process (ulimit)."""
    files = _limit(machine, "Max open files")
    if files is not None and files < OPEN_FILES_ENOUGH:
        yield Seen("open-files", "ulimit -n", f"{files} files may be open at once")
    addresses = _limit(machine, "Max address space")
    if addresses is not None:
        yield Seen("address-space", "ulimit -v", f"the address space of a process is limited to {sized(addresses)}")
    locked = _limit(machine, "Max locked memory")
    if locked is not None and locked < GIB and machine.names("/dev/infiniband"):
        yield Seen("locked-memory", "ulimit -l", f"{sized(locked)} may be locked, and there is InfiniBand")


def memory(machine: Machine) -> Iterable[Seen]:
    """Memory of the machine, or of the container."""
    limit = _group(machine, "memory.max", "memory/memory.limit_in_bytes")
    total = _memory(machine)
    if total and total < MEMORY_ENOUGH:
        where = "the container's limit" if limit is not None and limit == total else "/proc/meminfo"
        yield Seen("memory-limit", where, f"there are {sized(total)} of memory{' in WSL' if machine.is_wsl else ''}")


def cpu_quota(machine: Machine) -> Iterable[Seen]:
    """CPUs that the container may use, against those that are shown to it."""
    words = (machine.text("/sys/fs/cgroup/cpu.max") or "").split()
    if not words:
        quota = (machine.text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "-1").strip()
        words = [quota, (machine.text("/sys/fs/cgroup/cpu/cpu.cfs_period_us") or "100000").strip()]
    cpus = _cpus(machine)
    if len(words) == 2 and all(word.isdigit() for word in words) and not machine.environment.get("OMP_NUM_THREADS"):
        allowed = max(1, round(int(words[0]) / max(int(words[1]), 1)))
        if cpus >= 2 * allowed:
            what = f"the container may use {allowed} of the {cpus} CPUs that it sees"
            yield Seen("cpu-quota", "cgroup cpu.max", what, f"export OMP_NUM_THREADS={allowed}")


def threads(machine: Machine) -> Iterable[Seen]:
    """Processes and threads that the container or this user may have."""
    for where, limit in (
        ("cgroup pids.max", _group(machine, "pids.max", "pids/pids.max")),
        ("ulimit -u", _limit(machine, "Max processes")),
    ):
        if limit is not None and limit < THREADS_ENOUGH:
            yield Seen("threads-limit", where, f"{limit} threads may be started")


def compiler(machine: Machine) -> Iterable[Seen]:
    """A C++ compiler, where something is to be compiled."""
    names = [machine.environment.get("CXX", "g++"), "c++", "clang++"]
    if machine.compiles and all(machine.run([name, "--version"]) is None for name in names):
        yield Seen("compiler-missing", ", ".join(names))


CHECKS: tuple[Check, ...] = (cpu_without_avx, shared_memory, limits, memory, cpu_quota, threads, compiler)


def sized(count: float) -> str:
    """A number of bytes in words: ``64 MiB``, ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} GiB" if count < 1000 else f"{count:.0f} GiB"


def _limit(machine: Machine, name: str) -> int | None:
    """The soft limit of that name; None: unlimited or unknown."""
    found = re.search(rf"^{name}\s+(\d+)\s", machine.text("/proc/self/limits") or "", re.MULTILINE)
    return int(found[1]) if found else None


def _group(machine: Machine, newer: str, older: str) -> int | None:
    """A limit of the control group, version 2 or 1; None: none."""
    for path in (f"/sys/fs/cgroup/{newer}", f"/sys/fs/cgroup/{older}"):
        text = (machine.text(path) or "").strip()
        if text.isdigit() and int(text) < 1 << 60:  # version 1 says a huge number for none
            return int(text)
    return None


def _memory(machine: Machine) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", machine.text("/proc/meminfo") or "", re.MULTILINE)
    sizes = [int(found[1]) * 1024] if found else []
    limit = _group(machine, "memory.max", "memory/memory.limit_in_bytes")
    return min([*sizes, *([limit] if limit is not None else [])], default=None)


def _cpus(machine: Machine) -> int:
    return len(re.findall(r"^processor\s*:", machine.text("/proc/cpuinfo") or "", re.MULTILINE))
