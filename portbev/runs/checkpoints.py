"""The checkpoints of a run: which are kept, which is the newest whole one, which the best."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from portbev.errors import CheckpointError
from portbev.files import write_json
from portbev.runs.checkpoint import Checkpoint, load_checkpoint, remove_folder, write_checkpoint


class Best(BaseModel):
    """The checkpoint with the best value of a metric."""

    step: int
    path: str
    metric: str
    value: float


class Checkpoints:
    """The ``checkpoints`` folder of a run.

    Args:
        folder: need not exist yet.
        keep: how many of the newest to keep, besides the best.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}"

    def steps(self) -> list[int]:
        """Steps with a checkpoint, ascending."""
        names = (p.name.removeprefix("step_") for p in self.folder.glob("step_*") if p.is_dir())
        return sorted(int(name) for name in names if name.isdigit())

    def clean(self) -> list[str]:
        """Remove what an interrupted write or removal left behind; returns the names of what was removed."""
        leftovers = sorted(p for p in self.folder.glob(".*.part") if p.name.startswith((".step_", ".latest", ".best")))
        for path in leftovers:
            remove_folder(path)
        return [path.name for path in leftovers]

    def save(self, checkpoint: Checkpoint) -> Path:
        """Write ``checkpoint``, make it the latest, remove those that are no longer kept.

        Raises:
            PortbevError: read-only folder or full disk; what was there before stays.
        """
        final = self.path(checkpoint.step)
        write_checkpoint(checkpoint, final)
        write_json(self.folder / "latest.json", {"step": checkpoint.step, "path": final.name})
        self._drop_old()
        return final

    def mark_best(self, step: int, metric: str, value: float | None, *, better: str = "higher") -> None:
        """Make the checkpoint of ``step`` the best one if its ``value`` is better than the present best's.

        ``better``: ``higher`` or ``lower``. A value of None (not defined) is never the best.
        """
        if value is None:
            return
        best = self.best()
        gain = 0.0 if best is None else (value - best.value) * (1 if better == "higher" else -1)
        if best is None or gain > 0 or best.step == step:
            record = Best(step=step, path=self.path(step).name, metric=metric, value=value)
            write_json(self.folder / "best.json", record.model_dump())
            self._drop_old()

    def forget_best(self) -> None:
        """No checkpoint is the best one any more: what is judged by other settings cannot be compared."""
        (self.folder / "best.json").unlink(missing_ok=True)

    def best(self) -> Best | None:
        """``best.json``, if the checkpoint that it names is still there."""
        try:
            best = Best.model_validate_json((self.folder / "best.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return best if self.path(best.step).is_dir() else None

    def newest(self, notes: list[str]) -> Checkpoint | None:
        """The newest checkpoint that is whole; None when there is none at all. Damaged ones are told in ``notes``.

        Raises:
            CheckpointError: there are checkpoints, and none of them is whole.
        """
        failures: list[CheckpointError] = []
        for step in reversed(self.steps()):
            try:
                loaded = load_checkpoint(self.path(step))
            except CheckpointError as error:
                failures.append(error)
            else:
                notes.extend(
                    f"passed over a damaged checkpoint: {failure.where}: {failure.what}" for failure in failures
                )
                return loaded
        if failures:
            first = failures[0]
            what = first.what + (
                "" if len(failures) == 1 else f"; nor is any of the {len(failures) - 1} older ones whole"
            )
            raise CheckpointError(what, where=first.where, cure="Remove the run directory to start over")
        return None

    def drop_after(self, step: int) -> None:
        """Remove checkpoints of later steps (damaged ones that were passed over)."""
        for later in self.steps():
            if later > step:
                remove_folder(self.path(later))

    def _drop_old(self) -> None:
        best = self.best()
        kept = set(self.steps()[-self.keep :]) | ({best.step} if best else set())
        for step in self.steps():
            if step not in kept:
                remove_folder(self.path(step))
