"""Any file or folder of weights, by what is in it and not by its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import load_file
from torch import Tensor

from portbev.errors import CheckpointError
from portbev.tensorfiles.kinds import AGAIN, INDEX, kind_of, weight_files
from portbev.tensorfiles.standins import walk
from portbev.tensorfiles.torchfile import DamagedError, read_legacy, read_zip

SHARDS = "weight_map"


def read_file(path: Path | str) -> Any:
    """Content of a checkpoint on the CPU: of ``torch.save`` (any version), safetensors, a pickle, or in shards.

    Objects beside the tensors are stand-ins (:mod:`portbev.tensorfiles.standins`); nothing of the file is executed.
    Tensors of ``torch.save`` are views of the mapped file: copy what shall outlive it.

    Args:
        path: a file, an index of shards (``*.index.json``), or a folder with an index or with one file of weights.

    Raises:
        CheckpointError: missing, not whole, or something else; says what, and the cure.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.exists():
        raise CheckpointError("no such checkpoint", where=str(path), cure="Check the path")
    if not path.is_file():
        raise CheckpointError("is no file", where=str(path), cure="Give a .pth or .safetensors file")
    if path.name.endswith(INDEX):
        return _read_shards(path)
    kind = kind_of(path)
    try:
        return read_safetensors(path) if kind == "safetensors" else (read_zip if kind == "zip" else read_legacy)(path)
    except DamagedError as error:
        raise CheckpointError(str(error), where=str(path), cure=_cure(str(error))) from error
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}", where=str(path), cure=AGAIN) from error


def read_weights_file(path: Path | str) -> Mapping[str, Any]:
    """Like :func:`read_file`, for a file that must hold weights, however deep.

    Raises:
        CheckpointError: also for a file without weights; says what it holds instead.
    """
    content = read_file(path)
    if not any(isinstance(leaf, Tensor) or hasattr(leaf, "__array__") for _, leaf in walk(content)):
        raise CheckpointError(f"holds no weights, but {described(content)}", where=str(path), cure=_cure_of(content))
    if isinstance(content, Mapping):
        return content
    return {"object": content}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError, ValueError, OverflowError, KeyError, TypeError) as error:
        what = f"cannot be read as safetensors ({' '.join(str(error).split())[:120]}): not whole, or of another kind"
        raise CheckpointError(what, where=str(path), cure=AGAIN) from error


def described(content: object) -> str:
    """What ``content`` is, for a message."""
    if isinstance(content, list | tuple):
        first = content[0] if content else None
        keys = [str(key) for key in first][:3] if isinstance(first, Mapping) else []
        items = f" with {', '.join(keys)}" if keys else ""
        return f"a list of {len(content)}" + (f" mappings{items} (detections?)" if isinstance(first, Mapping) else "")
    if isinstance(content, Mapping):
        keys = [str(key) for key in content]
        more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
        return f"a mapping of {', '.join(keys[:5])}{more}" if keys else "an empty mapping"
    return f"a {getattr(content, 'kind', type(content).__name__)}"


def _cure_of(content: object) -> str:
    if isinstance(content, list | tuple) and content and isinstance(content[0], Mapping):
        return (
            "Results are scored with portbev eval FILE: as JSON in the benchmark's format (OpenMMLab: tools/test.py "
            "--format-only), or mmdet3d's pickle with boxes in the lidar's frame"
        )
    return "Give a file with a state_dict, such as torch.save(model.state_dict(), FILE) writes"


def _cure(what: str) -> str:
    if "TorchScript" in what:
        return "Save its weights instead: torch.save(torch.jit.load(FILE).state_dict(), NEW)"
    if "torch.save did not write" in what:
        return "If it is an archive with a checkpoint in it, unpack it and give that file"
    if "byte order" in what:
        return "Save it again on this kind of machine, or as safetensors"
    return AGAIN


def _in_folder(folder: Path) -> Path:
    """The index of shards in ``folder``, or its only file of weights."""
    found = weight_files(folder)
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(p.name for p in found[:5]) + (" ..." if len(found) > 5 else "")
        what = f"holds several files of weights: {names}"
        raise CheckpointError(what, where=str(folder), cure="Name one of them")
    cure = "Name a checkpoint folder, a run directory or a file"
    if (folder / "saved_model.pb").is_file() or list(folder.glob("*.ckpt.index")):
        raise CheckpointError("is of TensorFlow", where=str(folder), cure="Give a checkpoint of PyTorch")
    raise CheckpointError("holds no checkpoint", where=str(folder), cure=cure)


def _read_shards(index: Path) -> dict[str, Any]:
    """The weights of all files that an index names."""
    try:
        names = json.loads(index.read_text(encoding="utf-8"))[SHARDS]
        files = sorted({str(name) for name in names.values()})
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        what = f"is no index of shards: no {SHARDS} in it"
        raise CheckpointError(what, where=str(index), cure=AGAIN) from error
    weights: dict[str, Any] = {}
    for name in files:
        if Path(name).name != name:
            raise CheckpointError(f"names the shard {name!r}, which is not beside it", where=str(index), cure=AGAIN)
        if not (index.parent / name).is_file():
            what = f"the shard {name} is missing"
            raise CheckpointError(what, where=str(index), cure="Fetch all shards into the folder of the index")
        content = read_file(index.parent / name)
        weights |= content if isinstance(content, Mapping) else {}
    absent = [key for key in names if key not in weights]
    if absent:
        what = f"{len(absent)} weights that it lists are in no shard, first {absent[0]}"
        raise CheckpointError(what, where=str(index), cure=AGAIN)
    return weights
