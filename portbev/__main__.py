"""``python -m portbev`` is ``portbev``: torchrun starts it this way."""

import os
import sys

from portbev.cli import main

if __name__ == "__main__":
    status = main()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        # A process group's threads may still wait for Python's lock: torch ends a process that takes it away from them.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)
