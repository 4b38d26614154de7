"""Files of weights as people have them: every format, objects of absent packages, and what is no checkpoint at all."""

from __future__ import annotations

import argparse
import datetime
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.tensorfiles.reading import read_file, read_weights_file
from portbev.tensorfiles.standins import walk


@pytest.fixture(scope="module")
def absent() -> Iterator[Any]:
    """A package that is there when a file is written, and not when it is read."""
    module = types.ModuleType("absent_mmcv")
    source = "class Config(dict):\n    pass\nclass Hook:\n    def __init__(self): self.interval = 1\n"
    exec(source, module.__dict__)
    for kind in (module.Config, module.Hook):
        kind.__module__ = "absent_mmcv"
    sys.modules["absent_mmcv"] = module
    yield module
    del sys.modules["absent_mmcv"]


def weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.transposed": torch.randn(5, 7, generator=generator).t(),
        "norm.half": torch.randn(4, generator=generator).half(),
        "norm.brain": torch.randn(4, generator=generator).bfloat16(),
        "norm.num_batches_tracked": torch.tensor(7),
        "norm.parameter": nn.Parameter(torch.randn(2, 2, generator=generator)),
        "shared": torch.arange(10.0)[2:6],
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


def beside(absent: Any) -> dict[str, Any]:
    return {
        "meta": {"config": absent.Config(a=1), "hook": absent.Hook(), "CLASSES": ("car", "bus")},
        "hyper_parameters": argparse.Namespace(lr=1e-3, root=Path("/data")),
        "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc),
        "best": np.float32(2.5),
        "epoch": np.int64(3),
        "table": np.arange(6, dtype=">f4").reshape(2, 3),
        "objects": np.array([None, {}], dtype=object),
        "names": {"a", "b"},
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
    }


def saved(content: Any, path: Path, *, new: bool, protocol: int) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)


FORMS: dict[str, Callable[[Any, Path], None]] = {
    "zip": lambda content, path: saved(content, path, new=True, protocol=2),
    "zip, protocol 5": lambda content, path: saved(content, path, new=True, protocol=5),
    "before 1.6": lambda content, path: saved(content, path, new=False, protocol=2),
    "pickle": lambda content, path: path.write_bytes(pickle.dumps(content)) and None,
    "pickle, protocol 0": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=0)) and None,
    "pickle, protocol 2": lambda content, path: path.write_bytes(pickle.dumps(content, protocol=2)) and None,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_format_gives_the_same_tensors_beside_stand_ins(form: str, absent: Any, tmp_path: Path) -> None:
    path, expected = tmp_path / "checkpoint.pth", weights()
    FORMS[form]({"state_dict": expected, **beside(absent)}, path)
    hidden = sys.modules.pop("absent_mmcv")
    try:
        content = read_file(path)
        assert "absent_mmcv" not in sys.modules
    finally:
        sys.modules["absent_mmcv"] = hidden
    for key, value in expected.items():
        assert torch.equal(content["state_dict"][key], value), key
        assert content["state_dict"][key].dtype == value.dtype, key
    assert content["best"] == 2.5 and content["epoch"] == 3
    assert content["table"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert content["names"] == {"a", "b"} and tuple(content["size"]) == (1, 2)
    assert content["meta"]["CLASSES"] == ("car", "bus")
    assert repr(content["meta"]["hook"]) == "<absent_mmcv.Hook>"
    assert dict(walk(content))["hyper_parameters.lr"] == 1e-3
    assert dict(walk(content))["meta.config.a"] == 1


@pytest.mark.parametrize("form", ["zip", "before 1.6", "pickle"])
def test_a_whole_module_has_the_names_of_its_state_dict(form: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4)))
    FORMS[form](model, tmp_path / "model.pth")
    content = read_weights_file(tmp_path / "model.pth")
    leaves = {name: leaf for name, leaf in walk(content) if isinstance(leaf, Tensor)}
    expected = {f"object.{name}": value for name, value in model.state_dict().items()}
    assert leaves.keys() == expected.keys()
    assert all(torch.equal(leaves[name], value) for name, value in expected.items())


def test_what_is_read_stays_when_the_file_changes_its_place(tmp_path: Path) -> None:
    path, expected = tmp_path / "checkpoint.pth", weights()
    torch.save(expected, path)
    content = read_file(path)
    path.unlink()
    assert torch.equal(content["conv.weight"], expected["conv.weight"])
    content["conv.weight"].zero_()  # writes to memory, not to the file


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    first, second = {"a.weight": torch.ones(2)}, {"b.weight": torch.zeros(3)}
    save_file(first, tmp_path / "model-00001-of-00002.safetensors")
    torch.save(second, tmp_path / "model-00002-of-00002.bin")
    index = tmp_path / "model.safetensors.index.json"
    names = {"a.weight": "model-00001-of-00002.safetensors", "b.weight": "model-00002-of-00002.bin"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": names}))
    for path in (index, tmp_path):
        content = read_weights_file(path)
        assert content.keys() == names.keys()
        assert torch.equal(content["a.weight"], torch.ones(2))
    (tmp_path / "model-00002-of-00002.bin").unlink()
    with pytest.raises(CheckpointError, match=r"the shard model-00002-of-00002\.bin is missing\. Fetch all shards"):
        read_file(index)
    index.write_text(json.dumps({"weight_map": {"a.weight": "../../etc/passwd"}}))
    with pytest.raises(CheckpointError, match="is not beside it"):
        read_file(index)


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")


def write_script(path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def write_compressed(path: Path) -> None:
    torch.save(weights(), path)
    parts = {}
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def write_cut(path: Path, *, new: bool = True) -> None:
    saved(weights(), path, new=new, protocol=2)
    path.write_bytes(path.read_bytes()[:-200])


def write_flipped(path: Path) -> None:
    torch.save({"w": torch.zeros(1000)}, path)
    data = bytearray(path.read_bytes())
    data[data.index(b"\0" * 2000) + 1000] ^= 0x40
    path.write_bytes(bytes(data))


def write_bytes(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


RESULTS = [{"pts_bbox": {"scores_3d": [0.1]}}]
OTHERS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a list": ("x.pth", lambda p: torch.save([1, 2, 3], p), "holds no weights, but a list of 3"),
    "results": ("x.pkl", write_bytes(pickle.dumps(RESULTS)), "Results are scored with portbev eval FILE"),
    "a number": ("x.pkl", write_bytes(pickle.dumps(3)), "holds no weights, but a int"),
    "no weights": ("x.pth", lambda p: torch.save({"epoch": 3}, p), "a mapping of epoch"),
    "a zip": ("x.pth", write_zip, r"a zip that torch\.save did not write \(readme\.txt\)"),
    "a compressed zip": ("x.pth", write_compressed, r"a compressed zip that torch\.save did not write"),
    "TorchScript": ("x.pt", write_script, r"TorchScript program.*torch\.jit\.load"),
    "a web page": ("x.pth", write_bytes(b"\n<!DOCTYPE html><html>"), "is a web page"),
    "a pointer": ("x.pth", write_bytes(b"version https://git-lfs.github.com/spec/v1\noid"), "git lfs pull"),
    "nothing": ("x.pth", write_bytes(b""), "is empty"),
    "nothing called safetensors": ("x.safetensors", write_bytes(b""), "is empty"),
    "zeros": ("x.pth", write_bytes(b"\0" * 5000), "begins with zeros"),
    "text": ("x.pth", write_bytes(b"these are no weights\n"), "is a text file"),
    "json": ("x.pth", write_bytes(b'{"a": 1}'), "is a text file"),
    "a tar": ("x.pth", write_bytes(b"x" * 257 + b"ustar\0" + b"\0" * 300), "is a tar archive"),
    "gzip": ("x.pth.gz", write_bytes(b"\x1f\x8b\x08" + b"\1" * 50), "gunzip"),
    "hdf5": ("x.h5", write_bytes(b"\x89HDF\r\n\x1a\n" + b"\1" * 50), "HDF5"),
    "onnx": ("x.onnx", write_bytes(b"\x08\x07\x12\x07pytorch" + b"\1" * 50), "ONNX"),
    "tensorflow": ("model.ckpt.data-00000-of-00001", write_bytes(b"\x13\x37" * 50), "TensorFlow"),
    "a cut zip": ("x.pth", write_cut, "is a zip that is not whole"),
    "a cut old file": ("x.pth", lambda p: write_cut(p, new=False), "cut off"),
    "a flipped bit": ("x.pth", write_flipped, "the checksum of its part x/data/0 is wrong"),
    "random bytes": ("x.pth", write_bytes(bytes(range(128, 256)) * 20), "cannot be read"),
    "cut safetensors": ("x.safetensors", write_bytes(b"\xff\xff\0\0\0\0\0\0{"), "not whole"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_checkpoint_is_told(kind: str, tmp_path: Path) -> None:
    name, write, said = OTHERS[kind]
    path = tmp_path / name
    write(path)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_weights_file(path)
    assert caught.value.where == str(path) and caught.value.cure
    assert "\n" not in str(caught.value)


def test_safetensors_and_torch_files_are_known_by_content_not_by_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x.pth")
    assert torch.equal(read_weights_file(tmp_path / "x.pth")["a"], torch.ones(2))
    torch.save({"a": torch.ones(2)}, tmp_path / "x.weird")
    assert torch.equal(read_weights_file(tmp_path / "x.weird")["a"], torch.ones(2))


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        read_file(tmp_path)
    for name in ("a.pth", "b.pth"):
        torch.save({"a": torch.ones(2)}, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several files of weights: a\.pth, b\.pth\. Name one"):
        read_file(tmp_path)
    (tmp_path / "b.pth").unlink()
    assert torch.equal(read_weights_file(tmp_path)["a"], torch.ones(2))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_file(tmp_path / "nothing.pth")
