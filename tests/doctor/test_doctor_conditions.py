"""Each condition that is planted on a sound machine is found, alone, with its cure; sound machines are left alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_machines import (
    AMD,
    ASCEND,
    CANN,
    CONTAINER,
    CPU,
    GIB,
    LIMITS,
    NVIDIA,
    SITE,
    WSL,
    Plan,
    cpuinfo,
    torch_answer,
    torch_version,
)

from portbev.doctor import Answer, Report, Severity, examine
from portbev.doctor.checkups import checkups

MIB = 1 << 20
NO_DEVICES: dict[str, str | None] = {"/dev/nvidia0": None, "/dev/nvidiactl": None}
NO_DRIVER = Plan(
    files={**NO_DEVICES, "/proc/driver/nvidia/version": None},
    commands={"nvidia-smi": None, "nvidia-smi --query-gpu": None},
)
NO_CANN = {path: None for path in ASCEND.files if path.startswith(CANN)}
COMPILES = {"compiles": True}
LIBGOMP: dict[str, str | None] = {
    f"{SITE}/torch.libs/libgomp-804f19d4.so.1.0.0": "",
    f"{SITE}/scikit_learn.libs/libgomp-d22c30c5.so.1.0.0": "",
}


def examined(plan: Plan, root: Path) -> Report:
    report = examine(plan.machine(root), checkups())
    assert not report.failed, report.failed
    return report


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(CPU, id="cpu"),
        pytest.param(NVIDIA, id="nvidia"),
        pytest.param(AMD, id="amd"),
        pytest.param(ASCEND, id="ascend"),
        pytest.param(NVIDIA.with_(CONTAINER), id="nvidia-container"),
        pytest.param(ASCEND.with_(CONTAINER), id="ascend-container"),
        pytest.param(NVIDIA.with_(Plan(more=COMPILES)), id="nvidia-compiling"),
        pytest.param(
            NVIDIA.with_(WSL).with_(NO_DRIVER).with_(Plan(files={"/usr/lib/wsl/lib/libcuda.so.1": ""})), id="wsl"
        ),
        pytest.param(  # torchrun's own processes
            CPU.with_(Plan(environment={"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "x"})), id="torchrun"
        ),
        pytest.param(  # a toolkit of the same major release, no older than torch's
            NVIDIA.with_(
                Plan(
                    files={
                        "/usr/local/cuda/lib64/libcudart.so.12.9.79": "",
                        "/usr/local/cuda/lib64/libcudart.so.12": "",
                    },
                    environment={"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"},
                )
            ),
            id="same-toolkit",
        ),
        pytest.param(
            NVIDIA.with_(Plan(environment={"CUDA_VISIBLE_DEVICES": "0", "NCCL_SOCKET_IFNAME": "^lo"})), id="chosen"
        ),
        pytest.param(
            Plan(commands=CPU.commands, packages=CPU.packages, more={"system": "Darwin"}).with_(
                Plan(files={f"{SITE}/torch/version.py": torch_version("2.13.0"), "/runs/x": "", "/home/u/x": ""})
            ),
            id="mac",
        ),
    ],
)
def test_a_sound_machine_is_left_in_peace(plan: Plan, tmp_path: Path) -> None:
    report = examined(plan, tmp_path)
    assert report.findings == [] and not report.stops


CONDITIONS: list[tuple[str, Plan]] = [
    # Python and packages
    ("torch-missing", CPU.with_(Plan(files={f"{SITE}/torch/version.py": None}))),
    ("torch-import", CPU.with_(Plan(commands={"python": Answer(-4, "")}))),
    (
        "torch-import",
        CPU.with_(Plan(commands={"python": Answer(1, "Traceback\nImportError: libfoo.so: no such file\n")})),
    ),
    ("torch-old", CPU.with_(Plan(files={f"{SITE}/torch/version.py": torch_version("2.6.0")}))),
    ("python-unknown", CPU.with_(Plan(more={"python": "3.14.0"}))),
    (
        "installed-twice",
        CPU.with_(Plan(packages={"numpy 1.26.4 @ /home/u/lib": []}, more={"search": ("/home/u/lib", SITE)})),
    ),
    ("installed-twice", CPU.with_(Plan(packages={"numpy 2.0.0": []}))),
    ("half-installed", CPU.with_(Plan(files={f"{SITE}/~orch-2.8.0.dist-info/METADATA": ""}))),
    ("requirement-broken", CPU.with_(Plan(packages={"mmdet3d 0.17.3": ["numpy<1.20.0"]}))),
    ("requirement-broken", CPU.with_(Plan(packages={"torchvision 0.23.0": ["torch==2.8.0"]}))),
    ("overwritten", NVIDIA.with_(Plan(packages={"cupy-cuda13x 14.2.0": []}))),
    ("overwritten", NVIDIA.with_(Plan(packages={"triton-ascend 3.2.0": []}))),
    ("opencv-twice", CPU.with_(Plan(packages={"opencv-python 4.12.0": [], "opencv-python-headless 5.0.0": []}))),
    ("mmcv-without-operators", CPU.with_(Plan(packages={"mmcv 2.1.0": []}))),
    (
        "yapf-verify",
        CPU.with_(Plan(packages={"mmcv-full 1.7.2": [], "yapf 0.43.0": []}, files={f"{SITE}/mmcv/_ext.so": ""})),
    ),
    ("setuptools-pkg-resources", CPU.with_(Plan(packages={"setuptools 82.0.0": []}, more=COMPILES))),
    ("libgomp-late", CPU.with_(Plan(files=LIBGOMP, more={"architecture": "aarch64"}))),
    # the host
    ("cpu-without-avx", CPU.with_(Plan(files={"/proc/cpuinfo": cpuinfo("fpu sse4_2")}))),
    ("shm-small", CPU.with_(CONTAINER).with_(Plan(space={"/dev/shm": (64 * MIB, 64 * MIB)}))),
    ("open-files", CPU.with_(Plan(files={"/proc/self/limits": "Max open files            256    4096   files\n"}))),
    (
        "address-space",
        CPU.with_(Plan(files={"/proc/self/limits": LIMITS.format(locked="65536", addresses=str(8 * GIB))})),
    ),
    ("locked-memory", CPU.with_(Plan(files={"/dev/infiniband/uverbs0": ""}))),
    ("memory-limit", CPU.with_(CONTAINER).with_(Plan(files={"/sys/fs/cgroup/memory.max": f"{2 * GIB}\n"}))),
    (
        "memory-limit",
        CPU.with_(WSL).with_(Plan(files={"/proc/meminfo": f"MemTotal: {4 << 20} kB\n", "/dev/dxg": None})),
    ),
    ("cpu-quota", CPU.with_(CONTAINER).with_(Plan(files={"/sys/fs/cgroup/cpu.max": "200000 100000\n"}))),
    ("threads-limit", CPU.with_(CONTAINER).with_(Plan(files={"/sys/fs/cgroup/pids.max": "100\n"}))),
    ("compiler-missing", CPU.with_(Plan(commands={"g++": None}, more=COMPILES))),
    # what was left in the environment
    ("launcher-leftovers", CPU.with_(Plan(environment={"RANK": "0", "WORLD_SIZE": "8"}))),
    ("blocking-launches", CPU.with_(Plan(environment={"CUDA_LAUNCH_BLOCKING": "1"}))),
    ("interpreted-kernels", CPU.with_(Plan(environment={"TRITON_INTERPRET": "1"}))),
    ("network-name", CPU.with_(Plan(environment={"NCCL_SOCKET_IFNAME": "ib0"}))),
    # data and disk
    ("data-root-missing", CPU.with_(Plan(more={"data_root": "/data/nuscenes-full"}))),
    ("data-root-unreadable", CPU.with_(Plan(denied=frozenset({"/data/nuscenes"})))),
    ("read-only", CPU.with_(Plan(files={"/proc/self/mounts": "/dev/sdb1 /data ext4 ro,relatime 0 0\n"}))),
    (
        "data-root-slow",
        CPU.with_(WSL).with_(Plan(files={"/dev/dxg": None, "/proc/self/mounts": "C: /data 9p rw 0 0\n"})),
    ),
    ("data-root-slow", CPU.with_(Plan(files={"/proc/self/mounts": "host:/x /data fuse.sshfs rw 0 0\n"}))),
    ("out-unwritable", CPU.with_(Plan(denied=frozenset({"/runs"})))),
    (
        "out-unwritable",
        CPU.with_(Plan(files={"/proc/self/mounts": "overlay / overlay rw 0 0\nx /runs ext4 ro 0 0\n"})),
    ),
    ("cache-unwritable", CPU.with_(Plan(denied=frozenset({"/home/u/.cache"})))),
    ("kernels-unwritable", NVIDIA.with_(Plan(denied=frozenset({"/home/u"})))),
    ("kernels-noexec", NVIDIA.with_(Plan(files={"/proc/self/mounts": "x /home/u ext4 rw,noexec 0 0\n"}))),
    ("disk-full", CPU.with_(Plan(space={"/runs": (100 * GIB, GIB)}))),
    ("disk-full", CPU.with_(Plan(space={"/tmp": (GIB, 10 * MIB)}))),
    # NVIDIA
    ("nvidia-driver-missing", NVIDIA.with_(NO_DRIVER)),
    ("nvidia-container", NVIDIA.with_(NO_DRIVER).with_(CONTAINER)),
    ("nvidia-permission", NVIDIA.with_(Plan(denied=frozenset({"/dev/nvidia0"})))),
    (
        "nvidia-driver-mismatch",
        NVIDIA.with_(
            Plan(commands={"nvidia-smi": Answer(18, "Failed to initialize NVML: Driver/library version mismatch")})
        ),
    ),
    (
        "nvidia-driver-old",
        NVIDIA.with_(
            Plan(
                files={f"{SITE}/torch/version.py": torch_version("2.13.0", cuda="13.0")},
                packages={"cupy-cuda12x 14.2.0": None},
            )
        ),
    ),
    (
        "nvidia-unseen",
        NVIDIA.with_(Plan(commands={"python": torch_answer(available=False, said=["CUDA unknown error"])})),
    ),
    ("nvidia-hidden", NVIDIA.with_(Plan(environment={"CUDA_VISIBLE_DEVICES": ""}))),
    ("nvidia-torch-without", NVIDIA.with_(Plan(files={f"{SITE}/torch/version.py": torch_version("2.13.0+cpu")}))),
    ("nvidia-arch", NVIDIA.with_(Plan(commands={"python": torch_answer("sm_50 sm_60 sm_70")}))),
    (
        "cuda-runtime-first",
        NVIDIA.with_(
            Plan(files={"/opt/cuda/lib64/libcudart.so.11.1": ""}, environment={"LD_LIBRARY_PATH": "/opt/cuda/lib64"})
        ),
    ),
    (
        "cublas-first",
        NVIDIA.with_(
            Plan(files={"/opt/cuda/lib64/libcublas.so.12": ""}, environment={"LD_LIBRARY_PATH": "/opt/cuda/lib64"})
        ),
    ),
    (
        "cuda-runtime-missing",
        NVIDIA.with_(Plan(files={f"{SITE}/mmcv/_ext.cpython-311.so": "\0libc.so.6\0libcudart.so.10.1\0"})),
    ),
    ("cupy-other-cuda", NVIDIA.with_(Plan(packages={"cupy-cuda12x 14.2.0": None, "cupy-cuda13x 14.2.0": []}))),
    ("nvcc-missing", NVIDIA.with_(Plan(commands={"nvcc": None}, more=COMPILES))),
    ("nvcc-other-cuda", NVIDIA.with_(Plan(commands={"nvcc": Answer(0, "release 13.0, V13.0.88")}, more=COMPILES))),
    ("nvcc-other-minor", NVIDIA.with_(Plan(commands={"nvcc": Answer(0, "release 12.4, V12.4.1")}, more=COMPILES))),
    ("gcc-too-new", NVIDIA.with_(Plan(commands={"gcc": Answer(0, "gcc (Ubuntu 15.1.0-1) 15.1.0")}, more=COMPILES))),
    (
        "nccl-old-wsl",
        NVIDIA.with_(WSL).with_(
            Plan(
                files={"/usr/lib/wsl/lib/libcuda.so.1": ""},
                packages={"nvidia-nccl-cu12 2.27.5": None, "nvidia-nccl-cu11 2.10.3": []},
            )
        ),
    ),
    ("wsl-driver", NVIDIA.with_(WSL)),
    # AMD
    ("amd-driver-missing", AMD.with_(Plan(files={"/dev/kfd": None}))),
    ("amd-container", AMD.with_(CONTAINER).with_(Plan(files={"/dev/kfd": None}))),
    ("amd-permission", AMD.with_(Plan(denied=frozenset({"/dev/kfd"})))),
    ("amd-hidden", AMD.with_(Plan(environment={"HIP_VISIBLE_DEVICES": "-1"}))),
    ("amd-arch", AMD.with_(Plan(commands={"python": torch_answer("gfx900 gfx906")}))),
    (
        "amd-torch-without",
        AMD.with_(Plan(files={f"{SITE}/torch/version.py": torch_version("2.13.0+cpu")})),
    ),
    ("cupy-other-rocm", AMD.with_(Plan(packages={"cupy-rocm-7-0 14.2.0": None, "cupy-rocm-5-0 13.3.0": []}))),
    # Ascend
    ("npu-package-missing", ASCEND.with_(Plan(packages={"torch-npu 2.8.0.post5": None}))),
    (
        "npu-other-torch",
        ASCEND.with_(
            Plan(packages={"torch-npu 2.8.0.post5": None, "torch-npu 2.9.0.post9": [], "mx-driving 26.2.0.post2": None})
        ),
    ),
    ("npu-versions", ASCEND.with_(Plan(more={"python": "3.12.4"}))),
    ("npu-cann-missing", ASCEND.with_(Plan(files=NO_CANN))),
    ("npu-driver-missing", ASCEND.with_(Plan(files={"/dev/davinci0": None}))),
    ("npu-container", ASCEND.with_(CONTAINER).with_(Plan(files={"/dev/davinci0": None}))),
    ("npu-permission", ASCEND.with_(Plan(denied=frozenset({"/dev/davinci0"})))),
    ("npu-hidden", ASCEND.with_(Plan(environment={"ASCEND_RT_VISIBLE_DEVICES": ""}))),
    ("npu-driver-unseen", ASCEND.with_(Plan(environment={"LD_LIBRARY_PATH": f"{CANN}/lib64"}))),
    ("npu-driving-twice", ASCEND.with_(Plan(packages={"mx-driving-a5 26.2.0.post2": []}))),
    ("npu-saturates", ASCEND.with_(Plan(environment={"INF_NAN_MODE_ENABLE": "0"}))),
]


@pytest.mark.parametrize(
    ("expected", "plan"), CONDITIONS, ids=[f"{name}-{n}" for n, (name, _) in enumerate(CONDITIONS)]
)
def test_a_planted_condition_is_found_and_nothing_else(expected: str, plan: Plan, tmp_path: Path) -> None:
    report = examined(plan, tmp_path)
    assert [finding.id for finding in report.findings] == [expected]
    (finding,) = report.findings
    assert finding.what and finding.where and finding.why and finding.cure
    assert report.stops == (finding.severity is Severity.STOPS)


def test_every_condition_that_the_tables_name_is_planted() -> None:
    named = {row.id for checkup in checkups() for row in checkup.rows if row.severity is not None}
    assert named == {name for name, _ in CONDITIONS}
    assert len(named) >= 25


@pytest.mark.parametrize(
    ("plan", "part"),
    [
        (NVIDIA.with_(Plan(files={f"{SITE}/torch/version.py": torch_version("2.13.0", cuda="13.0")})), "whl/cu126"),
        (
            ASCEND.with_(Plan(files={**NO_CANN, "/usr/local/Ascend/ascend-toolkit/set_env.sh": ""})),
            "source /usr/local/Ascend",
        ),
        (
            CPU.with_(Plan(files=LIBGOMP, more={"architecture": "aarch64"})),
            f"LD_PRELOAD={SITE}/scikit_learn.libs/libgomp-d22c30c5",
        ),
        (NVIDIA.with_(Plan(packages={"triton-ascend 3.2.0": []})), "pip uninstall --yes triton triton-ascend"),
        (
            CPU.with_(Plan(commands={"python": Answer(1, "x/libgomp.so: cannot allocate memory in static TLS block")})),
            "export LD_PRELOAD=PATH",
        ),
        (ASCEND.with_(Plan(more={"python": "3.12.4"})), "python3.11 -m venv .venv"),
        (
            CPU.with_(Plan(packages={"torchvision 0.23.0": ["torch==2.8.0"]})),
            "pip install 'torchvision==0.23.0' 'torch==2.8.0'",
        ),
    ],
)
def test_a_cure_has_the_names_of_this_machine(plan: Plan, part: str, tmp_path: Path) -> None:
    assert any(part in finding.cure for finding in examined(plan, tmp_path).findings)


def test_the_worst_comes_first_and_a_check_that_fails_takes_none_of_the_others_down(tmp_path: Path) -> None:
    def fails(machine: object) -> None:
        raise ZeroDivisionError("broken")

    own, *others = checkups()
    plan = CPU.with_(Plan(environment={"CUDA_LAUNCH_BLOCKING": "1"}, files={"/proc/cpuinfo": cpuinfo("fpu")}))
    report = examine(plan.machine(tmp_path), [replace(own, checks=(fails, *own.checks)), *others])  # type: ignore[arg-type]
    assert [finding.id for finding in report.findings] == ["cpu-without-avx", "blocking-launches"]
    assert len(report.failed) == 1 and re.search("fails: ZeroDivisionError: broken", report.failed[0])
