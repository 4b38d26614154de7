"""Generated recordings: the same bytes, the original reader's rules, and physics that the signal chain finds again."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radial_recordings import TEST, TINY, TRAIN, VAL, contents

from portbev.boxes import box_corners
from portbev.data.root import open_root
from portbev.errors import ConfigError, DataError
from portbev_radial.chain import Chain
from portbev_radial.recordings.description import RADIAL_RADAR
from portbev_radial.recordings.labels import box_array
from portbev_radial.recordings.layout import log_file, sensor_file
from portbev_radial.recordings.raw import RawRoot
from portbev_radial.synth import SCHEME, RadialSynthOptions, build, generate
from portbev_radial.synth import radar as simulator
from portbev_radial.synth.antenna import build_antenna, calibration_table
from portbev_radial.synth.camera import build_lens, draw_calibration
from portbev_radial.synth.echoes import Echoes
from portbev_radial.synth.world import RADAR_HEIGHT, build_world

RADAR = replace(RADIAL_RADAR, samples=64, chirps=64)
ANTENNA = build_antenna(1)


def write_table(folder: Path, azimuths: int = 151) -> Path:
    np.save(
        folder / "CalibrationTable.npy", np.array(calibration_table(ANTENNA, azimuths, 11), object), allow_pickle=True
    )
    return folder / "CalibrationTable.npy"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return Chain(RADAR, write_table(tmp_path_factory.mktemp("table")))


def echo(distance: float, azimuth: float, speed: float = 0.0, area: float = 10.0, elevation: float = 0.0) -> Echoes:
    flat = distance * np.cos(elevation)
    point = [flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)]
    one = np.ones(1)
    return Echoes(np.array([point]), speed * one, area * one, 0.3 * one, np.zeros(1, np.int64))


def observe(echoes: Echoes, noise: float = 1.0, key: int = 0) -> np.ndarray:
    return simulator.simulate(echoes, ANTENNA, RADAR, noise, np.random.default_rng(key))


def test_same_options_give_the_same_bytes_with_any_number_of_workers(recordings: Path, tmp_path: Path) -> None:
    assert contents(generate(tmp_path / "again", TINY, workers=2)) == contents(recordings)


def test_another_seed_gives_other_recordings(recordings: Path, tmp_path: Path) -> None:
    other = contents(generate(tmp_path / "other", replace(TINY, seed=6), workers=1))
    here = contents(recordings)
    assert other.keys() == here.keys()
    assert {path for path in here if here[path] == other[path]} == {"radar.json"}


def test_a_sequence_does_not_depend_on_how_many_others_there_are(recordings: Path, tmp_path: Path) -> None:
    only = replace(TINY, sequences=1, val_sequences=0, test_sequences=0)
    few, all_of_them = contents(generate(tmp_path / "one", only, workers=1)), contents(recordings)
    shared = [path for path in few if path.startswith("RECORD")]
    assert len(shared) == 9 and all(few[path] == all_of_them[path] for path in shared)


def test_the_official_split_holds(recordings: Path) -> None:
    root = RawRoot(recordings)
    assert [label.sequence for label in root.of_split("train")] == [TRAIN] * 3
    assert [label.sequence for label in root.of_split("val")] == [VAL] * 3
    assert [label.sequence for label in root.of_split("test")] == [TEST] * 3


def test_the_files_of_a_sequence_are_those_of_a_recording(recordings: Path) -> None:
    names = {path.name.removeprefix(TRAIN) for path in (recordings / TRAIN).iterdir()}
    chips = {f"_radar_ch{chip}.bin" for chip in range(4)}
    assert names == {"_camera.mjpg", "_scala.bin", "_can.bin", "_gps.ascii", "_events_log.rec", *chips}


def test_the_log_keeps_the_original_readers_rules(recordings: Path) -> None:
    """Written out once more from the format: token places, shift by the first event, F + 1, 2, 3, nearest partner."""
    events: dict[str, list[tuple[int, ...]]] = {}
    for line in log_file(recordings / TRAIN).read_text().splitlines():
        tokens = line.split()
        assert len(tokens) == 17
        events.setdefault(tokens[10], []).append(tuple(int(tokens[place]) for place in (1, 4, 7, 13, 16)))
    offsets = {"scala": -40_000, **{f"radar_ch{chip}": -180_000 for chip in range(4)}}
    times = {
        sensor: np.array([row[0] for row in rows]) + rows[0][1] - rows[0][0] + offsets.get(sensor, 0)
        for sensor, rows in events.items()
    }
    usable = 0
    for row, time in zip(events["radar_ch3"], times["radar_ch3"], strict=True):
        steps = {"radar_ch0": 1, "radar_ch2": 2, "radar_ch1": 3}
        if all(row[2] + step in [other[2] for other in events[chip]] for chip, step in steps.items()):
            usable += 1
            for sensor in ("camera", "scala", "can"):
                assert np.abs(times[sensor] - time).min() <= 20_000
    assert usable == TINY.frames == len(events["radar_ch3"]) - 1
    for sensor, rows in events.items():
        ends = [row[3] + row[4] for row in rows]
        assert [row[3] for row in rows] == [0, *ends[:-1]]
        assert sensor_file(recordings / TRAIN, sensor).stat().st_size == ends[-1]


def test_labels_and_boxes_tell_of_the_same_objects(recordings: Path) -> None:
    root = RawRoot(recordings)
    seen = 0
    for number, label in root.labels.items():
        boxes = box_array(root.boxes[number])
        rows = [row for row in label.rows if row[1] != "-1"]
        assert len(rows) == len(boxes)
        seen += len(boxes)
        for row, box in zip(rows, boxes, strict=True):
            right, forward, away, angle = (float(row[place]) for place in (8, 9, 10, 11))
            assert np.hypot(forward - box[0], -right - box[1]) <= np.hypot(*box[3:5]) / 2 + 1e-3
            assert away == pytest.approx(np.hypot(right, forward), abs=1e-3)
            assert angle == pytest.approx(np.degrees(np.arctan2(right, forward)), abs=1e-2)
            assert box[2] - box[5] / 2 == pytest.approx(-RADAR_HEIGHT, abs=1e-3)
    assert seen > 5


def test_pixel_boxes_surround_the_projected_corners(recordings: Path) -> None:
    root = RawRoot(recordings)
    for number, label in root.labels.items():
        for row, corners in zip(label.rows, box_corners(box_array(root.boxes[number])), strict=False):
            uvd = root.camera.project(corners)
            if row[1] == "-1" or (uvd[:, 2] < 0.5).any():
                continue
            low, high = np.clip(uvd[:, :2].min(0), 0, [95, 63]), np.clip(uvd[:, :2].max(0), 0, [95, 63])
            assert np.abs(np.array(row[1:5], float) - [*low, *high]).max() <= 0.6


def test_lidar_returns_lie_on_the_ground_and_on_boxes(recordings: Path) -> None:
    root = RawRoot(recordings)
    on_boxes = 0
    for number, label in root.labels.items():
        points = root.lidar(label)
        np.testing.assert_allclose(points[:, 4], np.linalg.norm(points[:, :3], axis=1), rtol=1e-5)
        np.testing.assert_allclose(points[:, 6], np.arctan2(points[:, 1], points[:, 0]), atol=1e-5)
        assert points[:, 2].min() > -RADAR_HEIGHT - 0.1 and np.isin(points[:, 7], range(16)).all()
        for box in box_array(root.boxes[number]):
            cos, sin = np.cos(box[6]), np.sin(box[6])
            local = (points[:, :3] - box[:3]) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
            on_boxes += int((np.abs(local) < box[3:6] / 2 + 0.4).all(1).sum())
    assert on_boxes > 100


@settings(max_examples=25, deadline=None)
@given(
    distance=st.floats(8, 95),
    azimuth=st.floats(-0.9, 0.9),
    speed=st.floats(-30, 30),
    elevation=st.floats(-0.06, 0.06),
)
def test_the_chain_finds_a_target_in_its_cell(
    chain: Chain, distance: float, azimuth: float, speed: float, elevation: float
) -> None:
    made = chain.compute(observe(echo(distance, azimuth, speed, 40.0, elevation)), ("rd", "ra", "pcd"))
    row = simulator.range_bin(np.array(distance), 64, 103.0)
    angles = np.linspace(-75, 75, 151)
    column = np.interp(np.degrees(azimuth), angles, np.arange(151))
    peak = np.unravel_index(made["ra"].argmax(), made["ra"].shape)
    assert abs(peak[0] - row) <= 1
    points = made["pcd"]
    nearest = points[np.abs(points[:, 0] - distance) <= 103 / 64]
    assert len(nearest)
    doppler = float(simulator.doppler_bin(np.array(speed), 64))
    away = np.abs((nearest[:, 1] - doppler + 32) % 64 - 32)
    found = nearest[away <= 1]
    assert len(found)
    assert np.abs(np.interp(np.degrees(found[:, 2]), angles, np.arange(151)) - column).min() <= 1
    assert np.abs(found[:, 3] - elevation).min() <= np.deg2rad(2.5)


def test_the_azimuth_map_peaks_at_the_targets_azimuth(chain: Chain) -> None:
    for degrees in (-40.0, -7.0, 0.0, 22.0):
        ra = chain.compute(observe(echo(30.0, np.deg2rad(degrees), 2.0, 40.0), noise=0.2), ("ra",))["ra"]
        row, column = np.unravel_index(ra.argmax(), ra.shape)
        assert abs(row - 30 / 103 * 64) <= 1 and abs(column - (degrees + 75)) <= 1


def test_power_falls_with_the_fourth_power_of_the_distance_and_rises_with_the_area() -> None:
    def power(distance: float, area: float) -> float:
        samples = observe(echo(distance, 0.0, area=area), noise=0.0).astype(np.float64)
        return float(np.var(samples[0]))

    assert power(8, 100) / power(16, 100) == pytest.approx(16, rel=0.02)
    assert power(10, 100) / power(10, 25) == pytest.approx(4, rel=0.02)


def test_noise_and_offset_are_what_they_say() -> None:
    samples = observe(echo(50, 0, area=1e-12), noise=20.0).astype(np.float64)
    even, odd = samples[:, 0::2], samples[:, 1::2]
    assert even.std() == pytest.approx(20, rel=0.01) and odd.std() == pytest.approx(20, rel=0.01)
    assert even.mean() == pytest.approx(3, abs=0.3) and odd.mean() == pytest.approx(-2, abs=0.3)


def test_what_is_out_of_reach_is_not_folded_back() -> None:
    silent = observe(echo(104.0, 0.0, area=1e6), noise=0.0)
    assert np.ptp(silent[:, 0::2]) == np.ptp(silent[:, 1::2]) == 0


def test_samples_saturate() -> None:
    loud = observe(echo(1.0, 0.0, area=1e6), noise=0.0)
    assert loud.max() == 32767 and loud.min() == -32768


def test_the_table_has_the_asked_sizes_and_a_road_parallel_elevation() -> None:
    for elevations in (6, 7, 11, 12):
        table = calibration_table(ANTENNA, 61, elevations)
        assert table["Signal"].shape == (61, 192, elevations) and table["Signal"].dtype == np.complex64
        assert table["H"].shape == (1, 192)
        assert table["Elevation_table"][5] == 0 and np.all(np.diff(table["Elevation_table"]) > 0)
        assert table["Azimuth_table"][[0, 30, 60]].tolist() == [-75, 0, 75]


def test_the_picture_is_drawn_along_the_calibrated_rays() -> None:
    size = (320, 180)
    calibration = draw_calibration(3, size)
    lens = build_lens(calibration, size)
    points = np.stack([np.full(40, 20.0), np.linspace(-8, 8, 40), np.linspace(-1, 3, 40)], 1)
    uvd = calibration.project(points)
    inside = (uvd[:, 0] > 1) & (uvd[:, 0] < 318) & (uvd[:, 1] > 1) & (uvd[:, 1] < 178)
    assert inside.sum() > 20
    level = lens.camera.intrinsic
    for (u, v, _), (x, y, z) in zip(uvd[inside], points[inside], strict=True):
        place = np.array([x, y, z + RADAR_HEIGHT]) - lens.camera.position
        expected = level[:2, 2] + level[0, 0] * np.array([-place[1], -place[2]]) / place[0]
        corner = lens.pixels[int(v), int(u)].astype(float)
        across, down = lens.pixels[int(v), int(u) + 1] - corner, lens.pixels[int(v) + 1, int(u)] - corner
        found = corner + (u - int(u)) * across + (v - int(v)) * down
        np.testing.assert_allclose(found, expected, atol=0.05)


def test_nothing_of_the_world_overlaps_the_ego_or_another_vehicle() -> None:
    for sequence in range(12):
        world = build_world(replace(TINY, density=3.0), sequence)
        vehicles = [i for i, actor in enumerate(world.actors) if actor.is_vehicle]
        for time in (0.0, 0.3, 0.6):
            poses = world.seen_from_ego(time)[vehicles]
            halves = np.array([world.actors[i].body.size[:2] for i in vehicles]) / 2
            for i, (x, y, _) in enumerate(poses):
                assert not (abs(x + 2.0) < halves[i, 0] + 2.0 and abs(y) < 1.0)  # the ego lies behind the radar
                apart = np.hypot(*(poses[i + 1 :, :2] - poses[i, :2]).T)
                assert (apart > halves[i, 1] + halves[i + 1 :, 1]).all()


def test_interrupted_generation_goes_on_where_it_stopped(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, done = tmp_path / "data", []

    def stop(finished: int, total: int) -> None:
        done.append(finished)
        if finished == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(out, TINY, workers=1, progress=stop)
    assert not out.exists()
    generate(out, TINY, workers=1, progress=lambda finished, total: done.append(finished))
    assert done == [0, 1, 2, 2, 3]
    assert contents(out) == contents(recordings)


def test_a_folder_with_something_else_is_refused(recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="no synthetic data set"):
        generate(tmp_path, TINY)
    with pytest.raises(DataError, match="other options"):
        generate(recordings, replace(TINY, seed=99))


def test_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr(build, "_write_tables", full)
    with pytest.raises(DataError, match="No space left"):
        generate(tmp_path / "out", TINY)


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"chirps": 40}, "multiple of 16"),
        ({"sequences": 0}, "sequences must be"),
        ({"noise": float("nan")}, "noise must be"),
        ({"image_size": (10, 10)}, "image_size must be"),
        ({"sequences": 2, "val_sequences": 2, "test_sequences": 1}, "at least val_sequences"),
        ({"test_sequences": 5}, "test_sequences must be"),
    ],
)
def test_options_out_of_range_are_named(values: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        RadialSynthOptions(**values)  # type: ignore[arg-type]


def test_a_root_that_asks_for_recordings_makes_them_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path))
    text = "synthetic-radial:?sequences=1&frames=1&samples=16&chirps=16&azimuths=3&elevations=6&image_size=32x32"
    root = open_root(text)
    assert root == open_root(text) and root.is_relative_to(tmp_path)
    assert json.loads((root / "radar.json").read_text())["samples"] == 16
    with pytest.raises(ConfigError, match="Did you mean 'chirps'"):
        SCHEME.parse("synthetic-radial:?chirp=16")
    with pytest.raises(ConfigError, match="is no synthetic data root"):
        SCHEME.parse("synthetic-radial:here")
