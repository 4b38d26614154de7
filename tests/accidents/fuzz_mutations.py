"""Seeded damage to files: of their bytes, and of what their format says."""

from __future__ import annotations

import copy
import gzip
import io
import json
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import yaml

Mutation = tuple[bytes, str]
"""The damaged content, and what was done to it."""

EXTREMES: tuple[Any, ...] = (
    *(0, -1, 1, 2**31, 2**63, -(2**63), 10**40),
    *(0.0, -0.0, 0.5, 1e-320, 1e30, -1e308, math.inf, -math.inf, math.nan),
)
SWAPS: tuple[Any, ...] = (
    None,
    True,
    "",
    "text",
    "1e5",
    "../../etc/passwd",
    "\ud83d",
    7,
    0.25,
    [],
    {},
    [[]],
    [1],
    {"a": 1},
)


def mutate(content: bytes, name: str, rng: random.Random) -> Mutation:
    """Damage the content of the file ``name``: half of the time as its format is read, else byte by byte."""
    suffix = name.rsplit(".", 1)[-1].lower()
    special = _SPECIAL.get(suffix)
    if special is not None and rng.random() < 0.6:
        result = special(content, rng)
        if result is not None:
            return result
    return rng.choice(_BYTES)(content, rng)


# ---- bytes


def _truncate(content: bytes, rng: random.Random) -> Mutation:
    size = rng.randrange(len(content) + 1)
    return content[:size], f"truncated to {size} of {len(content)} bytes"


def _empty(content: bytes, rng: random.Random) -> Mutation:
    return b"", "emptied"


def _flip(content: bytes, rng: random.Random) -> Mutation:
    damaged, count = bytearray(content), rng.choice((1, 1, 4, 64))
    for _ in range(count if content else 0):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged), f"{count} bits flipped"


def _overwrite(content: bytes, rng: random.Random) -> Mutation:
    size = min(len(content), rng.choice((4, 64, 4096)))
    at = rng.randrange(len(content) - size + 1)
    fill = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size)))
    return content[:at] + fill + content[at + size :], f"{size} bytes overwritten at {at}"


def _remove(content: bytes, rng: random.Random) -> Mutation:
    size = min(len(content), rng.choice((1, 3, 20, 1000)))
    at = rng.randrange(len(content) - size + 1)
    return content[:at] + content[at + size :], f"{size} bytes removed at {at}"


def _double(content: bytes, rng: random.Random) -> Mutation:
    return content + content, "doubled"


def _append(content: bytes, rng: random.Random) -> Mutation:
    tail = rng.choice((b"\x00", b"\n\n", rng.randbytes(7), rng.randbytes(4000)))
    return content + tail, f"{len(tail)} bytes appended"


def _replace(content: bytes, rng: random.Random) -> Mutation:
    other, what = rng.choice(
        (
            (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "an HTML page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n", "a Git LFS pointer"),
            (rng.randbytes(2000), "noise"),
            (b"\x00" * 4096, "zeros"),
            (gzip.compress(content[:100000]), "its own gzip"),
        )
    )
    return other, f"replaced by {what}"


def _encode(content: bytes, rng: random.Random) -> Mutation:
    encoding = rng.choice(("utf-16", "utf-8-sig", "utf-32"))
    try:
        return content.decode("utf-8").encode(encoding), f"as {encoding}"
    except UnicodeError:
        return b"\xef\xbb\xbf" + content, "with a byte order mark"


_BYTES: tuple[Callable[[bytes, random.Random], Mutation], ...] = (
    *(_truncate, _truncate, _flip, _flip, _overwrite, _remove, _empty, _double, _append, _replace, _encode),
)


# ---- values in a tree


def _places(value: Any, rng: random.Random, limit: int = 4000) -> list[tuple[Any, Any]]:
    """(container, key) of what is in a nested value, at most ``limit``."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) < limit:
        at = waiting.pop(rng.randrange(len(waiting)))
        keys = list(at) if isinstance(at, dict) else range(len(at))
        for key in keys:
            found.append((at, key))
            if isinstance(at[key], (dict, list)):
                waiting.append(at[key])
    return found


def _damage_tree(value: Any, rng: random.Random) -> str:
    """Change one place of a nested value; says which."""
    places = _places(value, rng)
    if not places:
        return "left alone"
    box, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0:
        box[key] = rng.choice(EXTREMES)
        return f"{key!r} became {box[key]!r}"
    if kind == 1:
        box[key] = copy.deepcopy(rng.choice(SWAPS))
        return f"{key!r} became {box[key]!r}"
    if kind == 2:
        del box[key]
        return f"{key!r} removed"
    if kind == 3 and isinstance(box, list):
        box.insert(key, copy.deepcopy(box[key]))
        return f"row {key} doubled"
    if kind == 4 and isinstance(box, dict):
        box[f"{key}_"] = box.pop(key)
        return f"{key!r} renamed"
    other_box, other = rng.choice(places)
    box[key] = copy.deepcopy(other_box[other])
    return f"{key!r} became a copy of {other!r}"


def _json(content: bytes, rng: random.Random) -> Mutation | None:
    try:
        tree = json.loads(content)
    except ValueError:
        return None
    if rng.random() < 0.08:
        deep = b"[" * 100_000 + b"]" * 100_000
        return rng.choice((deep, b"[]", b"{}", b"null", b'"text"', b"[[]]", b"[{}]", b"1")), "another JSON value"
    said = _damage_tree(tree, rng) if isinstance(tree, (dict, list)) else "left alone"
    return json.dumps(tree).encode("utf-8", "surrogatepass"), said


def _jsonl(content: bytes, rng: random.Random) -> Mutation | None:
    lines = content.splitlines(keepends=True)
    if not lines:
        return None
    at = rng.randrange(len(lines))
    damaged = _json(lines[at], rng)
    if damaged is None:
        return None
    lines[at] = damaged[0] + b"\n"
    return b"".join(lines), f"line {at}: {damaged[1]}"


def _yaml(content: bytes, rng: random.Random) -> Mutation | None:
    if rng.random() < 0.35:
        bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
        text, what = rng.choice(
            (
                (bomb, "references that double"),
                ("model: &m {family: bevdepth, inner: *m}\n", "a reference to itself"),
                ("x: !!python/object/apply:os.system ['touch executed']\n", "a tag that asks for code"),
                ("data:\n\tsweeps: [0]\n", "a tab"),
                ("name: a\nname: b\n", "a key given twice"),
                ("train: {epochs: 99999999999999999999}\n", "an epoch number of twenty digits"),
                ("? [a, b]\n: 1\n", "a list as a key"),
                ("extends: [../../../../../../etc/passwd]\n", "a file that is no configuration"),
            )
        )
        joined = content + b"\n" + text.encode() if rng.random() < 0.5 else text.encode()
        return joined, what
    tree = yaml.safe_load(content)
    said = _damage_tree(tree, rng)
    return yaml.safe_dump(tree).encode("utf-8", "surrogatepass"), said


def _table(content: bytes, rng: random.Random) -> Mutation | None:
    """Of text in rows: a cell, a row, the separators."""
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeError:
        return None
    if not lines:
        return None
    at = rng.randrange(len(lines))
    kind = rng.randrange(6)
    separator = next((s for s in (",", "\t", ";", " ") if s in lines[at]), " ")
    cells = lines[at].split(separator)
    if kind == 0:
        del lines[at]
        said = f"row {at} removed"
    elif kind == 1:
        lines.insert(at, lines[at])
        said = f"row {at} doubled"
    elif kind == 2:
        lines = [line.replace(separator, ";") for line in lines]
        said = "other separators"
    elif kind == 3:
        del cells[rng.randrange(len(cells))]
        lines[at] = separator.join(cells)
        said = f"a cell of row {at} removed"
    else:
        place = rng.randrange(len(cells))
        cells[place] = str(rng.choice((*EXTREMES, *SWAPS))).encode("utf-8", "replace").decode()
        lines[at] = separator.join(cells)
        said = f"cell {place} of row {at} became {cells[place]!r}"
    return ("\n".join(lines) + "\n").encode(), said


# ---- declared sizes and other headers


def _png(content: bytes, rng: random.Random) -> Mutation | None:
    if content[12:16] != b"IHDR":
        return None
    width, height = rng.choice(((2**31 - 1, 2**31 - 1), (60000, 60000), (0, 0), (1, 1), (2, 30000)))
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:], f"says {width} x {height}"


def _jpeg(content: bytes, rng: random.Random) -> Mutation | None:
    at = content.find(b"\xff\xc0")
    if at < 0:
        return None
    height, width = rng.choice(((65500, 65500), (0, 0), (1, 1), (65500, 2)))
    return content[: at + 5] + struct.pack(">HH", height, width) + content[at + 9 :], f"says {width} x {height}"


def _npy(content: bytes, rng: random.Random) -> Mutation | None:
    if content[:6] != b"\x93NUMPY":
        return None
    end = 10 + int.from_bytes(content[8:10], "little")
    shape = rng.choice(("(9999999999999,)", "(-1,)", "()", "(0,)", "(3, 4, 5, 6, 7)", "('a',)"))
    kind = rng.choice(("<f4", "<f8", "|O", "<U9999", "<c16", ">i2", "|V8"))
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (len(header) + 10) % 64) + "\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    return head + content[end:], f"says {kind} {shape}"


def _safetensors(content: bytes, rng: random.Random) -> Mutation | None:
    if len(content) < 9:
        return None
    size = int.from_bytes(content[:8], "little")
    if rng.random() < 0.3:
        length = rng.choice((0, 1, size - 1, size + 1, 2**40, 2**63))
        return length.to_bytes(8, "little") + content[8:], f"says that its header has {length} bytes"
    damaged = _json(content[8 : 8 + size], rng)
    if damaged is None:
        return None
    return len(damaged[0]).to_bytes(8, "little") + damaged[0] + content[8 + size :], f"header: {damaged[1]}"


def _archive(content: bytes, rng: random.Random) -> Mutation | None:
    """Of a file of ``torch.save``: its pickle replaced or damaged, a member lost, a size that is not there."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as source:
            members = {info.filename: source.read(info) for info in source.infolist()}
    except zipfile.BadZipFile:
        return None
    pickles = [name for name in members if name.endswith("data.pkl")]
    kind = rng.randrange(4)
    if kind == 0 and pickles:
        code = rng.choice(
            (
                b"cos\nsystem\n(S'touch executed'\ntR.",
                b'cbuiltins\neval\n(S\'open("executed", "w")\'\ntR.',
                b"\x80\x02cbuiltins\nexec\nX\x1a\x00\x00\x00open('executed','w').close()\x85R.",
                b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch executed\x85R.",
                b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L99999999999L\nt" + b"S'b'\ntR.",
            )
        )
        members[pickles[0]], said = code, "its pickle asks for code"
    elif kind == 1 and pickles:
        members[pickles[0]], said = _flip(members[pickles[0]], rng)
        said = f"its pickle: {said}"
    elif kind == 2:
        lost = rng.choice(list(members))
        del members[lost]
        said = f"without {lost}"
    else:
        name = rng.choice(list(members))
        members[name], said = rng.choice(_BYTES)(members[name], rng)
        said = f"{name}: {said}"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name, data in members.items():
            out.writestr(name, data)
    return target.getvalue(), said


_SPECIAL: dict[str, Callable[[bytes, random.Random], Mutation | None]] = {
    "json": _json,
    "jsonl": _jsonl,
    "yaml": _yaml,
    "yml": _yaml,
    "csv": _table,
    "txt": _table,
    "png": _png,
    "jpg": _jpeg,
    "npy": _npy,
    "safetensors": _safetensors,
    "pth": _archive,
    "pt": _archive,
}
