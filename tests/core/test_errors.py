"""Errors: one line with what, where and the cure; nearest names."""

from __future__ import annotations

import pickle

import pytest

from portbev.errors import BackendError, PortbevError, nearest


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PortbevError("it broke"), "it broke"),
        (PortbevError("it broke", where="a.yaml"), "a.yaml: it broke"),
        (PortbevError("it broke", where="a.yaml", cure="Mend it"), "a.yaml: it broke. Mend it"),
        (PortbevError("it broke", cure="Mend it"), "it broke. Mend it"),
    ],
)
def test_the_line_holds_what_there_is(error: PortbevError, line: str) -> None:
    assert str(error) == line


def test_nearest_puts_the_close_name_first_and_lists_all() -> None:
    assert nearest("npuu", ["cuda", "npu"]) == "Did you mean 'npu'? Known: cuda, npu"
    assert nearest("zzz", ["cuda", "npu"], label="Here") == "Here: cuda, npu"
    assert nearest("zzz", []) == "Known: none"


def test_errors_of_loader_workers_arrive_whole() -> None:
    error = BackendError("gone", where="here", cure="fetch it")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
