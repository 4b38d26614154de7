"""``python -m portbev`` is ``portbev``: torchrun starts it this way."""

import sys

from portbev.cli import main

if __name__ == "__main__":
    sys.exit(main())
