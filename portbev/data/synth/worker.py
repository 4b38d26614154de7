"""A worker process: reads scene numbers on stdin, answers ``done`` for each. May import: generate, options, errors."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from portbev.data.synth.generate import write_scene
from portbev.data.synth.options import from_dict
from portbev.errors import PortbevError


def main(folder: str, options: str) -> None:
    """Serve until stdin ends."""
    chosen = from_dict(json.loads(options))
    for line in sys.stdin:
        try:
            write_scene(Path(folder), chosen, int(line))
        except (OSError, PortbevError) as error:
            print(str(error).replace("\n", " "), flush=True)
            sys.exit(2)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)
            raise
        print("done", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2])
    except KeyboardInterrupt:
        sys.exit(130)
