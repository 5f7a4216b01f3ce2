"""`python -m gapfill.compare`."""

import sys

from gapfill.compare.command import main

if __name__ == "__main__":
    sys.exit(main())
