"""Long lists: the families first, ten entries, how many more, and where the rest is."""

from __future__ import annotations

import pickle

import pytest

from portbev.cli import main
from portbev.errors import CheckpointError
from portbev.lists import Head, Shortened, cut, families, named, whole
from portbev.nn.misfit import summarise

KEYS = [f"img_backbone.layer1.{n}.conv.weight" for n in range(30)] + ["head.a.weight", "head.b.weight"]


def test_a_short_list_is_whole_and_a_long_one_begins_with_its_families() -> None:
    assert named(["a.b", "a.c"]) == "a.b, a.c"
    assert named(KEYS).startswith("30 in img_backbone, 2 in head: img_backbone.layer1.0.conv.weight, ")
    assert named(KEYS).endswith("layer1.9.conv.weight and 22 more")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.b.c.w", "a.b.c.v"], "all in a.b.c"),
        (["a.b.c.w", "a.b.d.v", "a.b.d.w"], "2 in a.b.d, 1 in a.b.c"),
        (["a.x (3,) for (4,)", "a.y (3,) for (4,)", "b.y"], "2 in a, 1 in b"),
        (["a", "b.c", "b.d"], "2 in b, 1 in (top)"),
        ([f"m{n}.{k}" for n in range(6) for k in "xy"], "2 in m0, 2 in m1, 2 in m2, 2 in m3 and 2 other parts"),
        (["a", "b"], "2 in all"),
    ],
)
def test_families_are_the_first_parts_that_not_all_share(names: list[str], said: str) -> None:
    assert families(names) == said


def test_what_was_cut_is_kept_also_in_another_process() -> None:
    (text,) = summarise("missing", KEYS)
    assert text.startswith("32 missing (30 in img_backbone, 2 in head: ") and "head.b.weight" not in text
    for copy in (text, pickle.loads(pickle.dumps(text))):
        assert whole(copy) == f"32 missing ({', '.join(KEYS)})"
    assert whole("plain") == "plain"


def test_debug_says_what_an_error_leaves_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise CheckpointError(Shortened("misses a and 1 more", "misses a, b"), where="f.pth")

    monkeypatch.setattr("portbev.cli._run", fail)
    assert main([]) == 2
    assert capsys.readouterr().err == "portbev: f.pth: misses a and 1 more\n"
    assert main(["--debug"]) == 2
    assert capsys.readouterr().err.endswith("portbev: f.pth: misses a, b\n")


def test_a_stream_of_findings_is_cut_and_counted_by_family() -> None:
    said: list[str] = []
    head = Head(said.append, most=2)
    for number in range(7):
        head.add(f"line {number}", "sample.json" if number % 2 else "scene.json")
    head.end()
    assert said == ["line 0", "line 1", "and 5 more: 3 of scene.json, 2 of sample.json (--all shows them)"]
    everything: list[str] = []
    head = Head(everything.append, most=None)
    for line in cut([str(n) for n in range(20)], 20).split(", "):
        head.add(line, "x")
    head.end()
    assert len(everything) == 20
