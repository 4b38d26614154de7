"""The three formats: how a traced graph becomes a file, and how the file computes."""

from __future__ import annotations

import io
import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import ExportError
from portbev.export.composed import forms
from portbev.export.interface import Engine, Length, Tensors
from portbev.export.manifest import Format
from portbev.host import cxx_compiler

OPSET = 20
_TALKATIVE = ("torch.onnx", "torch._inductor", "torch._export", "torch._export.serde.serialize", "onnxscript")
SUFFIX: dict[Format, str] = {"pt2": ".pt2", "onnx": ".onnx", "aoti": ".aoti.pt2"}


class _Positional(nn.Module):
    """A graph whose inputs are given by their places."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.body = graph

    def forward(self, *inputs: Tensor) -> Any:
        return self.body(*inputs)


@torch.no_grad()
def traced(graph: nn.Module, inputs: Tensors, lengths: Mapping[str, Length]) -> torch.export.ExportedProgram:
    """The graph of torch's own operators alone: portbev's are written out (:mod:`portbev.export.composed`).

    Raises:
        ExportError: an operator of portbev, or of another library, without a form.
    """
    axes = {one.name: torch.export.Dim(one.name, min=one.least, max=one.most) for one in lengths.values()}
    shapes = [{lengths[name].axis: axes[lengths[name].name]} if name in lengths else None for name in inputs]
    # a compiled package takes the strides of the examples for those of every input, and does not look
    examples = tuple(tensor.contiguous() for tensor in inputs.values())
    with _quiet():
        program = torch.export.export(
            _Positional(graph).eval(), examples, dynamic_shapes=(tuple(shapes),), strict=False
        )
        program = program.run_decompositions(forms())
    others = [name for name in operators(program) if not name.startswith(("aten.", "prims.", "<built-in"))]
    if others:
        what = f"operators without a form in an export: {', '.join(others)}"
        raise ExportError(what, cure="Add one to portbev.export.composed.forms")
    return program


def operators(program: torch.export.ExportedProgram) -> list[str]:
    """The kinds of operators of a graph."""
    return sorted({str(node.target) for node in program.graph.nodes if node.op == "call_function"})


def write(
    program: torch.export.ExportedProgram, form: Format, path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Write the graph to ``path``.

    Raises:
        ExportError: what the format needs is not installed.
        OSError, RuntimeError: the file cannot be written.
    """
    with _quiet():
        _WRITERS[form](program, path, inputs, outputs)


def open_engine(form: Format, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Engine:
    """What the file ``path`` computes, with its inputs and results by these names.

    Raises:
        ExportError: what the format needs is not installed, or the file cannot be loaded.
    """
    with _quiet():
        return _OPENERS[form](path, inputs, outputs)


def check_loads(form: Format) -> None:
    """Raise ExportError unless what loading the format needs is here."""
    if form == "onnx":
        _imported("onnxruntime")


def check_needs(form: Format) -> None:
    """Raise ExportError unless what writing the format needs is here."""
    if form == "onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            _imported(name)
    if form == "aoti" and cxx_compiler() is None:
        what = "compiling for this CPU needs a C++ compiler, and there is none (g++, clang++, or what CXX names)"
        raise ExportError(what, cure="Install one, for example: apt-get install g++; or export to pt2")


def _imported(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(f"ONNX needs {name}: {error}", cure="pip install 'portbev[onnx]'") from error


def _write_pt2(program: Any, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    torch.export.save(program, path)


def _write_aoti(program: Any, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    check_needs("aoti")
    from torch import _inductor

    # as many threads as torch has where it runs, not as it had here
    options = {"cpp.dynamic_threads": True}
    _inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=options)


def _write_onnx(program: Any, path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    check_needs("onnx")
    made = torch.onnx.export(
        program, dynamo=True, opset_version=OPSET, input_names=list(inputs), output_names=list(outputs), verbose=False
    )
    assert made is not None
    made.save(str(path), external_data=False)
    onnx = _imported("onnx")
    onnx.checker.check_model(str(path), full_check=True)


def refuse_code(path: Path) -> None:
    """Look into a program before torch loads it: torch executes what is pickled in it.

    Raises:
        ExportError: something is pickled that is more than tensors, or the file is no program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".pt"):
                    _only_tensors(archive.read(name))
                elif name.endswith("_config.json"):
                    _only_plain(json.loads(archive.read(name)))
    except (pickle.UnpicklingError, RuntimeError) as error:
        what = "holds pickled objects that are more than tensors, which may execute code"
        raise ExportError(what, where=str(path), cure="Export the run again") from error
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise _unloadable(path, error) from error


def _only_tensors(content: bytes) -> None:
    """Raise UnpicklingError for a pickle of other things."""
    if content:
        torch.load(io.BytesIO(content), weights_only=True)


def _only_plain(content: Any) -> None:
    """Raise UnpicklingError for a list of weights of which some are pickled."""
    entries = content.get("config", content).values() if isinstance(content, dict) else ()
    for entry in entries:
        names = isinstance(entry, dict) and str(entry.get("path_name", "")).rpartition("/")[2]
        if names and (entry.get("use_pickle") or not names.startswith(("weight_", "tensor_"))):
            raise pickle.UnpicklingError(names)


class _Called:
    """A function of positional tensors as an engine."""

    def __init__(self, call: Callable[..., Any], inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._call, self._inputs, self._outputs = call, tuple(inputs), tuple(outputs)

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensors:
        found = self._call(*(inputs[name].contiguous() for name in self._inputs))
        return dict(zip(self._outputs, found, strict=True))


def _open_pt2(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Engine:
    refuse_code(path)
    try:
        return _Called(torch.export.load(path).module(), inputs, outputs)
    except Exception as error:
        raise _unloadable(path, error) from error


def _open_aoti(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Engine:
    from torch import _inductor

    try:
        return _Called(_inductor.aoti_load_package(str(path)), inputs, outputs)
    except Exception as error:
        raise _unloadable(path, error) from error


def _open_onnx(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> Engine:
    runtime = _imported("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _unloadable(path, error) from error

    def call(*tensors: Tensor) -> list[Tensor]:
        fed = {name: tensor.numpy() for name, tensor in zip(inputs, tensors, strict=True)}
        return [torch.from_numpy(array) for array in session.run(list(outputs), fed)]

    return _Called(call, inputs, outputs)


def _unloadable(path: Path, error: Exception) -> ExportError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    cure = f"torch here is {torch.__version__}; the manifest says which versions wrote it"
    return ExportError(f"cannot be loaded: {reason}", where=str(path), cure=cure)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say to their developers."""
    import logging

    before = {
        name: logging.getLogger(name).level for name in ("torch.onnx", "torch._inductor", "torch._export", "onnxscript")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in before:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


_WRITERS = {"pt2": _write_pt2, "onnx": _write_onnx, "aoti": _write_aoti}
_OPENERS = {"pt2": _open_pt2, "onnx": _open_onnx, "aoti": _open_aoti}
