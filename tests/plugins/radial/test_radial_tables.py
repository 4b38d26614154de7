"""Label tables as people have them: other names, separators, encodings and columns; folders under other names."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from radial_recordings import TRAIN, copy_of

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset
from portbev_radial.recordings.labels import ABSENT, BOX_COLUMNS, LABEL_COLUMNS, read_boxes, read_labels
from portbev_radial.recordings.layout import split_of

ROW = "7,1,2,3,4,5.5,0.1,-0.5,-0.1,5.50,5.5,-1.0,0.3,12,RECORD@a,4,0"
HEADER = ",".join(LABEL_COLUMNS)
PLAIN = f"{HEADER}\n{ROW}\n"
QUOTED = "\n".join(",".join(f'"{field}"' for field in line.split(",")) for line in (HEADER, ROW)) + "\n"
GERMAN = f"{HEADER.replace(',', ';')}\n{ROW.replace(',', ';').replace('.', ',').replace('@,', '@')}\n"


@pytest.fixture
def copied(recordings: Path, tmp_path: Path) -> Path:
    return copy_of(recordings, tmp_path / "copy")


def opened(root: Path, part: str = "train", **values: object) -> RadialDataset:
    data = build_dataset(RadialData.model_validate(values), root, part, seed=0)  # type: ignore[arg-type]
    assert isinstance(data, RadialDataset)
    return data


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        codecs.BOM_UTF8 + PLAIN.encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", "\t").encode(),
        QUOTED.encode(),
        GERMAN.encode(),
        codecs.BOM_UTF16_LE + PLAIN.encode("utf-16-le"),
        ("\n\n" + PLAIN).encode(),
        PLAIN.upper().replace("RECORD@A", "RECORD@a").encode(),
    ],
    ids=["plain", "bom", "crlf", "tabs", "quoted", "semicolons", "utf-16", "blank lines", "capitals"],
)
def test_a_table_reads_the_same_however_it_was_saved(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(data)
    labels, problems = read_labels(path)
    assert not problems and labels[7].rows == [tuple(ROW.split(","))]
    assert (labels[7].sequence, labels[7].index) == ("RECORD@a", 4)


def test_columns_may_be_absent_in_another_order_or_more(tmp_path: Path) -> None:
    fields = dict(zip(LABEL_COLUMNS, ROW.split(","), strict=True))
    del fields["laser_Z_m"], fields["Difficult"]
    fields = {"extra": "x", **dict(reversed(fields.items())), "another": "y"}
    path = tmp_path / "labels_CVPR.csv"
    path.write_text(",".join(fields) + "\n" + ",".join(fields.values()) + "\n")
    notes: list[str] = []
    labels, problems = read_labels(path, notes)
    assert not problems and labels[7].rows[0] == (*ROW.split(",")[:7], ABSENT, *ROW.split(",")[8:16], ABSENT)
    assert notes == [f"{path} has no column laser_Z_m, Difficult: nan stands for it in converted labels"]


def test_an_unclosed_quotation_mark_costs_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f'{HEADER}\n"{ROW}\n{ROW.replace("7,", "8,", 1)}\n')
    labels, problems = read_labels(path)
    assert list(labels) == [8] and len(problems) == 1 and "labels.csv:2: 1 fields" in problems[0]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "no column 'numSample'"),
        (f"{HEADER},index\n".encode(), "has the column 'index' twice"),
        (b"\xff\xfe\x00", r"is no text in UTF-8.*Save the table as UTF-8"),
        (HEADER.encode() + b"\n\xe9\n", r"is no text in UTF-8.*Save the table as UTF-8"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=what):
        read_labels(path)


@pytest.mark.parametrize("number", ["nan", "inf", "1e99", "1.5"])
def test_a_sample_number_that_is_none_costs_its_row(tmp_path: Path, number: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}\n{ROW.replace('7,', f'{number},', 1)}\n")
    labels, problems = read_labels(path)
    assert not labels and f"{number!r} is no sample number or index" in problems[0]


def test_boxes_with_decimal_commas_are_read(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(";".join(BOX_COLUMNS) + "\n0;10,5;1;0,5;4;1,8;1,5;0,25;0\n")
    boxes, problems = read_boxes(path)
    assert not problems and boxes[0] == [("10.5", "1", "0.5", "4", "1.8", "1.5", "0.25", "0")]


def test_the_table_may_have_the_name_it_is_published_under(recordings: Path, copied: Path) -> None:
    (copied / "labels.csv").rename(copied / "labels_CVPR.csv")
    (copied / "radial_bbox_labels.csv").rename(copied / "RADIal_bbox_labels.csv")
    data = opened(copied)
    assert data.digest() == opened(recordings).digest()
    assert data.notes[0] == f"labels are read from {copied / 'labels_CVPR.csv'}"


@pytest.mark.parametrize("name", ["2020-01-01_10.00.00", "record@2020-01-01_10.00.00", "RECORD@2020-01-01_10:00:00"])
def test_a_sequence_is_found_under_other_names(recordings: Path, copied: Path, name: str) -> None:
    (copied / TRAIN).rename(copied / name)
    assert opened(copied).digest() == opened(recordings).digest()
    (copied / name).rename(copied / TRAIN)
    table = copied / "labels.csv"
    table.write_text(table.read_text().replace(TRAIN, f"/data/{name}/"))
    assert opened(copied).tokens == ["000000", "000001", "000002"]


def test_a_sequence_stays_in_its_split_however_it_is_written() -> None:
    names = ["2020-11-22_12.49.56", "record@2020-11-22_12.49.56", "D:\\RADIal\\RECORD@2020-11-22_12.49.56"]
    assert {split_of(name) for name in [*names, "RECORD@2020-11-22_12:49:56", f"/data/{names[0]}/"]} == {"val"}
