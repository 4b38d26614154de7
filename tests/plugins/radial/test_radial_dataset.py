"""RADIal samples for training: from raw recordings and from the converted layout, keyed draws, batches."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from radial_recordings import TEST, TINY, TRAIN, copy_of

from portbev.data import build_dataset
from portbev.data.loader import build_loader
from portbev.errors import DataError
from portbev.models import move_batch
from portbev.signal import RadarChain, read_calibration
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_radial.config import RadialData
from portbev_radial.converted.convert import convert
from portbev_radial.dataset import RadialDataset
from portbev_radial.recordings.labels import box_array
from portbev_radial.recordings.layout import sensor_file
from portbev_radial.recordings.raw import RawRoot

FRAME = (TINY.samples, TINY.chirps, 16)
EMPTY = "-1,-1,-1,-1,-1,-1,-1,-1"


def dataset(root: Path, part: str = "train", seed: int = 0, **values: Any) -> RadialDataset:
    built = build_dataset(RadialData(**values), root, part, seed=seed)  # type: ignore[arg-type]
    assert isinstance(built, RadialDataset)
    return built


@pytest.fixture(scope="module")
def converted(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(recordings, tmp_path_factory.mktemp("dataset") / "out", workers=1).out


@pytest.fixture
def half_empty(recordings: Path, tmp_path: Path) -> Path:
    """Only sample 1 of the training split has boxes."""
    root = copy_of(recordings, tmp_path / "copy")
    path = root / "radial_bbox_labels.csv"
    header, *rows = path.read_text().splitlines()
    kept = [row for row in rows if not row.startswith(("0,", "2,"))]
    path.write_text("\n".join([header, f"0,{EMPTY}", f"2,{EMPTY}", *kept]) + "\n")
    return root


def test_splits_are_those_of_the_sequences(recordings: Path) -> None:
    assert dataset(recordings).tokens == ["000000", "000001", "000002"]
    evaluated = dataset(recordings, "eval")
    assert evaluated.tokens == ["000006", "000007", "000008"] and evaluated.split == "test"
    assert dataset(recordings, "eval", eval_split="val").tokens == ["000003", "000004", "000005"]
    assert (evaluated.benchmark, evaluated.version, evaluated.streams()) == ("radial", "raw", None)


def test_an_unknown_split_names_the_nearest(recordings: Path, converted: Path) -> None:
    for root in (recordings, converted):
        with pytest.raises(DataError, match="Did you mean 'test'"):
            dataset(root, "eval", eval_split="tset")


def test_a_raw_batch_holds_the_chips_samples(recordings: Path) -> None:
    data = dataset(recordings)
    batch: Any = data.collate([data.sample(0, 0), data.sample(1, 0)])
    assert batch["radar"].dtype == torch.int16 and batch["radar_kind"] == "raw"
    assert batch["radar"].shape == (2, 4, 2 * TINY.samples * 4 * TINY.chirps)
    root = RawRoot(recordings)
    np.testing.assert_array_equal(batch["radar"][1].numpy(), root.radar_samples(root.labels[1]))
    assert batch["images"].shape == (2, 3, 64, 96) and batch["images"].dtype == torch.float32
    assert batch["tokens"] == ["000000", "000001"]
    np.testing.assert_array_equal(batch["frame2global"], np.stack([np.eye(4)] * 2))
    assert {name: value.shape for name, value in batch["calibration"].items()} == {
        "K": (2, 3, 3), "dist": (2, 5), "rvec": (2, 3), "tvec": (2, 3),
    }  # fmt: skip
    assert all(boxes.dtype == np.float32 and boxes.shape[1] == 9 for boxes in batch["boxes"])
    assert {DETECTION_CLASSES[label] for labels in batch["labels"] for label in labels} == {"car"}
    moved: Any = move_batch(batch, torch.device("meta"))
    assert moved["radar"].device.type == moved["images"].device.type == "meta"
    assert isinstance(moved["calibration"]["K"], np.ndarray)


@pytest.mark.parametrize(
    ("radar", "shape"), [("rt", (*FRAME, 2)), ("rd", (*FRAME, 2)), ("adc", (*FRAME, 2)), ("ra", (32, 31)), ("pc", None)]
)
def test_loader_computed_maps_equal_the_converted_ones(
    recordings: Path, converted: Path, radar: str, shape: tuple[int, ...] | None
) -> None:
    computed = dataset(recordings, radar=radar, signal_on="loader", signal_precision="complex128", camera=False)
    stored = dataset(converted, radar=radar, camera=False)
    assert stored.version == "converted"
    for index in range(3):
        one, other = computed.sample(index, 0), stored.sample(index, 0)
        assert one["radar_kind"] == other["radar_kind"] == radar
        assert one["radar"].dtype == other["radar"].dtype == np.float32
        assert shape is None or one["radar"].shape == shape
        scale = np.abs(other["radar"]).max()
        np.testing.assert_allclose(one["radar"], other["radar"], rtol=0, atol=1e-6 * scale)


def test_device_and_loader_compute_the_same(recordings: Path) -> None:
    raw, computed = (
        dataset(recordings),
        dataset(recordings, signal_on="loader", radar="rd", signal_precision="complex128"),
    )
    sample = raw.sample(2, 0)
    chain = RadarChain(sample["description"], read_calibration(Path(sample["table"]), sample["description"]))
    rd = chain.products(torch.from_numpy(sample["radar"])[None], ["RD"])["RD"][0]
    expected = torch.view_as_real(rd).float()  # type: ignore[arg-type]
    found = torch.from_numpy(computed.sample(2, 0)["radar"])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_point_clouds_are_lists_of_tensors(recordings: Path) -> None:
    data = dataset(recordings, radar="pc", signal_on="loader", camera=False)
    batch: Any = data.collate([data.sample(0, 0), data.sample(1, 0)])
    assert (
        batch["images"] is None
        and batch["calibration"] == {}
        and [points.shape[1] for points in batch["radar"]] == [4, 4]
    )


def test_without_radar_and_camera_only_labels_are_needed(recordings: Path, converted: Path, tmp_path: Path) -> None:
    raw, stored = copy_of(recordings, tmp_path / "raw"), copy_of(converted, tmp_path / "stored")
    for path in [*raw.glob("RECORD*/*.bin"), *raw.glob("RECORD*/*.mjpg"), *stored.glob("radars_*/*")]:
        path.unlink()
    for root in (raw, stored):
        data = dataset(root, "eval", radar="none", camera=False)
        batch: Any = data.collate([data.sample(0, 0), data.sample(1, 0)])
        assert batch["radar"] is None and batch["images"] is None and batch["radar_kind"] == "none"
        assert data.tokens == ["000006", "000007", "000008"] and len(data.truth(0)[0]) == len(batch["boxes"][0])


def test_evaluation_pictures_are_blue_green_red_less_the_mean_padded_with_zero(recordings: Path) -> None:
    data = dataset(recordings, "eval", scale=0.7)
    sample = data.sample(0, 0)
    assert sample["image_size"] == (44, 67) and sample["image"] is not None
    assert sample["image"].shape == (3, 64, 96)
    assert not sample["image"][:, 44:].any() and not sample["image"][:, :, 67:].any()
    whole = dataset(recordings, "eval").sample(0, 0)["image"]
    root = RawRoot(recordings)
    picture = root.picture(root.labels[6]).astype(np.float32)
    mean = np.float32([103.53, 116.28, 123.675])
    np.testing.assert_allclose(whole, (picture - mean).transpose(2, 0, 1), atol=1e-4)
    np.testing.assert_allclose(sample["calibration"]["K"][:2], 0.7 * root.camera.intrinsic[:2])


def test_evaluation_draws_nothing_and_training_draws_by_epoch_and_index(recordings: Path) -> None:
    evaluated, trained = dataset(recordings, "eval"), dataset(recordings)
    np.testing.assert_array_equal(evaluated.sample(0, 0)["image"], evaluated.sample(0, 5)["image"])
    first = trained.sample(1, 3)
    trained.sample(0, 0)
    np.testing.assert_array_equal(first["image"], trained.sample(1, 3)["image"])
    assert not np.array_equal(first["image"], trained.sample(1, 4)["image"])
    assert not np.array_equal(first["image"], dataset(recordings, seed=1).sample(1, 3)["image"])
    plain = dataset(recordings, augment=False)
    np.testing.assert_array_equal(plain.sample(1, 3)["image"], plain.sample(1, 4)["image"])


def test_boxes_count_strictly_in_range_in_training_and_in_scoring(recordings: Path) -> None:
    root = RawRoot(recordings)
    boxes = box_array(root.boxes[0])
    limit = float(np.sort(boxes[:, 0])[1])
    data = dataset(recordings, x_range=(0.0, limit))
    inside = boxes[boxes[:, 0] < limit].astype(np.float32)
    assert len(inside) == 1
    np.testing.assert_array_equal(data.sample(0, 0)["boxes"][:, :6], inside[:, :6])
    scored = dataset(recordings, "eval", eval_split="train", x_range=(0.0, limit))
    np.testing.assert_array_equal(scored.truth(0)[0][:, :6], boxes[boxes[:, 0] < limit][:, :6])
    np.testing.assert_array_equal(scored.sample(0, 0)["boxes"][:, :6], inside[:, :6])
    summary = scored.summary()
    read = sum(len(box_array(root.boxes[number])) for number in range(3))
    assert summary.boxes["car"].read == read and summary.dropped == {"outside the range": read - summary.kept}
    (note,) = [note for note in scored.notes if "neither trained on nor scored" in note]
    assert f"{read - summary.kept} boxes of train" in note and f"data.x_range 0 to {limit:g} m" in note


def test_yaw_is_wrapped_in_training(recordings: Path, tmp_path: Path) -> None:
    root = copy_of(recordings, tmp_path / "copy")
    (root / "radial_bbox_labels.csv").write_text(
        "numSample,X,Y,Z,dimX,dimY,dimZ,rotation_y,class\n" + "".join(f"{n},20,1,0,4,2,1.5,3.5,0\n" for n in range(9))
    )
    assert dataset(root).sample(0, 0)["boxes"][0, 6] == pytest.approx(3.5 - 2 * np.pi, abs=1e-6)


def test_samples_without_boxes_are_replaced_by_others_in_training_alone(half_empty: Path) -> None:
    data = dataset(half_empty)
    assert [data.sample(index, 0)["token"] for index in range(3)] == ["000001"] * 3
    assert any("2 samples of train without boxes" in note for note in data.notes)
    kept = dataset(half_empty, filter_empty=False)
    assert kept.sample(0, 0)["token"] == "000000" and len(kept.sample(0, 0)["boxes"]) == 0
    assert dataset(half_empty, "eval", eval_split="train").sample(0, 0)["token"] == "000000"


def test_a_replacement_is_drawn_by_epoch_and_index(recordings: Path, tmp_path: Path) -> None:
    root = copy_of(recordings, tmp_path / "copy")
    path = root / "radial_bbox_labels.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([header, f"0,{EMPTY}", *(row for row in rows if not row.startswith("0,"))]) + "\n")
    data = dataset(root)
    drawn = [data.sample(0, epoch)["token"] for epoch in range(12)]
    assert set(drawn) == {"000001", "000002"}
    assert drawn == [dataset(root).sample(0, epoch)["token"] for epoch in range(12)]


def test_a_split_without_any_box_cannot_train(recordings: Path, tmp_path: Path) -> None:
    root = copy_of(recordings, tmp_path / "copy")
    (root / "radial_bbox_labels.csv").write_text("numSample,X,Y,Z,dimX,dimY,dimZ,rotation_y,class\n")
    with pytest.raises(DataError, match="no boxes to train on"):
        dataset(root)
    evaluated = dataset(root, "eval")
    assert any("3 samples of test are not in" in note for note in evaluated.notes)


def test_repeated_samples_have_draws_of_their_own(recordings: Path) -> None:
    data = dataset(recordings, repeat=2)
    assert len(data) == 6 and data.tokens == ["000000", "000001", "000002"] * 2
    assert not np.array_equal(data.sample(0, 0)["image"], data.sample(3, 0)["image"])
    assert len(dataset(recordings, "eval", repeat=2)) == 3


def test_a_subset_keeps_order_and_tokens(recordings: Path) -> None:
    part = dataset(recordings, "eval").subset([2, 0])
    assert part.tokens == ["000008", "000006"] and part.sample(0, 0)["token"] == "000008"


def test_the_digest_follows_what_the_labels_say(recordings: Path, tmp_path: Path) -> None:
    before = dataset(recordings).digest()
    assert before == dataset(recordings, seed=3).digest() != dataset(recordings, "eval").digest()
    root = copy_of(recordings, tmp_path / "copy")
    assert dataset(root).digest() == before
    path = root / "radial_bbox_labels.csv"
    lines = path.read_text().splitlines()
    fields = lines[1].split(",")
    lines[1] = ",".join([*fields[:3], str(float(fields[3]) + 0.01), *fields[4:]])
    path.write_text("\n".join(lines) + "\n")
    assert dataset(root).digest() != before


def test_batches_do_not_depend_on_the_number_of_workers(recordings: Path) -> None:
    def batches(workers: int) -> list[Any]:
        data = dataset(recordings, repeat=2)
        return list(build_loader(data, batch_size=2, workers=workers, seed=0, epoch=1, part="train"))

    for one, other in zip(batches(0), batches(2), strict=True):
        assert one["tokens"] == other["tokens"]
        assert torch.equal(one["images"], other["images"]) and torch.equal(one["radar"], other["radar"])


def test_a_truncated_file_is_a_note_and_the_split_goes_on(recordings: Path, tmp_path: Path) -> None:
    root = copy_of(recordings, tmp_path / "copy")
    path = sensor_file(root / TRAIN, "radar_ch1")
    os.truncate(path, path.stat().st_size - 1)
    data = dataset(root)
    assert data.tokens == ["000000", "000001"]
    assert sum("sample 000002 is left out" in note for note in data.notes) == 1
    for chip in range(4):
        sensor_file(root / TEST, f"radar_ch{chip}").unlink()
    with pytest.raises(DataError, match=r"has no samples that can be read.*The first problem"):
        dataset(root, "eval")


def test_frames_without_partners_are_one_note(recordings: Path) -> None:
    (note,) = dataset(recordings).notes
    assert "radar_ch0 has no sample" in note


def test_the_converted_layout_says_what_is_missing(converted: Path, tmp_path: Path) -> None:
    root = copy_of(converted, tmp_path / "copy")
    (root / "radars_rt/000001.bin").unlink()
    data = dataset(root)
    assert data.tokens == ["000000", "000002"]
    assert any("sample 000001 is left out" in note and "radars_rt" in note for note in data.notes)
    (root / "radars_rt/000002.bin").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"radars_rt/000002\.bin: does not hold"):
        data.sample(1, 0)
    with pytest.raises(DataError, match=r"data\.layout=converted"):
        dataset(root, layout="raw")


def test_pictures_of_both_layouts_are_the_same(recordings: Path, converted: Path) -> None:
    raw, stored = dataset(recordings, "eval"), dataset(converted, "eval")
    np.testing.assert_array_equal(raw.sample(1, 0)["image"], stored.sample(1, 0)["image"])
    np.testing.assert_array_equal(raw.sample(1, 0)["boxes"], stored.sample(1, 0)["boxes"])
    assert raw.tokens == stored.tokens
