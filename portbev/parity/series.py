"""A series: runs of one configuration with several seeds and backends in one folder (``parity seeds``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from portbev.errors import PortbevError
from portbev.files import write_json
from portbev.runs.layout import RUN
from portbev.runs.reading import read_as

SERIES = "series.json"
SCHEMA = "portbev.series/1"


class Device(BaseModel):
    """A backend of the series."""

    backend: str
    emulated: bool = False

    @property
    def folder(self) -> str:
        """Where its runs are: the name says where it is emulated."""
        return f"{self.backend}-emulated" if self.emulated else self.backend


class Series(BaseModel):
    """The content of ``series.json``.

    Attributes:
        config, settings, data_root: what was typed.
        config_digest: of the keys that say what is computed.
        seeds: in the order in which they are run.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["portbev.series/1"] = Field(default="portbev.series/1", alias="schema")
    config: str
    settings: list[str] = Field(default_factory=list)
    data_root: str | None = None
    config_digest: str
    devices: list[Device]
    seeds: list[int]

    def runs(self) -> list[tuple[int, Device, str]]:
        """Seed, device and folder of every run: seed by seed, so that what is cut short still has pairs."""
        return [(seed, device, run_folder(device, seed)) for seed in self.seeds for device in self.devices]


def run_folder(device: Device, seed: int) -> str:
    """The run's place inside the series."""
    return f"{device.folder}/seed{seed}"


def read_series(folder: Path) -> Series:
    """Raises PortbevError: no series, damaged, or of another version."""
    return read_as(Series, folder / SERIES, SCHEMA)


def write_series(series: Series, folder: Path) -> None:
    """Write ``series.json`` whole or not at all."""
    write_json(folder / SERIES, series.model_dump(mode="json", by_alias=True))


def run_folders(paths: Sequence[Path | str]) -> list[Path]:
    """Run directories: those given, and in place of a series or another folder of runs those inside it.

    The runs of a series come device by device, so that the first device is the baseline.

    Raises:
        PortbevError: a series without any run yet.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if (path / SERIES).is_file():
            series = read_series(path)
            inside = [path / run_folder(device, seed) for device in series.devices for seed in series.seeds]
            inside = [folder for folder in inside if (folder / RUN).is_file()]
            if not inside:
                cure = f"Make some: portbev parity seeds --out {path}"
                raise PortbevError("the series has no runs yet", where=str(path), cure=cure)
            found += inside
        elif not (path / RUN).is_file() and path.is_dir():
            found += sorted(file.parent for file in path.glob(f"*/{RUN}")) or [path]
        else:
            found.append(path)
    return found
