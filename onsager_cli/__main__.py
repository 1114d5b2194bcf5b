"""`python -m onsager_cli` is the command `onsager`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts the working directory first. A file there named as a library (random.py) is none of onsager's.
    if not sys.flags.safe_path and Path(sys.path[0]) != Path(__file__).parents[1]:
        del sys.path[0]

    from onsager_cli.cli.main import main

    sys.exit(main())
