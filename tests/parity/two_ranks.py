"""One of two processes, started by torchrun: dumps of a clean step, and of one with each fault that takes two."""

from __future__ import annotations

import sys
from pathlib import Path

from faults import FAULTS, planted

from portbev import comm as comms
from portbev.recording.dump import Plan, dump
from portbev.recording.step import read_source
from portbev.runtime import activate


def main(out: Path, names: list[str]) -> None:
    source = read_source(FAULTS[names[0]].config, [])
    with comms.join(activate("cpu")):
        dump(source, out / "clean", backend="cpu")
        for name in names:
            fault = FAULTS[name]
            with planted(fault):
                dump(source, out / name, Plan(bands=False), backend="faulty")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
