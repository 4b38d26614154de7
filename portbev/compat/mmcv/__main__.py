"""``python -m portbev.compat.mmcv script.py``: runs a script with portbev's operators under mmcv's names."""

from __future__ import annotations

import argparse
import os
import runpy
import sys

from portbev.autoload import no_autoload
from portbev.errors import PortbevError

_CALL = "python -m portbev.compat.mmcv [options]"
_USE = f"{_CALL} SCRIPT [arguments]\n       {_CALL} -m MODULE [arguments]"
_EXAMPLE = """example:
  python -m portbev.compat.mmcv --emulate npu tools/train.py configs/my_detector.py --work-dir out
  torchrun --nproc-per-node 2 -m portbev.compat.mmcv tools/train.py configs/my_detector.py --launcher pytorch

Options stand before the script; what follows it is the script's. docs/compat-mmcv.md says what is covered."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m portbev.compat.mmcv",
        usage=_USE,
        description="Run a script whose mmcv.ops are served by portbev: no file is edited.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    kinds = ("import", "call")
    parser.add_argument("-m", dest="module", metavar="MODULE", nargs=argparse.REMAINDER, help="run a module")
    parser.add_argument("--uncovered", choices=kinds, default="import", help="where other operators are refused")
    parser.add_argument("--standalone", action="store_true", help="leave an installed mmcv aside")
    parser.add_argument("--mmcv-version", default="2.1.0", help="what mmcv.__version__ says where no mmcv is used")
    parser.add_argument("--emulate", metavar="BACKEND", help="install the emulated device of this name first")
    parser.add_argument("--report", action="store_true", help="say at the end which kernels served, how often")
    parser.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT ...", help="script and its arguments")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Exit status 2: an error that the user can mend; else the script's."""
    options = _parser().parse_args(arguments)
    words = options.module or options.script
    try:
        if not words:
            raise PortbevError("a script is needed", cure="python -m portbev.compat.mmcv script.py; --help says more")
        if not options.module and not os.path.exists(words[0]):
            raise PortbevError("no such script", where=words[0], cure="Options of this command stand before the script")
        _prepare(options)
    except PortbevError as error:
        print(f"portbev.compat.mmcv: {error}", file=sys.stderr)
        return error.exit_code
    try:
        _run(words, as_module=bool(options.module))
    finally:
        if options.report:
            _report()
    return 0


def _prepare(options: argparse.Namespace) -> None:
    from portbev.compat.mmcv.install import install

    if options.emulate:
        with no_autoload():
            from portbev.runtime import find_backend

            find_backend(options.emulate, emulate=True)
    done = install(uncovered=options.uncovered, standalone=options.standalone, version=options.mmcv_version)
    if os.environ.get("RANK", "0") == "0":
        print(f"portbev.compat.mmcv: {done}", file=sys.stderr)


def _run(words: list[str], *, as_module: bool) -> None:
    sys.argv[:] = words
    if as_module:
        sys.path.insert(0, os.getcwd())
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        return
    sys.path[0] = os.path.dirname(os.path.abspath(words[0]))  # what Python puts there for a script
    runpy.run_path(words[0], run_name="__main__")


def _report() -> None:
    from portbev.kernels import KERNELS

    for operator, page in KERNELS.ledger.snapshot().items():
        served = [f"{way} by {who} {n} times" for way in ("forward", "backward") for who, n in page[way].items()]
        if served:
            print(f"portbev.compat.mmcv: {operator}: {', '.join(served)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
