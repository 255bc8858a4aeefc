"""`python -m geosync` is the command `geosync`."""

import sys

from geosync.cli import main

if __name__ == "__main__":
    sys.exit(main())
