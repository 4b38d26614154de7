"""``python -m portbev`` is ``portbev``: torchrun starts it this way."""

import sys

from portbev.cli import main

sys.exit(main())
