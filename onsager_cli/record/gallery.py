"""The gallery: experiments/README.md, which shows every record, and CLAIMS.md beside it."""

import re
from pathlib import Path
from typing import Any

from onsager_cli.claims import claim as claims
from onsager_cli.claims import verify
from onsager_cli.claims.recorded import Record
from onsager_cli.store.files import atomic_write
from onsager_cli.store.tables import all_trainings, read_table, trainings
from onsager_cli.text import natural, render


def write_index(root: Path) -> Path:
    """Write ROOT/README.md, the gallery of every record under `root`, and CLAIMS.md if there are claims; the gallery's path.

    Raises UserError for a table or a claims file that cannot be read.
    """
    folders = sorted((path.parent for path in root.glob("*/README.md")), key=lambda path: natural(path.name))
    verdicts = ""
    if any(root.glob(f"*/{claims.FILE}")):
        tables = Record(root)
        found = [claims.judge(claim, tables) for claim in claims.load([root])]
        atomic_write(root / "CLAIMS.md", (verify.as_markdown(found) + "\n").encode())
        verdicts = verify.summary(found)
    entries = [_entry(folder) for folder in folders]
    trained = all_trainings(entry["trained"] for entry in entries)
    text = render("gallery.md.j2", entries=entries, trained=trained, verdicts=verdicts)
    atomic_write(root / "README.md", (text + "\n").encode())
    return root / "README.md"


def _entry(folder: Path) -> dict[str, Any]:
    """What the gallery shows of one record. Title, caption and machine are read from its page."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    blocks = [block for block in text.split("\n\n") if block.strip()]
    machine = re.search(r"^\| machine \| (.+) \|$", text, re.MULTILINE)
    tables = sorted(path.name for path in folder.glob("*.csv"))
    rows = read_table(folder / "curves.csv") if "curves.csv" in tables else []
    return {
        "folder": folder.name,
        "title": blocks[0].removeprefix("# ") if blocks and blocks[0].startswith("# ") else folder.name,
        "caption": next((block for block in blocks[1:] if not block.startswith(("!", "#", "|"))), ""),
        "drawn": (folder / f"{folder.name}.svg").is_file(),
        "tables": tables,
        "curves": len({row["curve"] for row in rows}),
        "trained": trainings(rows),
        "machine": machine[1] if machine else "",
    }
