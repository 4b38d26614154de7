"""What a file or folder is that should be evaluated: said by its content, of which nothing is executed."""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from portbev.errors import PortbevError, ResultsError
from portbev.evaluate.benchmark import BEGINNING, benchmarks_of_file
from portbev.plugins import plugins
from portbev.runs.layout import CHECKPOINTS, METRICS, PREDICTIONS, RUN, runs_below
from portbev.tensorfiles.kinds import INDEX, weight_files

What = Literal["run", "checkpoint", "results"]

_MANY = 1 << 16
"""Opcodes of a pickle that are looked at."""

_LOOKED_AT = 64 << 20
"""Bytes of a JSON file that are read to say what it is."""

_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"Rar!": "RAR",
}
_TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The number in front of a file of torch.save before version 1.6, pickled."""

_RESULT_KEYS = ("pts_bbox", "img_bbox", "scores_3d", "boxes_3d", "labels_3d", "pred_instances", "gt_boxes")
"""Parts of the names in pickles of results."""

_SUBMISSION = "Have the tool that made it write its results in the benchmark's own file format (format_results)"
_WHAT_IS_TAKEN = "Name a run directory, a checkpoint, or a file of results"


def recognise(path: Path) -> What:
    """Whether ``path`` is a run directory, a checkpoint, or a file of results that a benchmark takes.

    A file that nothing is known of counts as a checkpoint, whose reader says what is wrong with it.

    Raises:
        PortbevError: it is none of them; says what it is, and how to come to something that can be evaluated.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise PortbevError("no such run, checkpoint or file of results", where=str(path), cure=_WHAT_IS_TAKEN)
    start = _start(path)
    if path.name.endswith(INDEX):
        return "checkpoint"
    if benchmarks_of_file(path):
        return "results"
    if start.lstrip()[:1] in (b"{", b"["):
        raise explain_json(path)
    if path.suffix in (".yaml", ".yml"):
        cure = f"Name what is to be evaluated: portbev eval CHECKPOINT --config {path}"
        raise PortbevError("is a configuration", where=str(path), cure=cure)
    if pickled(start):
        _refuse_results(path)
    elif start.startswith(b"PK\x03\x04"):
        _refuse_archive(path)
    return "checkpoint"


def refuse_other_than_results(path: Path) -> None:
    """Raise for a file that is no results of any benchmark, whatever a person says that it is.

    Raises:
        ResultsError: it is a checkpoint, a pickle, an archive, empty, or a folder.
    """
    if path.is_dir():
        results = [name for name in _json_files(path) if name.name not in (RUN, METRICS)]
        cure = f"Name the file, for example {results[0]}" if results else "Name the file"
        raise ResultsError("is a folder, not a file of results", where=str(path), cure=cure)
    if not path.is_file():
        raise ResultsError("no such file", where=str(path))
    start = _start(path)
    if start.startswith(b"PK\x03\x04"):
        _refuse_archive(path)
        raise _checkpoint(path)
    if pickled(start):
        if benchmarks_of_file(path):
            return
        _refuse_results(path)
        raise _checkpoint(path)
    if path.suffix == ".safetensors":
        raise _checkpoint(path)


def pickled(start: bytes) -> bool:
    """Whether the beginning of a file is that of a pickle of protocol 2 or later."""
    return start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")


def explain_json(path: Path) -> ResultsError:
    """Why a JSON file is no results that can be scored here."""
    what, cure = _said_of_json(_json(path), path)
    return ResultsError(what, where=str(path), cure=cure)


def _start(path: Path) -> bytes:
    """How a file begins; raises for one that is empty, unreadable or compressed."""
    try:
        with open(path, "rb") as file:
            start = file.read(BEGINNING)
    except OSError as error:
        raise PortbevError(f"cannot be read: {error.strerror}", where=str(path)) from error
    if not start:
        cure = "Write or fetch it again: it was cut off, or never written"
        raise PortbevError("the file is empty", where=str(path), cure=cure)
    for magic, name in _PACKED.items():
        if start.startswith(magic):
            cure = "Unpack it, and name the file inside"
            raise PortbevError(f"is compressed with {name}", where=str(path), cure=cure)
    if start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise PortbevError("is text with a byte order mark", where=str(path), cure="Save it as UTF-8 without the mark")
    if start[257:262] == b"ustar":
        raise PortbevError("is a tar archive", where=str(path), cure="Unpack it, and name the file inside")
    return start


def _folder(path: Path) -> What:
    if (path / RUN).is_file():
        return "run"
    if (path / "meta.json").is_file() or (path / CHECKPOINTS).is_dir() or weight_files(path):
        return "checkpoint"
    if (path / PREDICTIONS).is_file():
        cure = f"Score its predictions: portbev eval {path / PREDICTIONS}; or draw them: portbev viz {path}"
        raise PortbevError("holds an evaluation, not a run", where=str(path), cure=cure)
    if path.name == CHECKPOINTS and (path.parent / RUN).is_file():
        cure = f"Name its run: portbev eval {quote(str(path.parent))}; --checkpoint STEP takes one of them"
        raise PortbevError("is the folder of a run's checkpoints", where=str(path), cure=cure)
    runs = runs_below(path)
    if runs:
        one, every = quote(str(runs[0])), " ".join(quote(str(run)) for run in runs[:3])
        rest = f" ... ({len(runs)} runs)" if len(runs) > 3 else ""
        cure = f"Name one: portbev eval {one}; or compare them: portbev parity report {every}{rest}"
        raise PortbevError("is a folder of runs", where=str(path), cure=cure)
    found = _json_files(path)
    cure = f"If these are results, name the file: {found[0]}" if found else _WHAT_IS_TAKEN
    raise PortbevError("is a folder with neither a run nor a checkpoint", where=str(path), cure=cure)


def _json_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.json"), *folder.glob("*/*.json")])[:8]


def _refuse_results(path: Path) -> None:
    """Raise for a pickle that holds results, as test scripts dump them; not for one that may hold a checkpoint."""
    opcodes = list(_opcodes(path))
    if any(name == "LONG1" and argument == 0x1950A86A20F9469CFC6C for name, argument in opcodes[:4]):
        return  # torch.save of old
    words = [str(argument) for name, argument in opcodes if "UNICODE" in name or "STRING" in name]
    first = next((name for name, _ in opcodes if name not in ("PROTO", "FRAME")), "")
    results = [word for word in dict.fromkeys(words) if any(part in word for part in _RESULT_KEYS)]
    if results or first in ("EMPTY_LIST", "EMPTY_TUPLE", "MARK"):
        kind = "list" if first == "EMPTY_LIST" else "object"
        keys = f" with {', '.join(results[:3])}" if results else ""
        what = f"is a pickle of results (a {kind}{keys}), not a file of results that can be scored"
        raise ResultsError(what, where=str(path), cure=f"{_SUBMISSION}, and name that file")


def _opcodes(path: Path) -> Iterator[tuple[str, Any]]:
    """Names and arguments of the first opcodes of a pickle; nothing is executed."""
    with open(path, "rb") as file:
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
                if count == _MANY:
                    return
                yield opcode.name, argument
        except Exception:  # damaged; pickletools raises what it likes
            return


def _refuse_archive(path: Path) -> None:
    """Raise for a zip archive that torch did not write."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return  # truncated: the reader of checkpoints says so
    if any(name.endswith("data.pkl") for name in names):
        return
    inside = next((name for name in names if name.endswith((".json", ".npy"))), names[0] if names else "")
    cure = f"Unpack it, and name the file inside ({inside})" if inside else "It is empty"
    raise PortbevError("is a zip archive", where=str(path), cure=cure)


def _checkpoint(path: Path) -> ResultsError:
    cure = f"Evaluate it: portbev eval {path} --config CONFIG"
    return ResultsError("is a checkpoint, not a file of results", where=str(path), cure=cure)


def _json(path: Path) -> Any:
    """The content of a JSON file; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return json.loads(file.read(_LOOKED_AT))
    except (OSError, ValueError, RecursionError):
        return None


def _said_of_json(content: Any, path: Path) -> tuple[str, str]:
    """What the content of a JSON file is, and the cure."""
    if isinstance(content, list):
        first = content[0] if content and isinstance(content[0], dict) else {}
        keys = f" with {', '.join(list(first)[:4])}" if first else ""
        return f"is a list of {len(content)} results{keys}, which no benchmark here takes", _SUBMISSION
    if not isinstance(content, dict):
        cure = f"Write or fetch it again; or: {_whose()}"
        return "is no JSON that can be read: damaged, truncated or too large to tell", cure
    schema = str(content.get("schema", ""))
    if schema.startswith("portbev.metrics/"):
        return "holds the metrics of an evaluation, not its results", f"Name {path.with_name(PREDICTIONS)}"
    if schema.startswith("portbev.run/"):
        return "is the record of a run", f"Name its directory: portbev eval {path.parent}"
    if "config" in content and path.name == "meta.json":
        return "belongs to a checkpoint", f"Name its folder: portbev eval {path.parent}"
    keys = ", ".join(map(repr, list(content)[:5])) or "nothing"
    return f"is no known results file: it holds {keys}", f"{_whose()}; or: {_SUBMISSION}"


def _whose() -> str:
    return f"Say whose it is: --benchmark {'|'.join(plugins().benchmarks())}"
