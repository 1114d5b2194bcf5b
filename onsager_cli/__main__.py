"""`python -m onsager_cli` is the command `onsager`."""

import sys

from onsager_cli.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
