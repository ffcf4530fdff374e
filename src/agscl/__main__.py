"""``python -m agscl``: the same as the ``agscl`` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
