"""`python -m moesim` is the `moesim` command."""

from __future__ import annotations

import sys

from moesim.cli import main

if __name__ == "__main__":
    sys.exit(main())
