"""Nothing in a file of weights is ever executed, and nothing that it only declares is reserved."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from portbev.errors import CheckpointError
from portbev.tensorfiles.reading import read_file, read_weights_file

WEIGHTS = {"weight": torch.arange(6.0).reshape(2, 3)}


class Calls:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.args


def text(module: str, name: str, *arguments: str) -> bytes:
    """A pickle of protocol 0 that calls a function with texts."""
    values = "".join(f"S{argument!r}\n" for argument in arguments)
    return f"c{module}\n{name}\n({values}tR.".encode()


def stack_global(module: str, name: str, argument: str) -> bytes:
    """A pickle of protocol 4 whose name may be dotted."""

    def short(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + short(module) + short(name) + b"\x93" + short(argument) + b"\x85R."


def attacks(marker: Path) -> dict[str, bytes]:
    """Pickles that make the file ``marker`` when a reader executes them."""
    import os
    import subprocess

    touch, code = f"touch {marker}", f"open({str(marker)!r}, 'w').close()"
    nested = {"a": [{"b": (Calls(os.system, touch),)}]}
    obj = b"(cos\nsystem\nS" + repr(touch).encode() + b"\no."
    inst = b"(S" + repr(touch).encode() + b"\nios\nsystem\n."
    build = b"cos\nsystem\n(S" + repr(touch).encode() + b"\ntb."
    newobj = b"\x80\x02cos\nsystem\n(S" + repr(touch).encode() + b"\nt\x81."
    memo = b"cos\nsystem\np0\n0g0\n(S" + repr(touch).encode() + b"\ntR."
    getattr_ = b"c__builtin__\ngetattr\n(cos\n__name__\nS'system'\ntR(S" + repr(touch).encode() + b"\ntR."
    by_torch = b"ctorch.serialization\nload\n(S'/x'\ntR0" + text("torch.hub", "os.system", touch)
    rebuilt = b"ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(S" + repr(touch).encode() + b"\ntNtR."
    reconstructor = b"ccopy_reg\n_reconstructor\n(cos\nsystem\nS" + repr(touch).encode() + b"\nNtR."
    newobj_ = b"ccopyreg\n__newobj__\n(cos\nsystem\nS" + repr(touch).encode() + b"\ntR."
    setstate = b"ccollections\nOrderedDict\n)R(S'__class__'\ncos\nsystem\ndb(S" + repr(touch).encode() + b"\ntR."
    return {
        "os.system": pickle.dumps(Calls(os.system, touch)),
        "eval": pickle.dumps(Calls(eval, code)),
        "exec": pickle.dumps(Calls(exec, code)),
        "subprocess": pickle.dumps(Calls(subprocess.check_output, ["touch", str(marker)])),
        "nested": pickle.dumps(nested),
        "protocol 0": text("os", "system", touch),
        "posix": text("posix", "system", touch),
        "dotted name": stack_global("torch._utils", "os.system", touch),
        "dotted name of an allowed one": stack_global("collections", "abc.sys.modules", touch),
        "numpy's own loader": text("numpy.testing._private.utils", "runstring", code),
        "of numpy by name": stack_global("numpy", "f2py.os.system", touch),
        "OBJ": obj,
        "INST": inst,
        "BUILD": build,
        "NEWOBJ": newobj,
        "from the memo": memo,
        "getattr": getattr_,
        "torch": by_torch,
        "rebuild": rebuilt,
        "reconstructor": reconstructor,
        "newobj": newobj_,
        "state of a dict": setstate,
    }


NAMES = list(attacks(Path("x")))


def in_zip(payload: bytes) -> bytes:
    """``payload`` as the pickle of a file of torch.save, beside true weights."""
    true, changed = io.BytesIO(), io.BytesIO()
    torch.save(WEIGHTS, true)
    with zipfile.ZipFile(true) as source, zipfile.ZipFile(changed, "w") as target:
        for info in source.infolist():
            target.writestr(info.filename, payload if info.filename.endswith("data.pkl") else source.read(info))
    return changed.getvalue()


def in_legacy(payload: bytes) -> bytes:
    old = io.BytesIO()
    torch.save(WEIGHTS, old, _use_new_zipfile_serialization=False)
    data = old.getvalue()
    stream = io.BytesIO(data)
    for _ in range(3):
        pickle.load(stream)
    return data[: stream.tell()] + payload


@pytest.mark.parametrize("form", [bytes, in_zip, in_legacy], ids=["pickle", "zip", "before 1.6"])
@pytest.mark.parametrize("attack", NAMES)
def test_no_pickle_is_executed(attack: str, form: Callable[[bytes], bytes], tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    path = tmp_path / "evil.pth"
    path.write_bytes(form(attacks(marker)[attack]))
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        read_weights_file(path)
    assert not marker.exists()


def test_the_attacks_are_real(tmp_path: Path) -> None:
    """A plain unpickler executes them: the test above could fail."""
    executed = 0
    for name in ("os.system", "eval", "nested", "protocol 0", "OBJ", "INST", "from the memo", "subprocess"):
        marker = tmp_path / name.replace(" ", "_")
        pickle.loads(attacks(marker)[name])
        executed += marker.exists()
    assert executed == 8


def test_weights_beside_an_attack_are_read_and_the_attack_is_not_run(tmp_path: Path) -> None:
    import os

    marker, path = tmp_path / "executed", tmp_path / "mixed.pth"
    torch.save({"state_dict": WEIGHTS, "callbacks": [Calls(os.system, f"touch {marker}")]}, path)
    content = read_file(path)
    assert torch.equal(content["state_dict"]["weight"], WEIGHTS["weight"])
    assert repr(content["callbacks"][0]) == "<posix.system>"
    assert not marker.exists()


def bomb_of_bytes(size: int) -> bytes:
    return b"\x80\x04\x8e" + struct.pack("<Q", size) + b"abc."


HUGE = {
    "bytes": bomb_of_bytes(1 << 45),
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 45) + b"abc.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 45) + b"abc.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 45) + b"N.",
    "memo": b"\x80\x02Nr" + struct.pack("<I", (1 << 32) - 1) + b".",
    "number": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"abc.",
    "tuple of tuples as a key": b"}(" + b")" + b"2\x86" * 60 + b"Nu.",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_declared_size_is_not_reserved(name: str, tmp_path: Path) -> None:
    path = tmp_path / "huge.pkl"
    path.write_bytes(HUGE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"huge\.pkl"):
        read_weights_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("legacy", [False, True])
def test_a_huge_storage_in_a_small_file_is_refused(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "tensor.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=not legacy)
    count, shape = b"K\x06", b"K\x02K\x03\x86"
    data = path.read_bytes()
    assert count in data and shape in data
    pickled = pickle_of(path, legacy)
    for old, new, said in (
        (count, b"J" + struct.pack("<i", 2_000_000_000), "declares 2000000000 numbers"),
        (shape, b"J" + struct.pack("<i", 2_000_000_000) + b"K\x03\x86", "of shape"),
    ):
        changed = tmp_path / "changed.pth"
        changed.write_bytes((in_legacy if legacy else in_zip)(pickled.replace(old, new)))
        with pytest.raises(CheckpointError, match=said):
            read_file(changed)


def pickle_of(path: Path, legacy: bool) -> bytes:
    """The pickle in a file of torch.save that describes the tensors."""
    if not legacy:
        with zipfile.ZipFile(path) as archive:
            return archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    data = path.read_bytes()
    stream = io.BytesIO(data)
    for _ in range(3):
        pickle.load(stream)
    return data[stream.tell() :]
