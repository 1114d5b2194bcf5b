"""The command of the campaigns."""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from .processes import warm
from .tally import Plan, Tally

LONG = {"kill": 1000, "corruption": 4000, "concurrency": 60, "disk": 1800, "fuzz": 10_000}
"""Campaign → tries of its long form."""


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.attack", description=__doc__)
    parser.add_argument("campaign", choices=(*LONG, "all"))
    parser.add_argument("--tries", type=int, help=f"how many (default {LONG})")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after so many seconds")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other cases")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument(
        "--only", default="", help="names of rows of the table, with commas: these commands or files alone"
    )
    parser.add_argument("--folder", type=Path, help="scratch folder (default: a temporary one)")
    options = parser.parse_args()
    if options.campaign == "all":
        words = [word for word in sys.argv[1:] if word != "all"]
        return max(subprocess.call([sys.executable, "-m", "tests.attack", name, *words]) for name in LONG)
    with tempfile.TemporaryDirectory(prefix="onsager-attack-") as temporary:
        folder = Path(options.folder or temporary).resolve() / options.campaign
        folder.mkdir(parents=True, exist_ok=True)
        only = frozenset(name.strip() for name in options.only.split(",") if name)
        tries = options.tries or LONG[options.campaign]
        plan = Plan(options.campaign, tries, options.seconds, options.seed, options.first, folder, only)
        warm(folder.parent)
        tally = Tally(plan)
        try:
            import_module(f".{options.campaign}", __package__).main(plan, tally)
        except KeyboardInterrupt:
            tally.notes.append("stopped")
        finally:
            print(tally.text(), flush=True)
    return int(tally.failed > 0)


if __name__ == "__main__":
    sys.exit(main())
