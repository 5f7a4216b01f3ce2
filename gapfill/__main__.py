"""`python -m gapfill` is the console command."""

import sys

from gapfill.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
