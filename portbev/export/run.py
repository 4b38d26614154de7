"""A run exported: traced, written, loaded again, checked against the trained model, and only then put in its place."""

from __future__ import annotations

import datetime
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

import portbev
from portbev.config import dump_config
from portbev.digests import file_digest
from portbev.errors import ExportError, PortbevError
from portbev.export import engines, parity
from portbev.export.interface import ModelForm, Tensors
from portbev.export.manifest import (
    FORMATS,
    Format,
    Manifest,
    TensorFacts,
    WeightFacts,
    manifest_path,
    write_manifest,
)
from portbev.export.samples import order
from portbev.export.trained import Trained, form_of, open_trained, requests_of
from portbev.export.weights import weights_digest

Say = Callable[[str], None]
_FULL = "Check that the folder is writable and the disk has room, or choose another output with --out"
_LIBRARIES = ("torch", "onnx", "onnxscript", "onnxruntime")


def export_run(
    source: Path,
    to: str,
    out: Path | None = None,
    *,
    checkpoint: str = "latest",
    data_root: str | None = None,
    split: str | None = None,
    batch: int = 1,
    samples: int = 10,
    overrides: Sequence[str] = (),
    say: Say = lambda line: None,
) -> tuple[Path, Manifest]:
    """Write a run's model as ``to``, with its manifest beside it, after a check on real samples of its data.

    Args:
        out: the file; default: ``export/NAME.SUFFIX`` in the run.
        checkpoint: ``latest``, ``best`` or a step.
        data_root, split: other data for the check.
        batch: samples that the graph takes at once.
        samples: how many are looked at in the check.
        overrides: ``key=value`` items over the run's configuration.
        say: called with a line on each step.

    Raises:
        DisagreementError: the export does not compute what the trained model does; nothing is left behind.
        PortbevError: run, weights, data or format that cannot be used, or nowhere to write.
    """
    form_name = checked_format(to)
    engines.check_needs(form_name)
    trained = open_trained(source, checkpoint=checkpoint, data_root=data_root, split=split, overrides=overrides)
    form = form_of(trained.config, batch=batch)
    out = out or source / "export" / f"{trained.config.name}{engines.SUFFIX[form_name]}"
    if form_name == "aoti" and out.suffix != ".pt2":
        raise ExportError(
            "a compiled package is named .pt2", where=str(out), cure=f"Write to {out.with_suffix('.pt2')}"
        )
    wanted = len(order(trained.dataset, samples))
    like, _, _ = parity.groups(trained, form, 1)[0]
    inputs = form.inputs(like, {})
    say(f"tracing {trained.config.name} ({trained.weights} of step {trained.step})")
    program = engines.traced(form.module(trained.model, like), inputs, form.lengths())
    with _writing(out), tempfile.TemporaryDirectory(prefix=".export.", dir=out.parent) as scratch:
        made = Path(scratch) / out.name
        say(f"writing {form_name}")
        engines.write(program, form_name, made, list(inputs), form.outputs())
        say(f"checking on {wanted} samples of {trained.dataset.split}")
        engine = engines.open_engine(form_name, made, list(inputs), form.outputs())
        found = parity.measured(trained, form, engine, samples)
        parity.require(found)
        manifest = _manifest(trained, form, form_name, out.name, inputs, engine(inputs), program, found, made, samples)
        write_manifest(manifest, manifest_path(made))
        os.chmod(made, 0o666 & ~_umask())
        os.replace(made, out)
        os.replace(manifest_path(made), manifest_path(out))
    return out, manifest


def checked_format(to: str) -> Format:
    """``to`` as a format.

    Raises:
        ExportError: there is no such.
    """
    for form in FORMATS:
        if form == to:
            return form
    raise ExportError(f"there is no format {to!r}", where="--to", cure=f"One of {', '.join(FORMATS)}")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Raise one line for a folder that cannot be written or a disk that is full."""
    new = not out.parent.exists()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        yield
        new = False
    except OSError as error:
        raise PortbevError(f"cannot write: {error.strerror or error}", where=str(out), cure=_FULL) from error
    except RuntimeError as error:
        said = str(error)
        if "writ" in said and ("PytorchStreamWriter" in said or "No space" in said):
            raise PortbevError("cannot write: the disk took only a part", where=str(out), cure=_FULL) from error
        raise
    finally:
        if new:
            with suppress(OSError):
                out.parent.rmdir()


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _facts(tensors: Tensors, form: ModelForm) -> list[TensorFacts]:
    lengths, found = form.lengths(), []
    for name, tensor in tensors.items():
        meaning, unit, frame = form.describe(name)
        shape: list[int | None] = list(tensor.shape)
        one = lengths.get(name)
        if one is not None:
            shape[one.axis] = None
        found.append(
            TensorFacts(
                name=name,
                dtype=str(tensor.dtype).removeprefix("torch."),
                shape=shape,
                meaning=meaning,
                unit=unit,
                frame=frame,
                lengths=None if one is None else [one.least, one.most],
            )
        )
    return found


def _manifest(
    trained: Trained,
    form: ModelForm,
    to: Format,
    file: str,
    inputs: Tensors,
    outputs: Tensors,
    program: torch.export.ExportedProgram,
    found: parity.Parity,
    made: Path,
    wanted: int,
) -> Manifest:
    config, requests = trained.config, requests_of(trained.config)
    state = trained.model.state_dict()
    notes = list(trained.notes)
    if config.compute.amp != "none":
        notes.append(f"the run evaluates with compute.amp={config.compute.amp}; the export and its check are float32")
    if found.samples < wanted:
        notes.append(f"the check saw all {found.samples} samples of {found.split}: there are not {wanted}")
    return Manifest(
        name=config.name,
        format=to,
        file=file,
        family=config.model.family,
        data_kind=config.data.kind,
        batch=form.batch,
        precision="float32",
        inputs=_facts(inputs, form),
        outputs=_facts(outputs, form),
        state=dict(form.state),
        classes=list(trained.dataset.classes),
        box_frame=requests.frame(),
        postprocessing=form.postprocessing,
        preprocessing=config.data.model_dump(mode="json"),
        request=requests.facts(trained.dataset),
        config=dump_config(config),
        weights=WeightFacts(
            kind=trained.weights,
            step=trained.step,
            checkpoint=str(trained.checkpoint.resolve()),
            digest=weights_digest(state),
            parameters=sum(parameter.numel() for parameter in trained.model.parameters()),
        ),
        versions=_versions(),
        opset=engines.OPSET if to == "onnx" else None,
        operators=engines.operators(program),
        parity=found,
        notes=notes,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        files={file: file_digest(made)},
    )


def _versions() -> dict[str, str]:
    found = {"portbev": portbev.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
