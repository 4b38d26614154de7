"""``portbev data browse``: pages, pictures, folders, and a line for what cannot be."""

from __future__ import annotations

import base64
import html
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from portbev.cli import main
from portbev.data.kinds import DataKind

CONFIG = "bevdepth/tiny_test"


@pytest.fixture
def browse(data: Path, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, str, str]:
        status = main(["data", "browse", CONFIG, "--data-root", str(data), *map(str, words)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_page_holds_every_look_and_asks_for_nothing(browse, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    status, out, err = browse("--count", 2, "--draws", 2, "--out", page)
    assert (status, err) == (0, "") and "2 samples, each as annotated and as in 2 epochs" in out
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'data-name="([^"]+)"', text) == ["as annotated", "epoch 0", "epoch 1"] * 2
    assert "default-src 'none'" in html.unescape(text) and not re.search(r"https?:|<link|@import|src=\"(?!data:)", text)
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', text)
    assert len(set(pictures)) == 6
    for picture in pictures:
        assert Image.open(io.BytesIO(base64.b64decode(picture))).size[0] > 1600
    assert text.count("resized by") == 2 * 2 * 6 and "depth labels:" in text


def test_one_sample_is_one_picture_and_a_folder_has_a_picture_for_each_look(browse, tmp_path: Path) -> None:
    one = tmp_path / "one.png"
    assert browse("--index", 1, "--draws", 1, "--epoch", 5, "--out", one)[0] == 0
    status, out, _ = browse("--index", 1, "--draws", 1, "--epoch", 5, "--out", tmp_path / "folder")
    looks = [Image.open(path) for path in out.splitlines()]
    assert status == 0 and [Path(line).stem[-7:] for line in out.splitlines()] == ["notated", "epoch_5"]
    assert Image.open(one).size[1] == sum(look.size[1] for look in looks)


def test_evaluation_is_drawn_once_as_nothing_is_random(browse, tmp_path: Path) -> None:
    status, out, _ = browse("--split", "synth_val", "--count", 1, "--draws", 2, "--out", tmp_path / "eval")
    names = [path.stem.rpartition("_as_")[2] for path in sorted((tmp_path / "eval").iterdir())]
    assert status == 0 and "drawn once" in out and names == ["annotated", "evaluated"]


def test_what_cannot_be_drawn_is_told_in_a_line(browse, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for words, told in [
        (["--split", "test"], "no split 'test'. There are train, eval, synth_train, synth_val"),
        (["--index", 99], "synth_train has no sample 99. There are 0 to 1"),
        (["--token", "nothere"], "has no sample 'nothere'. For example"),
        (["--out", tmp_path / "page.pdf"], "nothing is written as .pdf"),
        (["--count", 2, "--index", 0], "--count does nothing beside"),
        (["--count", 2, "--out", tmp_path / "one.png"], "one picture holds one sample"),
        (["--index", 0, "--draws", 600], "a page holds at most 600 pictures, and these are 601"),
        (["--show", "--out", tmp_path / "folder"], "a folder cannot be shown"),
    ]:
        status, out, err = browse("--out", page, *words)
        assert (status, out) == (2, "") and told in err and len(err.splitlines()) == 1, words


def test_an_official_configuration_is_told_at_once_what_generated_data_need(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["browse", "bevformer/tiny", "--data-root", data],
        ["check", "nuscenes", data, "--config", "bevformer/tiny"],
    ):
        assert main(["data", *map(str, command)]) == 2
        line = capsys.readouterr().err
        assert "data.version=v1.0-mini" in line and "data.train_split=synth_train" in line and "batch_size" not in line


def test_a_machine_without_a_browser_is_told_where_the_page_is(browse, tmp_path: Path, monkeypatch) -> None:
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)))
    status, _, err = browse("--count", 1, "--draws", 1, "--show", "--out", tmp_path / "page.html")
    assert status == 0 and "no browser on this machine" in err
    assert opened == [(tmp_path / "page.html").as_uri()]


def test_a_kind_of_data_whose_plugin_draws_nothing_is_named(browse, tmp_path: Path, monkeypatch) -> None:
    from portbev.plugins import Plugins

    kinds = Plugins.data_kinds

    def without(self: Plugins) -> dict[str, DataKind]:
        return {name: DataKind(name, kind.section, kind.open) for name, kind in kinds(self).items()}

    monkeypatch.setattr(Plugins, "data_kinds", without)
    status, _, err = browse("--out", tmp_path / "page.html")
    assert status == 2 and "samples of kind nuscenes cannot be drawn" in err


def test_a_run_is_drawn_on_the_data_that_it_was_trained_on(trained: Path, data: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "page.html"
    assert main(["data", "browse", str(trained), "--count", "1", "--draws", "1", "--out", str(page)]) == 0
    assert str(data) in page.read_text(encoding="utf-8")
