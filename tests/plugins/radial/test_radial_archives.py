"""Recordings in archives are read as unpacked ones are: samples, their digest, the check and the conversion."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from portbev.cli import main
from portbev.data.root import open_root
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset


@pytest.fixture(params=["zip", "tgz"])
def packed(request: pytest.FixtureRequest, recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the tables unpacked and the sequences in one archive, below a folder of its own."""
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    if request.param == "zip":
        with zipfile.ZipFile(folder / "RADIal.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(recordings.rglob("RECORD@*/*")):
                archive.write(path, f"RADIal/{path.relative_to(recordings)}")
    else:
        pytest.importorskip("indexed_gzip")
        with tarfile.open(folder / "RADIal.tgz", "w:gz") as tar:
            for path in sorted(recordings.glob("RECORD@*")):
                tar.add(path, f"./RADIal/{path.name}")
    for path in recordings.iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_samples_from_an_archive_are_those_of_the_folder(
    packed: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section = RadialData(radar="rt")
    plain, read = (RadialDataset(section, open_root(root), "train", seed=0) for root in (recordings, packed))
    assert read.tokens == plain.tokens and read.digest() == plain.digest()
    for index in (0, len(plain) - 1):
        for one, other in zip(plain.sample(index, 0).items(), read.sample(index, 0).items(), strict=True):
            if isinstance(one[1], np.ndarray):
                np.testing.assert_array_equal(one[1], other[1], err_msg=one[0])
    assert main(["data", "check", "radial", str(packed), "--decode"]) == 0
    assert "complete and consistent" in capsys.readouterr().out
    for root, out in ((recordings, "plain"), (packed, "packed")):
        parts = ["--parts", "images,lidars,labels,labels_x", "--workers", "1"]
        assert main(["data", "convert", "radial", str(root), str(tmp_path / out), *parts]) == 0
    files = {path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*") if path.is_file()}
    assert files and all((tmp_path / "plain" / f).read_bytes() == (tmp_path / "packed" / f).read_bytes() for f in files)
