"""The command line: one file per command, thin."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from itertools import pairwise
from typing import Any

from portbev.autoload import no_autoload
from portbev.errors import PortbevError, nearest
from portbev.launcher.adopt import without_local_rank
from portbev.lists import whole

_SETTING_OPTIONS = ("--set", "--cfg-options", "--kernel")
_LIST_OPTIONS = ("--keys", "--legend")
_SETTING = re.compile(r"^[A-Za-z_][\w-]*(\.[\w-]+)*=")
_HELP = (
    "BEV perception models from one source for NVIDIA CUDA, AMD ROCm, Huawei Ascend NPU and CPU, and tools that "
    "measure whether two devices agree. --debug, anywhere, shows tracebacks."
)
_COMMANDS = {
    "train": ("portbev.cli.train", "Train a model and write a run directory."),
    "submit": ("portbev.cli.submit", "Train as a job of SLURM that goes on beyond its time limit."),
    "eval": ("portbev.cli.eval", "Evaluate a run, a checkpoint or a submission."),
    "convert": ("portbev.cli.convert", "Turn configurations and weights of other projects into this project's own."),
    "export": ("portbev.cli.export", "Write a trained model for other runtimes: torch.export, ONNX, or compiled."),
    "publish": ("portbev.cli.publish", "Write a checkpoint's weights alone, with their hash in the file's name."),
    "serve": ("portbev.cli.serve", "Answer requests with pictures and calibration by boxes, over HTTP."),
    "viz": ("portbev.cli.viz", "Draw a run's detections in the cameras and from above."),
    "configs": ("portbev.cli.configs", "List the configurations that come with portbev."),
    "config": ("portbev.cli.config", "Show a configuration as it is resolved, and say what its keys mean."),
    "backends": ("portbev.cli.backends", "Show devices, why some are missing, and who serves each operator."),
    "doctor": ("portbev.cli.doctor", "Find what will bite on this machine, and explain an error message."),
    "data": ("portbev.cli.data", "Generate, check and look at data sets."),
    "parity": ("portbev.cli.parity", "Compare runs across devices."),
    "logs": ("portbev.cli.logs", "Curves, times and tables of training logs, of this project, mmdet and mmengine."),
    "flops": ("portbev.cli.flops", "Count FLOPs, parameters, activations and bytes of a model, without running it."),
    "bench": ("portbev.cli.bench", "Time operators and steps beside other implementations and the device's limits."),
}


def main(arguments: list[str] | None = None) -> int:
    """Entry point of ``portbev`` and ``python -m portbev``. Exit status 2: an error that the user can mend."""
    with no_autoload():
        status = _main(arguments)
    if arguments is None and os.environ.get("WORLD_SIZE", "1") != "1":
        # A process group's threads may still wait for Python's lock: torch ends a process that takes it away from them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def _main(arguments: list[str] | None) -> int:
    arguments = without_local_rank(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    if debug:
        arguments.remove("--debug")
    try:
        return _run(arguments)
    except SystemExit as stop:
        return int(bool(stop.code)) if not isinstance(stop.code, int) else stop.code
    except PortbevError as error:
        return _tell(error, debug=debug)
    except (RuntimeError, MemoryError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return 1
        from portbev.failures import explained

        said = explained(error)
        if said is None:
            raise
        return _tell(said, debug=debug)
    except KeyboardInterrupt:
        print("portbev: interrupted", file=sys.stderr)
        return 130


def _tell(error: PortbevError, *, debug: bool) -> int:
    """Print the line, and with ``debug`` how it came about; returns the exit status."""
    if debug:
        traceback.print_exc()
    line = str(error)

    def say() -> None:
        print(f"portbev: {line.replace(error.what, whole(error.what)) if debug else line}", file=sys.stderr, flush=True)

    if os.environ.get("WORLD_SIZE", "1") == "1":
        say()
    else:
        from portbev.comm import EchoedError, tell_once

        tell_once(None if isinstance(error, EchoedError) else line, say)
    return error.exit_code


def _one_each(arguments: list[str]) -> list[str]:
    """``--cfg-options a=1 b=2`` and ``--keys a b``, as mmengine and mmdet take them, with the option before each.

    Raises:
        PortbevError: an option with one dash.
    """
    option, value_is_next, words = "", False, []
    for word in arguments:
        if word in ("-set", "-cfg-options", "-kernel"):
            raise PortbevError("unknown option", where=word, cure=f"Write it with two dashes: -{word}")
        if word.startswith("-"):
            option, _, value = word.partition("=")
            value_is_next = not value and option in (*_SETTING_OPTIONS, *_LIST_OPTIONS)
        elif value_is_next:
            value_is_next = False
        elif option in _LIST_OPTIONS or (option in _SETTING_OPTIONS and _SETTING.match(word)):
            words += [] if os.path.exists(word) else [option]
        words.append("--help" if word == "-h" else word)
    return words


def _run(arguments: list[str]) -> int:
    import typer

    arguments = _one_each(arguments)
    if arguments and not arguments[0].startswith("-") and arguments[0] not in _COMMANDS:
        raise _unknown(arguments[0])
    _refuse_foreign_keys(arguments)
    command = typer.main.get_command(build_app(arguments[0] if arguments else None))
    try:
        ended = command.main(args=arguments, prog_name="portbev", standalone_mode=False)
    except Exception as error:
        raise _misused(error, arguments) from error
    return ended if isinstance(ended, int) else 0


def _refuse_foreign_keys(arguments: list[str]) -> None:
    """Raise for ``--set`` with a key of another project's configurations."""
    given = [word for option, word in pairwise(arguments) if option in _SETTING_OPTIONS and "=" in word]
    given += [
        word.partition("=")[2] for word in arguments if word.partition("=")[0] in _SETTING_OPTIONS and "=" in word
    ]
    if given:
        from portbev.cli.habits import refuse_key

        for setting in given:
            refuse_key(setting)


def _unknown(name: str) -> PortbevError:
    """The error for a command that there is not, which may be the name of another project's tool."""
    from portbev.cli.habits import known_elsewhere

    there = known_elsewhere(name)
    cure = f"Here it is portbev {there}" if there else nearest(name, _COMMANDS)
    return PortbevError(f"unknown command {name!r}", cure=cure)


def _misused(error: Exception, arguments: list[str]) -> BaseException:
    """An error of Typer's about the command line as one of ours, with the command that tells more; others as they are.

    Its classes are Click's or Typer's own, by Typer's version: they are known by what they can do.
    """
    message = getattr(error, "format_message", None)
    if message is None:
        return error
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help())
        return SystemExit(2)
    said = " ".join(message().split()).rstrip(".?")
    command = "portbev" if context is None else context.command_path
    where = command.removeprefix("portbev").strip()
    if context is not None and (type(error).__name__ == "NoSuchOption" or "unexpected extra argument" in said):
        from portbev.cli.habits import translated

        has = [name for one in context.command.params for name in (*one.opts, *one.secondary_opts)]
        typed = where if arguments[: len(where.split())] == where.split() else arguments[0]  # submit asks train
        told = translated(typed, arguments[len(typed.split()) :], has, like=where)
        if told is not None:
            return told
    unknown = re.match(r"no such command '(.+?)'", said, re.IGNORECASE)
    if unknown:
        from portbev.cli.habits import known_elsewhere

        there = known_elsewhere(unknown[1])
        if there:
            return PortbevError(f"no such command '{unknown[1]}'", where=where, cure=f"Here it is portbev {there}")
    return PortbevError(f"{said[:1].lower()}{said[1:]}", where=where, cure=f"What there is: {command} --help")


def build_app(only: str | None = None) -> Any:
    """Typer application; with ``only``, the other commands are listed but not imported."""
    import typer

    from portbev.cli.listing import Listing

    app = typer.Typer(
        cls=Listing,
        name="portbev",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(invoke_without_command=True)
    def root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
        """What stands before every command."""
        if version:
            from portbev import __version__

            print(__version__)
            raise typer.Exit

    for name, (module, text) in _COMMANDS.items():
        if only == name or only not in _COMMANDS:
            importlib.import_module(module).register(app, name, text)
    return app
