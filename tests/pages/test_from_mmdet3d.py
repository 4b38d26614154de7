"""docs/from-mmdet3d.md: every command in the last column exists, its options parse, its configurations are shipped."""

from __future__ import annotations

import re
import shlex

import pytest
from printed import DOCS
from test_printed_commands import COMMANDS, check_other, check_portbev, portbev_words

from portbev.cli import _one_each, main

PAGE = DOCS / "from-mmdet3d.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this installation")
OURS = re.compile(r"^(portbev|torchrun|srun|mpirun|python -m portbev\S*|pip) ")


def rows() -> list[tuple[str, str]]:
    """What was typed there, and the cell with what is typed here."""
    lines = re.findall(r"^\| (.+) \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE) if PAGE.exists() else []
    return [(there, here) for there, here in lines if (there, here) != ("there", "here")]


TYPED = [command for _, here in rows() for command in re.findall(r"`([^`]+)`", here) if OURS.match(command)]


@pytest.mark.parametrize("command", TYPED)
def test_a_command_of_the_page_parses(command: str) -> None:
    words = portbev_words(command)
    if words is None:
        check_other(command)
    elif " ".join(words) not in COMMANDS:  # a command that a sentence names exists
        check_portbev(command, _one_each(words))


def test_the_page_has_a_row_for_each_tool_and_says_of_each_what_there_is() -> None:
    assert len(TYPED) > 60
    for there, here in rows():
        assert re.search(r"`|\]\(|not here|always|not needed", here), there
    text = PAGE.read_text(encoding="utf-8")
    for tool in (
        "analyze_logs.py plot_curve", "cal_train_time", "--show-dir", "visualize_results.py", "browse_dataset.py",
        "get_flops.py", "publish_model.py", "regnet2mmdet.py", "detectron2pytorch.py", "nuimage_converter.py",
        "print_config.py", "benchmark.py", "fuse_conv_bn.py", "create_data.py", "gen_info.py", "gen_depth_gt.py",
        "convert_radial.py", "eval_radial.py", "can_bus.zip", "mmdet3d2torchserve.py", "slurm_train.sh", "results.pkl",
    ):  # fmt: skip
        assert tool in text, tool


def test_the_answer_to_habits_is_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    typed, said = re.findall(r"`portbev ([^`]+)` answers `([^`]+)`\.", text)[0]
    assert main(shlex.split(typed)) == 2
    assert capsys.readouterr().err == f"portbev: train: {said}\n"
