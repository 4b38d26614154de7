"""A model repository for the Triton Inference Server, around an export.

Written after its documentation (model repository, model configuration, ONNX Runtime and PyTorch backends) and not run
with a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.errors import ExportError
from portbev.export.manifest import Format, Manifest, TensorFacts, manifest_path, write_manifest
from portbev.export.run import Say, checked_format, export_run
from portbev.files import write_text

LAYOUTS = ("triton",)
NOT_RUN = "the repository was not run with a Triton server"
_FILE: dict[Format, str] = {"onnx": "model.onnx", "aoti": "model.pt2"}
_PLATFORM: dict[Format, str] = {"onnx": 'platform: "onnxruntime_onnx"', "aoti": 'platform: "torch_aoti"'}
_TYPES = {
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "int16": "TYPE_INT16",
    "uint8": "TYPE_UINT8",
    "bool": "TYPE_BOOL",
}


def export_repository(
    source: Path, to: str, out: Path | None, *, layout: str, say: Say, **options: Any
) -> tuple[Path, Manifest]:
    """Export a run into ``OUT/NAME/1/`` with ``OUT/NAME/config.pbtxt``; see :func:`portbev.export.run.export_run`.

    Raises:
        ExportError: another layout, or a format that the server does not load.
    """
    if layout not in LAYOUTS:
        raise ExportError(f"there is no layout {layout!r}", where="--layout", cure=f"One of {', '.join(LAYOUTS)}")
    form = checked_format(to)
    if form not in _FILE:
        what = f"the server loads no {form} file"
        raise ExportError(what, where="--layout triton", cure=f"--to {' or '.join(sorted(_FILE))}")
    if out is None:
        raise ExportError("a model repository needs a folder", where="--out", cure="Name one: --out models")
    name = source.resolve().name
    path, manifest = export_run(source, to, out / name / "1" / _FILE[form], say=say, **options)
    manifest = manifest.model_copy(update={"notes": [*manifest.notes, NOT_RUN]})
    write_manifest(manifest, manifest_path(path))
    write_text(out / name / "config.pbtxt", configuration(name, manifest))
    return path, manifest


def configuration(name: str, manifest: Manifest) -> str:
    """``config.pbtxt``: the batch is a part of the shapes, so that the server makes none."""
    lines = [f'name: "{name}"', _PLATFORM[manifest.format], "max_batch_size: 0"]
    if manifest.format == "aoti":  # the package takes its inputs by their places
        inputs = [_entry(one, f"INPUT__{place}") for place, one in enumerate(manifest.inputs)]
        outputs = [_entry(one, f"OUTPUT__{place}") for place, one in enumerate(manifest.outputs)]
    else:
        inputs = [_entry(one, one.name) for one in manifest.inputs]
        outputs = [_entry(one, one.name) for one in manifest.outputs]
    lines += ["input [\n" + ",\n".join(inputs) + "\n]", "output [\n" + ",\n".join(outputs) + "\n]"]
    lines.append("instance_group [ { kind: KIND_CPU } ]")
    return "\n".join(lines) + "\n"


def _entry(facts: TensorFacts, name: str) -> str:
    sizes = ", ".join("-1" if size is None else str(size) for size in facts.shape)
    return f'  {{ name: "{name}", data_type: {_TYPES[facts.dtype]}, dims: [ {sizes} ] }}'
