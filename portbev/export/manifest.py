"""``FILE.json`` beside an export: all that is to be known of it without portbev, and the digests of what it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from portbev.digests import file_digest, json_digest
from portbev.errors import ExportError
from portbev.files import write_json
from portbev.runs.reading import read_as

SCHEMA = "portbev.export/1"
DIGEST = "digest"
Format = Literal["pt2", "onnx", "aoti"]
FORMATS: tuple[Format, ...] = ("pt2", "onnx", "aoti")


class Part(BaseModel):
    """A section of the manifest. A field that this version does not know is left out: a later one may have added it."""

    model_config = ConfigDict(extra="ignore")


class TensorFacts(Part):
    """An input or a result of the graph. ``shape``: null where any length within ``lengths`` is taken."""

    name: str
    dtype: str
    shape: list[int | None]
    meaning: str
    unit: str = ""
    frame: str = ""
    lengths: list[int] | None = None  # least and most of the axis without a length


class OutputParity(Part):
    """How far a result is from the trained model's, over all samples of the check."""

    name: str
    max_abs: float
    scale: float  # largest magnitude of the trained model's values
    max_rel: float  # max_abs over scale
    tolerance: float  # of max_rel


class BoxParity(Part):
    """How far the boxes are from the trained model's."""

    boxes: int
    unmatched: int
    max_center: float  # metres
    max_size: float  # of the larger one
    max_yaw: float  # radians
    max_velocity: float  # metres per second
    max_score: float
    tolerance_center: float
    tolerance_score: float


class Parity(Part):
    """The check against the trained model that the export passed."""

    samples: int
    tokens: list[str]
    data: str
    split: str
    streams: int | None  # of a temporal model: how many begin in it
    outputs: list[OutputParity]
    boxes: BoxParity


class WeightFacts(Part):
    """``digest``: SHA-256 over the names, dtypes, shapes and bytes of the weights, by name."""

    kind: str  # ema or model
    step: int
    checkpoint: str
    digest: str
    parameters: int


class Manifest(Part):
    """The content of the manifest.

    ``files``: name -> SHA-256 of what lies beside it. ``digest``: SHA-256 of the other entries. ``config`` is the run's
    resolved configuration; ``preprocessing`` the ``data`` section's share of it, which pictures went through.
    """

    schema_: Literal["portbev.export/1"] = Field(default="portbev.export/1", alias="schema")
    name: str
    format: Format
    file: str
    family: str
    data_kind: str
    batch: int
    precision: str
    inputs: list[TensorFacts]
    outputs: list[TensorFacts]
    state: dict[str, str]  # result -> the input that it is the next value of
    classes: list[str]
    box_frame: str
    postprocessing: str
    preprocessing: dict[str, Any]
    request: dict[str, Any]  # what requests depend on besides the configuration
    config: dict[str, Any]
    weights: WeightFacts
    versions: dict[str, str]
    opset: int | None = None
    operators: list[str] = Field(default_factory=list)  # kinds of operators that the graph consists of
    parity: Parity
    notes: list[str] = Field(default_factory=list)
    created: str
    files: dict[str, str]
    digest: str = ""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, serialize_by_alias=True)


def manifest_path(path: Path) -> Path:
    """Where the manifest of the export ``path`` lies."""
    return path.with_name(path.name + ".json")


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write it with its digest, whole or not at all."""
    content = manifest.model_dump(mode="json", by_alias=True)
    write_json(path, content | {DIGEST: json_digest(content, without=DIGEST)})


def read_manifest(path: Path) -> Manifest:
    """The manifest of the export ``path``, whose files are as they were written.

    Raises:
        PortbevError: there is none, it is of another version of the format, or a file was cut off or edited.
    """
    beside = manifest_path(path)
    if not path.is_file():
        raise ExportError("no such export", where=str(path), cure="Write one: portbev export RUN --to pt2")
    if not beside.is_file():
        cure = f"Copy {beside.name} to it, which was written with it"
        raise ExportError("the manifest that belongs beside an export is missing", where=str(beside), cure=cure)
    manifest = read_as(Manifest, beside, SCHEMA)
    content = manifest.model_dump(mode="json", by_alias=True)
    again = "Export the run again, or copy both files again"
    if json_digest(content, without=DIGEST) != manifest.digest:
        raise ExportError("was edited after the export: its digest is not its own", where=str(beside), cure=again)
    if manifest.file not in manifest.files:
        raise ExportError("is damaged: it has no digest of its export", where=str(beside), cure=again)
    for name, digest in manifest.files.items():
        there = path if name == manifest.file else path.with_name(name)
        if not there.is_file() or file_digest(there) != digest:
            what = "was cut off or edited after the export: its hash is not the manifest's"
            raise ExportError(what if there.is_file() else "is gone", where=str(there), cure=again)
    return manifest
