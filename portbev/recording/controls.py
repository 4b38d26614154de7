"""Control runs: a run again on its own device, with every first weight moved by one unit in the last place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from portbev.errors import PortbevError
from portbev.files import atomic_write, write_text
from portbev.models import build_model
from portbev.plugins import plugins
from portbev.recording.moved import move_weights
from portbev.recording.training import train_apart
from portbev.runs import Run
from portbev.train.start import load_start


def write_moved_weights(run: Run, number: int, path: Path) -> None:
    """The first weights of ``run``, all moved by one unit in the last place.

    Args:
        number: of the control run: each draws other directions.

    Raises:
        PortbevError: a file of weights that the run started from is gone.
    """
    config, record = run.config, run.record
    family = plugins().models()[config.model.family]
    torch.manual_seed(config.train.seed)
    model = build_model(family, config.model)
    load_start(model, family, None if record.init is None else Path(record.init), partial=record.init_partial)
    move_weights(model, number)
    state = {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file(state, temporary)


def make_controls(
    run: Run, count: int, folder: Path, say: Callable[[str], None], *, steps: int | None = None
) -> list[Path]:
    """Train ``count`` control runs of ``run`` into ``folder``; those that are finished are left alone.

    Args:
        steps: stop after so many; the schedule stays that of the whole run.

    Returns:
        The run directories.

    Raises:
        PortbevError: the run was made by several processes, its data are gone, or a control run failed.
    """
    record, made = run.record, []
    if record.backend.world_size > 1:
        cure = "Make a baseline on one device, or train control runs by hand: portbev train --init MOVED_WEIGHTS"
        raise PortbevError("was made by several processes", where=str(run.path), cure=cure)
    write_text(folder / "config.yaml", yaml.safe_dump(record.config, sort_keys=False))
    for number in range(1, count + 1):
        weights, out = folder / f"weights{number}.safetensors", folder / f"control{number}"
        if not weights.is_file():
            write_moved_weights(run, number, weights)
        arguments = [str(folder / "config.yaml"), "--backend", record.backend.name, "--init", str(weights)]
        arguments += ["--emulate"] if record.backend.emulated else []
        arguments += ["--data-root", record.data.source]
        arguments += ["--set", f"train.max_steps={steps}"] if steps else []
        done = train_apart(out, arguments)
        say(f"control run {number}/{count}  {done.result}: {done.says}")
        if done.result in ("failed", "interrupted"):
            raise PortbevError(
                f"control run {number} {done.result}: {done.says}", where=str(out), cure="Call again to go on"
            )
        made.append(out)
    return made
