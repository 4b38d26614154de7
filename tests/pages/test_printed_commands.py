"""Every fenced block of every page is something that works: commands parse, programs compile, files can be read.

A page or a block that is new is looked at too: what none of these tests knows how to judge is an error.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import yaml
from printed import DOCS, PROJECT, Fence, fences, pages
from printed_help import commands, options, page

from portbev import ops
from portbev.config import load_config
from portbev.config.layers import find_config
from portbev.errors import PortbevError
from portbev.kernels import KERNELS

FENCES = [fence for path in pages() for fence in fences(path)]
SHELL = ("bash", "console", "sh", "")
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the pages are not part of this installation")
COMMANDS = commands()
assert ops  # imported, it has registered its operators


def of(*languages: str) -> list[Any]:
    return [pytest.param(fence, id=fence.where) for fence in FENCES if fence.language in languages]


def lines(fence: Fence) -> Iterator[str]:
    """Commands of a block, one a line, without comments; continued and indented lines belong to the one before."""
    text = re.sub(r"\\\n\s*", " ", fence.text)
    if fence.language == "":
        text = re.sub(r"\n {8,}", " ", text)  # a synopsis over several lines
    for line in text.splitlines():
        if line := re.sub(r"(^|\s)#.*$", "", line).strip():
            yield line


def is_output(fence: Fence) -> bool:
    """Whether a block without a language shows what is printed or how folders look, instead of what is typed."""
    return not re.match(r"(portbev|apt-get|npm|[A-Z_]+=\S+ python) ", fence.text)


def portbev_words(line: str) -> list[str] | None:
    """The words behind ``portbev`` in a line that calls it, however it does."""
    found = re.match(
        r"(?:torchrun .*?-m |(?:srun|mpirun) (?:.*? )??|\S*python3? -m |(?:\.venv/bin/)?)portbev\s+(.*)$", line
    )
    return shlex.split(found[1]) if found else None


def command_of(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command's name, the command, and the words behind it."""
    for count in (3, 2, 1):
        name = " ".join(words[:count])
        if name in COMMANDS:
            return name, COMMANDS[name], words[count:]
    raise AssertionError(f"no command portbev {' '.join(words[:2])}")


def is_synopsis(line: str) -> bool:
    """``portbev parity ops [CONFIG...] [--out FOLDER | --json FILE]``: says what may stand there."""
    return bool(re.search(r"\[(--|[A-Z])|[A-Z]\.\.\.|[A-Z]\|[A-Z]|\b[a-z]+\|[a-z]+\|", line))


def values(command: Any, words: list[str], name: str) -> list[str]:
    """What follows an option, wherever it stands."""
    names = {one for one, parameter in options(command).items() if name in parameter.opts} | {name}
    ahead = [after for word, after in pairwise(words) if word in names]
    return ahead + [word.partition("=")[2] for word in words if word.partition("=")[0] in names and "=" in word]


def check_portbev(line: str, words: list[str]) -> None:
    if words in (["--version"], ["--help"]):
        return
    name, command, rest = command_of([word for word in words if word != "--debug"])  # which may stand anywhere
    if is_synopsis(line):
        for option in re.findall(r"--[a-z][\w-]*", line):
            assert option in options(command), f"portbev {name} has no option {option}"
        return
    command.make_context(name, list(rest), resilient_parsing=False)
    settings = values(command, rest, "--set")
    shipped = [word for word in rest if re.fullmatch(r"(bevdepth|bevformer|echofusion)/\w+", word)]
    for one in shipped:
        load_config(one, settings)
    if settings and not shipped:
        check_settings(settings)
    for kernel in values(command, rest, "--kernel"):
        operator = kernel.partition("=")[0]
        assert operator == "all" or operator in KERNELS.references, f"no operator {operator}"


def check_settings(settings: list[str]) -> None:
    """Keys of a configuration that the line does not show: one family at least must know them all."""
    refused = []
    for name in ("bevdepth/laptop", "bevformer/laptop", "echofusion/laptop"):
        try:
            load_config(name, settings)
        except PortbevError as error:
            refused.append(str(error))
        else:
            return
    raise AssertionError("\n".join(refused))


def check_other(line: str) -> None:
    """A command that is not portbev's: what it names of this repository must be there."""
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        assert words[0].startswith("PORTBEV_"), f"unknown variable: {words[0]}"
        words = words[1:]
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "pip":
        extras = {extra for word in rest for part in re.findall(r"^\.\[(.+)\]$", word) for extra in part.split(",")}
        declared = re.findall(r"^([\w-]+) = \[", (PROJECT / "pyproject.toml").read_text(), re.MULTILINE)
        assert extras <= set(declared), f"no extra {extras - set(declared)}"
    elif program in ("python", "python3") and rest[0] == "-m":
        module = rest[1]
        assert module in ("venv", "pytest") or importlib.util.find_spec(module), f"no module {module}"
        if module == "pytest":
            assert all((PROJECT / word).exists() for word in rest[2:] if word.startswith("tests/"))
    elif program in ("python", "python3"):
        check_script(rest)
    elif program == "torchrun":
        check_script(rest[next(place for place, word in enumerate(rest) if word.endswith(".py")) :])
    elif program.endswith(".sh"):
        assert (PROJECT / program).exists(), f"no file {program}"
    elif program == "tox":
        check_environments(rest[rest.index("-e") + 1].split(","))
    else:
        assert program in ("source", "apt-get", "npm", "py-spy", "test", "scontrol"), (
            f"no test knows how to judge: {line}"
        )


def check_script(words: list[str]) -> None:
    """A script of this repository with its options, or one that the pages print."""
    script = PROJECT / words[0]
    if not script.exists():
        assert any(f"`{words[0]}`" in path.read_text(encoding="utf-8") for path in pages()), f"no file {words[0]}"
        return
    text = script.read_text(encoding="utf-8")
    for word in (word.strip("[]") for word in words[1:]):
        assert not word.startswith("--") or f'"{word}"' in text, f"{words[0]} has no option {word}"


def check_environments(names: list[str]) -> None:
    said = (PROJECT / "tox.ini").read_text()
    known = {*re.findall(r"^\[testenv:([\w-]+)", said, re.MULTILINE), "py-cpu", "py-cuda", "py-rocm", "py-npu"}
    assert set(names) <= known, f"tox has no {set(names) - known}"


@pytest.mark.parametrize("fence", of(*SHELL))
def test_printed_commands_are_accepted(fence: Fence) -> None:
    if fence.language == "" and is_output(fence):
        assert "\nportbev " not in f"\n{fence.text}", f"{fence.where}: commands in a block of output: mark it bash"
        return
    for line in lines(fence):
        words = portbev_words(line)
        try:
            check_other(line) if words is None else check_portbev(line, words)
        except Exception as error:
            raise AssertionError(f"{fence.where}: {line}\n{type(error).__name__}: {error}") from error


@pytest.mark.parametrize("fence", of("python"))
def test_printed_programs_compile_and_import_what_is_there(fence: Fence) -> None:
    for node in ast.walk(ast.parse(fence.text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split("_")[0].split(".")[0] == "portbev":
            module = importlib.import_module(node.module)
            for name in node.names:
                assert hasattr(module, name.name) or importlib.util.find_spec(f"{node.module}.{name.name}"), fence.where


@pytest.mark.parametrize("fence", of("yaml"))
def test_printed_yaml_has_keys_of_a_configuration(fence: Fence) -> None:
    said = yaml.safe_load(fence.text)
    if "schema" in said or fence.mark == "messages":  # tests/doctor has the printed table of messages
        return  # another kind of file
    known = {"extends", *type(load_config("bevdepth/laptop")).model_fields}
    assert said.keys() <= known, f"{fence.where}: no section {said.keys() - known}"
    assert "extends" not in said or find_config(said["extends"])


@pytest.mark.parametrize("fence", of("json"))
def test_printed_json_can_be_read(fence: Fence) -> None:
    json.loads(fence.text)


@pytest.mark.parametrize("fence", of("toml"))
def test_printed_toml_can_be_read(fence: Fence) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and later have it")
    tomllib.loads(fence.text)


def test_no_block_escapes() -> None:
    judged = {*SHELL, "python", "yaml", "json", "toml"}
    assert not [f"{fence.where}: {fence.language}" for fence in FENCES if fence.language not in judged]
    for path in pages():  # what looks like the edge of a block is one
        edges = len(re.findall(r"^ *(```|~~~)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert edges == 2 * len(fences(path)), f"{path.name}: {edges} edges, {len(fences(path))} blocks"


def test_every_command_and_option_of_the_help_is_on_its_page() -> None:
    said = (DOCS / "commands.md").read_text(encoding="utf-8")
    assert said == page(), "python tests/pages/printed_help.py docs/commands.md"
    for name, command in COMMANDS.items():
        part = said.split(f"## portbev {name}\n", 1)[1].split("\n## ", 1)[0]
        assert all(f"{option}" in part for option in options(command) if option != "--help"), name
