"""``seal.json``: the hashes of a finished run's files, so that what was cut off or edited afterwards is seen.

No signature: whoever can write the run can write the seal. It is against accidents and second thoughts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from portbev.digests import file_digest
from portbev.errors import PortbevError
from portbev.files import write_json
from portbev.runs.layout import METRICS, RUN, SCALARS, SEAL
from portbev.runs.reading import read_as

SCHEMA = "portbev.seal/1"
SEALED = (RUN, SCALARS, METRICS)


class Seal(BaseModel):
    """``files``: name -> SHA-256."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    schema_: Literal["portbev.seal/1"] = Field(default="portbev.seal/1", alias="schema")
    files: dict[str, str]


def digests(folder: Path) -> dict[str, str]:
    """Name -> SHA-256 of those of a run's files that are there and that others read."""
    return {name: file_digest(folder / name) for name in SEALED if (folder / name).is_file()}


def seal(folder: Path) -> None:
    """Write the seal of a finished run."""
    write_json(folder / SEAL, Seal(files=digests(folder)).model_dump(by_alias=True))


def unseal(folder: Path) -> None:
    """The run goes on."""
    (folder / SEAL).unlink(missing_ok=True)


def check_seal(folder: Path, found: dict[str, str]) -> bool:
    """Whether the run is sealed.

    Args:
        found: what :func:`digests` says of it.

    Raises:
        PortbevError: a file is not what was sealed, or is gone.
    """
    if not (folder / SEAL).is_file():
        return False
    for name, digest in read_as(Seal, folder / SEAL, SCHEMA).files.items():
        if found.get(name) != digest:
            what = (
                "is gone"
                if name not in found
                else "was cut off or edited after the run: its hash is not the sealed one"
            )
            raise PortbevError(
                what, where=str(folder / name), cure="Copy the run directory again, or do without this run"
            )
    return True
