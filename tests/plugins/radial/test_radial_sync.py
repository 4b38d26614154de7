"""The log of a recording and the rule that puts its events together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from radial_recordings import Event, radar_frame, write_log

from portbev.errors import DataError
from portbev_radial.recordings.log import Log, read_log
from portbev_radial.recordings.sync import Table, synchronise

PERIOD = 200_000


def read(folder: Path, events: list[Event | str]) -> tuple[Log, Path]:
    path = write_log(folder, [event if isinstance(event, str) else event.line() for event in events])
    return read_log(path), path


def table(folder: Path, events: list[Event | str], tolerance: int = 20_000) -> Table:
    log, path = read(folder, events)
    return synchronise(log, path, tolerance)


def drive(count: int = 3) -> list[Event]:
    """Radar frames with a camera picture and a scan each; the sensors' corrections cancel."""
    events: list[Event] = []
    for i in range(count):
        time = i * PERIOD
        events += radar_frame(time, 100 + 4 * i)
        events += [Event(time, "camera", i), Event(time, "scala", i, issue=time + 40_000)]
    return events


def test_fields_are_taken_from_their_places(tmp_path: Path) -> None:
    log, _ = read(tmp_path / "r", [Event(10, "camera", 7, offset=33, size=44)])
    camera = log.events["camera"]
    assert (camera.sample[0], camera.offset[0], camera.size[0], camera.line[0]) == (7, 33, 44, 1)


def test_a_line_without_offset_is_an_event_without_a_place(tmp_path: Path) -> None:
    log, _ = read(tmp_path / "r", [Event(10, "camera", 7, offset=None)])
    assert log.events["camera"].offset[0] == log.events["camera"].size[0] == -1
    assert not log.problems


def test_timestamps_are_shifted_by_the_first_issue_and_the_sensors_delay(tmp_path: Path) -> None:
    first, second = Event(1000, "radar_ch3", 0, issue=500_000), Event(201_000, "radar_ch3", 4, issue=999_999)
    log, _ = read(tmp_path / "r", [first, second, Event(50, "camera", 0, issue=90), Event(5, "scala", 0, issue=41_000)])
    assert log.events["radar_ch3"].time.tolist() == [320_000, 520_000]
    assert log.events["camera"].time.tolist() == [90]
    assert log.events["scala"].time.tolist() == [1000]


def test_events_of_unknown_sensors_are_skipped(tmp_path: Path) -> None:
    log, _ = read(tmp_path / "r", [*drive(1), Event(0, "thermometer", 1)])
    assert "thermometer" not in log.events and not log.problems


def test_a_missing_log_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="event log"):
        read_log(tmp_path / "absent.rec")


@pytest.mark.parametrize(
    "line",
    [
        "timestamp: 5 - timeofissue: 5 - sample:",
        "timestamp: x - timeofissue: 5 - sample: 4 - sensor: camera",
        "timestamp: 5 - timeofissue: 5 - sample: 4 - sensor: camera - offset: -3 - size: 4",
        "timestamp: 5 - timeofissue: 5 - sample: 4 - sensor: radar_c",
        "timestamp: 9e99 - timeofissue: 5 - sample: 1.5e300 - sensor: camera",
    ],
)
def test_a_damaged_line_is_named_and_the_others_are_read(tmp_path: Path, line: str) -> None:
    log, path = read(tmp_path / "r", [*drive(1), line, *drive(1)])
    assert len(log.events["camera"]) == 2
    (problem,) = log.problems
    assert problem.startswith(f"{path}:7: ") and log.damaged == [7]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(["-", "5", "-7", "1.5", "camera", "radar_ch3", "scala", "nan", "1e400", "\x00", "é"]),
            max_size=20,
        ).map(" ".join),
        max_size=8,
    )
)
def test_no_text_breaks_the_log(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = write_log(tmp_path_factory.mktemp("fuzz") / "r", lines)
    log = read_log(path)
    assert len(log.problems) == len(log.damaged) <= len(lines)
    synchronise(log, path)


def test_the_chips_of_a_frame_follow_the_masters_sample_number(tmp_path: Path) -> None:
    found = table(tmp_path / "r", list(drive(2)))
    assert [frame.sample for frame in found.frames] == [100, 104]
    assert found.frames[1].events == {
        "radar_ch3": 1, "radar_ch0": 1, "radar_ch2": 1, "radar_ch1": 1, "camera": 1, "scala": 1,
    }  # fmt: skip


@pytest.mark.parametrize("chip", ["radar_ch0", "radar_ch1", "radar_ch2"])
def test_a_frame_without_a_chip_is_dropped_and_the_index_counts_the_rest(tmp_path: Path, chip: str) -> None:
    events = [e for e in drive(3) if not (e.sensor == chip and e.time == PERIOD)]
    found = table(tmp_path / "r", list(events))
    assert [frame.sample for frame in found.frames] == [100, 108]
    (line,) = found.dropped
    assert f"radar frame 104 is left out: {chip} has no sample" in str(line)


@pytest.mark.parametrize(("away", "kept"), [(20_000, True), (20_001, False), (-20_000, True), (-20_001, False)])
def test_tolerance_is_inclusive(tmp_path: Path, away: int, kept: bool) -> None:
    events = [Event(e.time + away, e.sensor, e.sample) if e.sensor == "camera" and e.sample else e for e in drive(2)]
    assert len(table(tmp_path / "r", list(events)).frames) == (2 if kept else 1)


def test_a_late_event_moves_labels_and_a_beginning_in_the_middle_of_a_frame_does_not(tmp_path: Path) -> None:
    late = [Event(e.time + 30_000, e.sensor, e.sample) if e.sensor == "camera" and not e.sample else e for e in drive()]
    (dropped,) = table(tmp_path / "a", list(late)).dropped
    assert (dropped.sensor, dropped.place, dropped.offset, dropped.moves_labels) == ("camera", 0, 30_000, True)
    begun = [e for e in drive() if e.time or e.sensor not in ("radar_ch0", "radar_ch1", "radar_ch2")]
    (first,) = table(tmp_path / "b", list(begun)).dropped
    assert (first.sensor, first.place, first.offset, first.moves_labels) == ("radar_ch0", 0, 0, False)
    within = [e for e in drive() if (e.sensor, e.time) != ("radar_ch0", PERIOD)]
    (lost,) = table(tmp_path / "c", list(within)).dropped
    assert (lost.place, lost.moves_labels) == (1, True)


def test_the_gps_never_drops_a_frame(tmp_path: Path) -> None:
    assert len(table(tmp_path / "r", [*drive(2), Event(0, "gps", 0, issue=90_000_000)]).frames) == 2


def test_a_sensor_that_the_log_does_not_name_is_not_waited_for(tmp_path: Path) -> None:
    found = table(tmp_path / "r", [e for e in drive(2) if e.sensor != "scala"])
    assert len(found.frames) == 2 and "scala" not in found.frames[0].events


@pytest.mark.parametrize("sensor", ["radar_ch0", "radar_ch1", "radar_ch2", "radar_ch3", "camera", "scala"])
@pytest.mark.parametrize("cut", [2, 9])
def test_a_damaged_line_loses_its_frame_and_moves_no_index(tmp_path: Path, sensor: str, cut: int) -> None:
    """Labels count the frames that an undamaged log has: the frame keeps its place, unreadable."""
    events = [
        " ".join(e.line().split()[:cut]) if e.sensor == sensor and e.time == PERIOD else e.line() for e in drive(4)
    ]
    found = table(tmp_path / "r", list(events))
    assert [frame.sample for frame in found.frames] == [100, 104, 108, 112]
    assert [bool(frame.fault) for frame in found.frames] == [False, True, False, False]
    assert "line" in found.frames[1].fault and not found.dropped


def test_a_damaged_line_of_a_sensor_that_is_not_missed_changes_nothing(tmp_path: Path) -> None:
    events: list[Event | str] = [*drive(2), "timestamp: 3 - timeofissue:", *drive(0)]
    found = table(tmp_path / "r", events)
    assert len(found.frames) == 2 and not any(frame.fault for frame in found.frames)


def plain_rule(log: Log, tolerance: int) -> list[dict[str, int]]:
    """The rule once more, in the plainest way."""
    rows = []
    for i in range(len(log.events["radar_ch3"])):
        sample, time = log.events["radar_ch3"].sample[i], log.events["radar_ch3"].time[i]
        row = {"radar_ch3": i}
        for chip, step in (("radar_ch0", 1), ("radar_ch2", 2), ("radar_ch1", 3)):
            for j, other in enumerate(log.events[chip].sample if chip in log.events else ()):
                if other == sample + step:
                    row.setdefault(chip, j)
        for sensor in log.events:
            if sensor.startswith("radar") or sensor == "gps":
                continue
            distances = [abs(t - time) for t in log.events[sensor].time.tolist()]
            if min(distances) <= tolerance:
                row[sensor] = distances.index(min(distances))
        if len(row) == 4 + sum(not s.startswith("radar") and s != "gps" for s in log.events):
            rows.append(row)
    return rows


@settings(max_examples=60, deadline=None)
@given(
    lost=st.sets(st.tuples(st.sampled_from(["radar_ch0", "radar_ch1", "radar_ch2", "radar_ch3"]), st.integers(0, 5))),
    cameras=st.lists(st.integers(0, 5 * PERIOD), min_size=1, max_size=12),
    cans=st.lists(st.integers(0, 5 * PERIOD), max_size=12),
    tolerance=st.integers(0, 200_000),
)
def test_undamaged_logs_follow_the_plain_rule(
    tmp_path_factory: pytest.TempPathFactory,
    lost: set[tuple[str, int]],
    cameras: list[int],
    cans: list[int],
    tolerance: int,
) -> None:
    events = [e for i in range(6) for e in radar_frame(i * PERIOD, 4 * i) if (e.sensor, i) not in lost]
    if not any(e.sensor == "radar_ch3" for e in events):
        events += radar_frame(6 * PERIOD, 24)
    events += [Event(t, "camera", i) for i, t in enumerate(cameras)] + [Event(t, "can", i) for i, t in enumerate(cans)]
    log, path = read(tmp_path_factory.mktemp("log") / "r", list(events))
    found = synchronise(log, path, tolerance)
    assert [frame.events for frame in found.frames] == plain_rule(log, tolerance)
    assert len(found.frames) + len(found.dropped) == len(log.events["radar_ch3"])
    assert np.all(np.diff([frame.time for frame in found.frames]) > 0)
