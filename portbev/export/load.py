"""Loading an export: one call for pt2, onnx and aoti."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from portbev.errors import DataError
from portbev.export.engines import check_loads, open_engine
from portbev.export.interface import Engine, Tensors
from portbev.export.manifest import Manifest, TensorFacts, manifest_path, read_manifest


def is_export(path: Path) -> bool:
    """Whether ``path`` is meant as an export: a file, with or without its manifest."""
    return path.is_file() or manifest_path(path).is_file()


class LoadedExport:
    """An export that was loaded, see :class:`portbev.export.interface.Exported`.

    Attributes:
        path: its file.
        manifest: what is known of it.
    """

    def __init__(self, path: Path, manifest: Manifest, engine: Engine) -> None:
        self.path, self.manifest, self._engine = path, manifest, engine

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """The results by name.

        Raises:
            DataError: an input that is missing, or of another dtype or shape than the graph is for.
        """
        wanted = {one.name: one for one in self.manifest.inputs}
        for name in inputs:
            if name not in wanted:
                raise DataError("is no input of the export", where=name, cure=f"Inputs: {', '.join(wanted)}")
        for name, facts in wanted.items():
            _check(inputs.get(name), facts)
        return self._engine(inputs)


def load(path: Path | str) -> LoadedExport:
    """Load an export, whatever its format, with its manifest beside it.

    An ``aoti`` package is compiled code, which runs in this process: load only those whose origin is trusted.

    Raises:
        ExportError: no export, no manifest, another version, an edited file, or a format whose library is not here.
    """
    path = Path(path)
    manifest = read_manifest(path)
    check_loads(manifest.format)
    names = ([one.name for one in manifest.inputs], [one.name for one in manifest.outputs])
    return LoadedExport(path, manifest, open_engine(manifest.format, path, *names))


def _check(tensor: Tensor | None, facts: TensorFacts) -> None:
    shape = f"({', '.join('any' if size is None else str(size) for size in facts.shape)})"
    cure = f"Give {facts.dtype} {shape}: {facts.meaning}"
    if tensor is None:
        raise DataError("the export's input is missing", where=facts.name, cure=cure)
    dtype = str(tensor.dtype).removeprefix("torch.")
    fits = len(facts.shape) == tensor.dim() and all(
        _fits(size, length, facts) for size, length in zip(tensor.shape, facts.shape, strict=True)
    )
    if dtype != facts.dtype or not fits:
        raise DataError(f"is {dtype} {tuple(tensor.shape)}", where=facts.name, cure=cure)


def _fits(size: int, length: int | None, facts: TensorFacts) -> bool:
    if length is not None:
        return size == length
    least, most = facts.lengths or (1, 1 << 62)
    return least <= size <= most
