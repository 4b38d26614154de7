"""What a file is, by its first bytes; and what to do about one that holds no weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

from portbev.errors import CheckpointError

INDEX = ".index.json"
"""How the name of an index of shards ends."""
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".pkl")
AGAIN = "Fetch it again, and compare its size with the original's"
_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself", "Fetch the file: git lfs pull"),
    (b"\x89HDF", "is an HDF5 file (Keras)", "Give a checkpoint of PyTorch (.pth, .safetensors)"),
    (b"\x93NUMPY", "is an array of NumPy", "Give a checkpoint of PyTorch (.pth, .safetensors)"),
    (b"\x1f\x8b", "is compressed (gzip)", "Unpack it first: tar xzf, or gunzip"),
    (b"BZh", "is compressed (bzip2)", "Unpack it first: tar xjf, or bunzip2"),
    (b"\xfd7zXZ", "is compressed (xz)", "Unpack it first: tar xJf, or unxz"),
    (b"(\xb5/\xfd", "is compressed (zstd)", "Unpack it first: unzstd"),
    (b"7z\xbc\xaf", "is a 7z archive", "Unpack it first"),
    (b"Rar!", "is a RAR archive", "Unpack it first"),
    (b"\x89PNG", "is a picture", "Give a checkpoint"),
    (b"\xff\xd8\xff", "is a picture", "Give a checkpoint"),
    (b"%PDF", "is a PDF", "Give a checkpoint"),
    (b"GGUF", "is a GGUF file (llama.cpp)", "Give a checkpoint of PyTorch (.pth, .safetensors)"),
)
_HTML = re.compile(rb"\s*(<!doctype html|<html|<\?xml|<head)", re.IGNORECASE)
_ONNX = re.compile(rb"\x08[\x01-\x14]\x12.(pytorch|onnx|tf2onnx|skl2onnx|keras)", re.DOTALL)


def kind_of(path: Path) -> str:
    """``zip``, ``safetensors`` or ``pickle``: how to read the file.

    Raises:
        CheckpointError: it is recognised as something else; says as what.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(512)
        size = path.stat().st_size
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise CheckpointError(what, where=str(path), cure="Check its name and permissions") from error
    if not head:
        raise CheckpointError("is empty: its download or its copy failed", where=str(path), cure=AGAIN)
    if not head.strip(b"\0"):
        raise CheckpointError("begins with zeros: its download or its copy failed", where=str(path), cure=AGAIN)
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if _safetensors(head, size) or path.suffix == ".safetensors":
        return "safetensors"
    for start, what, cure in _KINDS:
        if head.startswith(start):
            raise CheckpointError(what, where=str(path), cure=cure)
    if _HTML.match(head):
        cure = "The download gave a web page (a login, a notice, or an error): open the link in a browser"
        raise CheckpointError("is a web page, not a checkpoint", where=str(path), cure=cure)
    if head[257:262] == b"ustar":
        raise CheckpointError("is a tar archive", where=str(path), cure="Unpack it and give the checkpoint in it")
    if path.suffix in (".onnx",) or _ONNX.match(head):
        cure = "Give the checkpoint that it was exported from (.pth, .safetensors)"
        raise CheckpointError("is an ONNX model", where=str(path), cure=cure)
    if _tensorflow(path):
        cure = "Give a checkpoint of PyTorch (.pth, .safetensors)"
        raise CheckpointError("is of TensorFlow", where=str(path), cure=cure)
    if _text(head):
        begin = head[:40].decode("utf-8", "replace").split("\n")[0].strip()
        what = f"is a text file, not a checkpoint (it begins with {begin!r})"
        raise CheckpointError(what, where=str(path), cure="Give a .pth or .safetensors file")
    return "pickle"


def weight_files(folder: Path) -> list[Path]:
    """The indices of shards in ``folder``; where there are none, its files of weights by their names."""
    indices = sorted(folder.glob(f"*{INDEX}"))
    return indices or sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())


def _safetensors(head: bytes, size: int) -> bool:
    """Whether the file begins with the length of a JSON header, and the header."""
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size


def _tensorflow(path: Path) -> bool:
    return bool(re.search(r"\.(data-\d+-of-\d+|index|pb|ckpt\.meta|tflite)$", path.name))


def _text(head: bytes) -> bool:
    """Whether this is text that no pickle begins with (a pickle of protocol 0 is text too)."""
    if head[:1] in b"(cdliIFSV" and any(mark in head for mark in (b"\np0", b"\np1", b"(dp", b"(lp", b"ccollections")):
        return False
    try:
        json.dumps(head.decode("utf-8"))
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return False
    return not re.search(rb"[\x00-\x08\x0e-\x1f]", head)
