"""Fake machines: a tree of files, an environment, answers of commands. Sound ones, to which a test adds a condition."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from portbev.doctor import Answer, Machine, Space

GIB = 1 << 30
SITE = "/env/lib/python3.11/site-packages"
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max open files            65536                65536                files
Max locked memory         {locked}            {locked}            bytes
Max address space         {addresses}            unlimited            bytes
Max processes             96365                96365                processes
"""
MOUNTS = "overlay / overlay rw,relatime 0 0\nshm /dev/shm tmpfs rw,nosuid 0 0\n/dev/sdb1 /data ext4 rw,relatime 0 0\n"


def cpuinfo(flags: str = "fpu sse4_2 avx avx2", count: int = 16) -> str:
    return "".join(f"processor\t: {n}\nmodel name\t: A CPU\nflags\t\t: {flags}\n\n" for n in range(count))


def torch_version(version: str, cuda: str | None = None, hip: str | None = None) -> str:
    return f"__version__ = {version!r}\ncuda: Optional[str] = {cuda!r}\nhip: Optional[str] = {hip!r}\n"


def torch_answer(archs: str = "", available: bool = True, said: Sequence[str] = ()) -> Answer:
    return Answer(0, "portbev:" + json.dumps({"archs": archs.split(), "available": available, "said": list(said)}))


def smi(driver: str = "570.86.15", cuda: str = "12.8") -> Answer:
    return Answer(0, f"| NVIDIA-SMI {driver}   Driver Version: {driver}   CUDA Version: {cuda}   |\n")


def pci(address: str, vendor: str, kind: str) -> dict[str, str | None]:
    folder = f"/sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{kind}00\n"}


@dataclass(frozen=True)
class Plan:
    """What a fake machine has; ``None`` takes a file, a command or a package away.

    Attributes:
        commands: the beginning of a command -> its answer.
        packages: "name version" -> what it asks for; a name in another folder: "name version @ folder".
        space: path -> (total, free) bytes; the longest that a path begins with counts.
    """

    files: Mapping[str, str | None] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, Answer | None] = field(default_factory=dict)
    packages: Mapping[str, Sequence[str] | None] = field(default_factory=dict)
    space: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()
    more: Mapping[str, Any] = field(default_factory=dict)

    def with_(self, other: Plan) -> Plan:
        """This one, changed by ``other``."""
        merged = {
            each.name: {**getattr(self, each.name), **getattr(other, each.name)}
            for each in dataclasses.fields(self)
            if each.name != "denied"
        }
        return Plan(**merged, denied=self.denied | other.denied)

    def machine(self, root: Path) -> Machine:
        """Write the files below ``root``."""
        for path, text in self.files.items():
            if text is not None:
                _write(root, path, text)
        for line, asks in self.packages.items():
            if asks is not None:
                (name, version), _, folder = line.partition(" @ ")[0].split(), *line.partition(" @ ")[1:]
                about = "".join(f"Requires-Dist: {one}\n" for one in asks)
                place = f"{folder or SITE}/{name.replace('-', '_')}-{version}.dist-info/METADATA"
                _write(root, place, f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{about}")

        def space(path: Path) -> Space | None:
            shown = "/" + str(path.relative_to(root)).removeprefix(".")
            best = max((one for one in self.space if shown.startswith(one)), key=len, default=None)
            return None if best is None else Space(*self.space[best])

        def run(command: Sequence[str]) -> Answer | None:
            words = " ".join([PurePosixPath(command[0]).name, *command[1:]])
            best = max((one for one in self.commands if words.startswith(one)), key=len, default="")
            return self.commands.get(best)

        return Machine(
            root=root,
            environment=self.environment,
            run=run,
            space=space,
            may=lambda path, mode: "/" + str(path.relative_to(root)) not in self.denied,
            **{"search": (SITE,), "python": "3.11.9", "interpreter": "/env/bin/python", **PLACES, **self.more},
        )


PLACES = {"home": "/home/u", "out": "/runs", "cache": "/home/u/.cache/portbev"}


def _write(root: Path, path: str, text: str) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")


CPU = Plan(
    files={
        "/proc/cpuinfo": cpuinfo(),
        "/proc/meminfo": f"MemTotal:       {64 << 20} kB\n",
        "/proc/self/limits": LIMITS.format(locked="65536", addresses="unlimited"),
        "/proc/self/mounts": MOUNTS,
        "/proc/version": "Linux version 6.8.0 (gcc 13.2)",
        "/sys/class/net/eth0/mtu": "1500",
        "/runs/notes": "",
        "/tmp/x": "",
        "/home/u/.cache/x": "",
        "/data/nuscenes/v1.0-mini/scene.json": "[]",
        f"{SITE}/torch/version.py": torch_version("2.13.0+cpu"),
    },
    commands={
        "python": torch_answer(available=False),
        "gcc": Answer(0, "gcc (Debian 12.2.0-14) 12.2.0\n"),
        "g++": Answer(0, ""),
    },
    packages={"torch 2.13.0": ["numpy>=1.20"], "numpy 2.4.6": [], "portbev 0.1.0": ["torch>=2.8", "numpy>=1.26"]},
    space={"/": (500 * GIB, 200 * GIB), "/dev/shm": (32 * GIB, 32 * GIB)},
    more={"data_root": "/data/nuscenes"},
)
NVIDIA = CPU.with_(
    Plan(
        files={
            **pci("0000:01:00.0", "0x10de", "0x0302"),
            "/proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu\n",
            "/dev/nvidia0": "",
            "/dev/nvidiactl": "",
            f"{SITE}/torch/version.py": torch_version("2.13.0+cu128", cuda="12.8"),
        },
        commands={
            "python": torch_answer("sm_80 sm_90 compute_90"),
            "nvidia-smi": smi(),
            "nvidia-smi --query-gpu": Answer(0, "NVIDIA H100 80GB HBM3, 9.0\n"),
            "nvcc": Answer(0, "Cuda compilation tools, release 12.8, V12.8.61"),
        },
        packages={"triton 3.7.1": [], "cupy-cuda12x 14.2.0": ["numpy>=2.0"], "nvidia-nccl-cu12 2.27.5": []},
    )
)
AMD = CPU.with_(
    Plan(
        files={
            "/dev/kfd": "",
            "/sys/class/kfd/kfd/topology/nodes/0/properties": "gfx_target_version 0\n",
            "/sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 304\ngfx_target_version 90402\n",
            f"{SITE}/torch/version.py": torch_version("2.13.0+rocm7.0", hip="7.0.51831-a3e329ad8"),
        },
        commands={"python": torch_answer("gfx90a gfx942")},
        packages={"cupy-rocm-7-0 14.2.0": []},
    )
)
CANN = "/usr/local/Ascend/ascend-toolkit/latest"
ASCEND = CPU.with_(
    Plan(
        files={
            **pci("0000:c1:00.0", "0x19e5", "0x1200"),
            "/dev/davinci0": "",
            f"{CANN}/version.cfg": "[version=8.1.RC1]\n",
            **{
                f"{CANN}/lib64/{name}": ""
                for name in (
                    "libascendcl.so",
                    "libhccl.so",
                    "libacl_op_compiler.so",
                    "libge_runner.so",
                    "libgraph.so",
                )
            },
            "/usr/local/Ascend/driver/lib64/driver/libdrvdsmi_host.so": "",
            f"{SITE}/torch/version.py": torch_version("2.8.0+cpu"),
        },
        environment={
            "LD_LIBRARY_PATH": f"{CANN}/lib64:/usr/local/Ascend/driver/lib64/driver",
            "ASCEND_HOME_PATH": CANN,
        },
        packages={
            "torch 2.13.0": None,
            "torch 2.8.0": [],
            "torch-npu 2.8.0.post5": ["torch==2.8.0"],
            "mx-driving 26.2.0.post2": ["torch>=2.6,<2.9"],
        },
        more={"architecture": "aarch64"},
    )
)
CONTAINER = Plan(files={"/.dockerenv": "", "/proc/1/cgroup": "0::/"})
WSL = Plan(files={"/proc/version": "Linux version 5.15.153.1-microsoft-standard-WSL2", "/dev/dxg": ""})
