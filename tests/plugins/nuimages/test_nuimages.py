from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portbev.cli import main
from portbev.errors import PortbevError
from portbev_nuscenes.nuimages.coco import CLASSES, convert
from portbev_nuscenes.nuimages.rows import indices_of
from portbev_nuscenes.nuimages.synth import generate

pytest.importorskip("pycocotools", reason="pip install 'portbev[nuimages]'")


OTHERS = ("animal", "movable_object.debris", "static_object.bicycle_rack")
"""Categories of objects without a class."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("nuimages"), images=8, seed=0, size=(160, 90), version="v1.0-mini")


def table(root: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((root / "v1.0-mini" / f"{name}.json").read_text())
    return rows


def changed(root: Path, to: Path, name: str, change: Any) -> Path:
    (to / "v1.0-mini").mkdir(parents=True)
    for path in (root / "v1.0-mini").iterdir():
        rows = json.loads(path.read_text())
        if path.stem == name:
            change(rows)
        (to / "v1.0-mini" / path.name).write_text(json.dumps(rows))
    return to


def test_the_command_writes_what_pycocotools_reads(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycocotools.coco import COCO

    out = tmp_path / "annotations"
    assert main(["data", "convert", "nuimages", str(root), str(out), "--nproc", "2", "--extra-tag", "mine"]) == 0
    printed = capsys.readouterr().out
    coco = COCO(str(out / "mine_v1.0-mini.json"))
    assert [coco.cats[number]["name"] for number in sorted(coco.cats)] == list(CLASSES)
    assert len(coco.imgs) == 8
    assert f"{len(coco.imgs)} images, {len(coco.anns)} annotations" in printed
    names = {row["token"]: row["name"] for row in table(root, "category")}
    objects = [row for row in table(root, "object_ann") if row["mask"] is not None]
    assert len(coco.anns) == sum(names[row["category_token"]] not in OTHERS for row in objects)
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        _, top, width, height = annotation["bbox"]
        assert mask.shape == (90, 160)
        assert mask.any()
        assert not np.delete(mask, np.s_[int(top) : int(top + height)], 0).any()
        assert annotation["area"] == width * height


def test_semantic_masks_have_the_official_numbers(root: Path, tmp_path: Path) -> None:
    convert(root, tmp_path, "v1.0-mini")
    files = sorted((tmp_path / "semantic_masks").rglob("*.png"))
    assert [f.relative_to(tmp_path / "semantic_masks").with_suffix(".jpg").as_posix() for f in files] == sorted(
        row["filename"] for row in table(root, "sample_data")
    )
    with Image.open(files[0]) as picture:
        drawn = np.asarray(picture)
    assert drawn.dtype == np.uint8
    assert drawn[-1, 0] == 31  # the ego vehicle
    assert drawn[0, 0] == 0 or drawn[0, 0] < 24
    assert (drawn == 24).any()  # driveable


def test_numbers_follow_the_names_order() -> None:
    names = ["vehicle.car", "animal", "flat.driveable_surface", "vehicle.ego"]
    assert indices_of(names, "") == {"animal": 1, "vehicle.car": 2, "flat.driveable_surface": 24, "vehicle.ego": 31}
    with pytest.raises(PortbevError, match="24 categories"):
        indices_of([f"c{n}" for n in range(24)], "category.json")


def test_the_number_of_processes_changes_nothing(root: Path, tmp_path: Path) -> None:
    one, two = (convert(root, tmp_path / str(n), "v1.0-mini", processes=n).path for n in (1, 2))
    assert one.read_bytes() == two.read_bytes()
    masks = [sorted((path.parent / "semantic_masks").rglob("*.png")) for path in (one, two)]
    assert [p.read_bytes() for p in masks[0]] == [p.read_bytes() for p in masks[1]]


def test_generated_tables_are_the_same_for_a_seed(root: Path, tmp_path: Path) -> None:
    again = generate(tmp_path, images=8, seed=0, size=(160, 90), version="v1.0-mini")
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        assert path.read_bytes() == (again / path.relative_to(root)).read_bytes()


def _of(table: str, key: str, value: Any) -> tuple[str, Any]:
    return table, lambda rows: rows[0].update({key: value})


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_of("surface_ann", "mask", {"size": [9, 16], "counts": "YQ=="}), "the mask is of"),
        (_of("surface_ann", "mask", {"size": [90, 160], "counts": "!"}), "no base64"),
        (_of("object_ann", "category_token", "nobody"), "names category 'nobody'"),
        (_of("sample_data", "width", None), "no width and height"),
        (_of("sample_data", "filename", "../../etc/x.jpg"), "leads out"),
        (_of("object_ann", "bbox", [1, 2]), "object_ann.json"),
    ],
)
def test_a_damaged_row_is_named(root: Path, tmp_path: Path, fault: tuple[str, Any], said: str) -> None:
    broken = changed(root, tmp_path / "broken", *fault)
    with pytest.raises(PortbevError, match=said):
        convert(broken, tmp_path / "out", "v1.0-mini")
    assert not (tmp_path / "out" / "nuimages_v1.0-mini.json").exists()


def test_another_version_is_a_line(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "convert", "nuimages", str(root), str(tmp_path), "--version", "v1.0-train"]) == 2
    assert "v1.0-train" in capsys.readouterr().err


def test_without_pycocotools_the_extra_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    assert main(["data", "convert", "nuimages", str(root), str(tmp_path)]) == 2
    assert "portbev[nuimages]" in capsys.readouterr().err


def test_synth_then_convert_by_the_command(tmp_path: Path) -> None:
    assert main(["data", "synth", "nuimages", str(tmp_path / "a"), "--images", "2", "--image-size", "96x54"]) == 0
    assert main(["data", "convert", "nuimages", str(tmp_path / "a"), str(tmp_path / "b"), "--nproc", "1"]) == 0
    assert json.loads((tmp_path / "b" / "nuimages_v1.0-mini.json").read_text())["images"][1]["width"] == 96
