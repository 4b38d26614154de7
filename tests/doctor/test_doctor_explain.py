"""Messages as people paste them get their answer; what is not known is not answered, and what is near is offered."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest
from doctor_machines import CPU, Plan

from portbev.doctor import examine
from portbev.doctor.checkups import all_rows, checkups
from portbev.doctor.document import BEGIN, renewed
from portbev.doctor.explain import explain, nearest
from portbev.doctor.table import load

REFERENCE = os.environ.get("PORTBEV_REFERENCE_DIR", "")
ROWS = all_rows()

MESSAGES = [
    (
        "cuda-runtime-first",
        "ImportError: /usr/local/cuda-11.1/lib64/libcudart.so.11.0: no\n"
        "ImportError: .../cupy/_core/core.so: undefined symbol: cudaMemPoolCreate, version libcudart.so.11.0",
    ),
    (
        "requirement-broken",
        "ERROR: mmdet3d 0.17.3 requires numpy<1.20.0, but you have numpy 1.24.4 which is incompatible.",
    ),
    ("launcher-missing", "  File \"/opt/conda/lib/python3.8/os.py\", line 675, in __getitem__\nKeyError: 'RANK'\n"),
    ("yapf-verify", "TypeError: FormatCode() got an unexpected keyword argument 'verify'"),
    ("distutils-version", "AttributeError: module 'distutils' has no attribute 'version'"),
    ("group-missing", "RuntimeError: Default process group has not been initialized"),
    (
        "nvcc-other-cuda",
        "RuntimeError:\n"
        "The detected CUDA version (11.8) mismatches the version that was used to compile\n"
        "PyTorch (12.1).",
    ),
    (
        "cuda-runtime-missing",
        "ImportError: libcudart.so.9.2: cannot open shared object file: No such file or directory",
    ),
    (
        "nccl-system-error",
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed\n"
        "RuntimeError: NCCL error in: ProcessGroupNCCL.cpp:825, unhandled system error, NCCL version 2.7.8",
    ),
    ("cpu-without-avx", "Illegal instruction (core dumped)"),
    ("libgomp-late", "OSError: /env/torch.libs/libgomp-6e1a1d1b.so.1.0.0: cannot allocate memory in static TLS block"),
    (
        "mmcv-other-torch",
        "ImportError: /env/mmcv/_ext.cpython-38.so: undefined symbol: _ZN2at5sliceERKNS_6TensorElllli",
    ),
    ("nvcc-missing", "OSError: CUDA_HOME environment variable is not set. Please set it to your CUDA install root."),
    (
        "cublas-first",
        "RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm( handle, opa, opb)`",
    ),
    ("gcc-too-new", "#error -- unsupported GNU version! gcc versions later than 8 are not supported!"),
    ("npu-package-missing", "ModuleNotFoundError: No module named \u2018torch_npu\u2019"),
    ("npu-cann-missing", "RuntimeError: Failed to load the backend extension: torch_npu."),
    (
        "npu-cann-missing",
        "\x1b[31mImportError\x1b[0m: libhccl.so: cannot open shared object file: No such file or directory",
    ),
    (
        "npu-operator-missing",
        "RuntimeError: modulated_deform_conv_forward_impl: implementation for device npu:0 not found.",
    ),
    ("nvidia-arch", "RuntimeError: CUDA error: no kernel image is available for execution on the device"),
    ("amd-driver-missing", "RuntimeError: No HIP GPUs are available"),
    ("cupy-other-rocm", "ImportError: libamdhip64.so.5: cannot open shared object file: No such file or directory"),
    ("checkpoint-objects", "_pickle.UnpicklingError: Weights only load failed. This file can still be loaded"),
    ("shm-small", "RuntimeError: DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that"),
    ("read-only", "OSError: [Errno 30] Read-only file system: '/data/nuscenes/nuscenes_infos_train.pkl'"),
    (
        "data-path",
        "FileNotFoundError: [Errno 2] No such file or directory: './data/nuscenes/v1.0-trainval/category.json'",
    ),
    ("memory-limit", "[1]    4711 killed     ratarmount /data"),
    ("memory-limit", "./tools/dist_train.sh: line 9: 4711 Killed                  python tools/train.py"),
    ("memory-limit", "Killed"),
    ("launcher-demanded", '  File "./tools/test.py", line 229, in main\n    assert False\nAssertionError\n'),
    ("npu-operator-limits", "AssertionError: Channel only support 64-aligned"),
    ("open-files", "OSError: [Errno 24] Too many open files: '/data/x.jpg'"),
    ("cuda-memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
]


@pytest.mark.parametrize(("expected", "text"), MESSAGES)
def test_a_message_is_known_as_it_is_pasted(expected: str, text: str) -> None:
    found = [one.row.id for one in explain(text, ROWS)]
    assert expected in found


def test_a_log_is_read_to_the_messages_in_it_in_their_order() -> None:
    log = "".join(f"step {step} loss 1.{step}\n" for step in range(5000))
    log += "OSError: [Errno 24] Too many open files\n" + log[:1000] + "\nRuntimeError: No HIP GPUs are available\n"
    known = explain(log, ROWS)
    assert [one.row.id for one in known][:2] == ["open-files", "amd-driver-missing"]
    assert (known[0].number, known[0].line) == (5001, "OSError: [Errno 24] Too many open files")


@pytest.mark.parametrize(
    "text",
    [
        "everything went well; the dragon was killed and the knight asserted false modesty",
        "step 100 loss 1.25 lr 2e-4 memory 12.3 GiB",
        "File 'x.py', line 3\n    assert value\nAssertionError",
        "ZeroDivisionError: division by zero",
    ],
)
def test_what_is_no_known_message_is_not_answered(text: str) -> None:
    assert explain(text, ROWS) == []
    assert nearest(text, ROWS) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("libhcll.so cannot open shared object", "npu-cann-missing"),
        ("Found no nvidia drivers on the system", "nvidia-driver-missing"),
        ("FormatCode got unexpected keyword arg verify", "yapf-verify"),
    ],
)
def test_a_message_that_is_nearly_one_is_offered(text: str, expected: str) -> None:
    assert expected in [row.id for row in nearest(text, ROWS)]


def test_a_general_message_gives_way_to_a_particular_one() -> None:
    text = "    assert False\nRuntimeError: No HIP GPUs are available"
    assert "launcher-demanded" not in [one.row.id for one in explain(text, ROWS)]


def test_rows_have_names_of_their_own_and_each_is_found_by_what_it_says() -> None:
    every = [says for row in ROWS for says in row.says]
    assert len({row.id for row in ROWS}) == len(ROWS) and len(set(every)) == len(every)
    for row in ROWS:
        assert row.severity is not None or row.says
        for says in row.says:
            text = says.replace("...", "x")
            assert row.id in [one.row.id for one in explain(text, [row])], f"{row.id}: {says}"


def test_a_damaged_table_names_the_row(tmp_path: Path) -> None:
    for entry in (
        "{id: x, what: a, why: b}",
        "{id: x, what: a, why: b, cure: c, severity: bad}",
        "{id: x, what: a, why: b, cure: c, extra: 1}",
    ):
        path = tmp_path / "messages.yaml"
        path.write_text(f"- {entry}\n")
        with pytest.raises(ValueError, match=r"messages\.yaml: row 1"):
            load(path)


@pytest.mark.skipif(not REFERENCE, reason="the list of errors is in PORTBEV_REFERENCE_DIR")
def test_every_error_that_was_collected_is_answered() -> None:
    lines = (Path(REFERENCE) / "errors.tsv").read_text(encoding="utf-8").splitlines()[1:]
    unknown = [line.split("\t")[0] for line in lines if not explain(line.split("\t")[0], ROWS)]
    assert len(lines) > 30 and unknown == []


def test_the_page_has_todays_tables() -> None:
    page = Path(__file__).parents[2] / "docs" / "doctor.md"
    if not page.exists():
        pytest.skip("the documentation is not part of this installation")
    text = page.read_text(encoding="utf-8")
    assert BEGIN in text
    assert renewed(text) == text, "python -m portbev.doctor.document docs/doctor.md"


def test_the_printed_checkup_finds_what_it_is_for(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "doctor.md"
    if not page.exists():
        pytest.skip("the documentation is not part of this installation")
    blocks = dict(
        re.findall(r"<!-- (checkup|messages) -->\n```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    (tmp_path / "plugin.py").write_text(blocks["checkup"], encoding="utf-8")
    (tmp_path / "messages.yaml").write_text(blocks["messages"], encoding="utf-8")
    found = runpy.run_path(str(tmp_path / "plugin.py"))["portbev_checkups"]()
    report = examine(CPU.with_(Plan(packages={"speedy 1.0": []})).machine(tmp_path / "machine"), found)
    assert [(finding.id, finding.says) for finding in report.findings] == [
        ("speedy-licence", "SpeedyError: no licence")
    ]
    assert report.stops and not report.failed


def test_every_plugin_with_a_device_brings_its_own() -> None:
    assert {checkup.name for checkup in checkups()} >= {"NVIDIA", "AMD", "Ascend"}
