"""Writes frozen.json: what a change of the code's places must leave as it is.

    python tests/frozen.py

Run it only where identities, verdicts or recorded tables are meant to change, and say why in the commit.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onsager_cli.claims.verify import as_json, verify
from onsager_cli.config import catalog
from onsager_cli.config.load import load_experiment
from onsager_cli.store.curves import identity_hash
from onsager_cli.store.tables import read_table, table_bytes

ROOT = Path(__file__).parents[1]
FILE = Path(__file__).with_suffix(".json")


def curves(names: Iterable[str] | None = None) -> dict[str, str]:
    """`experiment/slug/seed` → label and hash of its folder, then the hash of the tied network that it is compared with.

    `names` are experiments; by default all of them.
    """
    found = {}
    for name in catalog.config_files("experiment") if names is None else names:
        for part in load_experiment([f"+experiment={name}", "seeds=null"]).parts:
            for curve in part.curves:
                words = [curve.label, identity_hash(curve.identity)]
                words += [identity_hash(curve.twin.identity)] if curve.twin else []
                found[f"{name}/{part.name}/{curve.slug}/{curve.settings.seed}"] = " ".join(words)
    return found


def tables() -> dict[str, str]:
    """Every recorded curves.csv → the SHA-256 of its rows, read and written again."""
    paths = sorted((ROOT / "experiments").glob("*/curves.csv"))
    return {p.parent.name: hashlib.sha256(table_bytes(read_table(p))).hexdigest() for p in paths}


def verdicts() -> dict[str, Any]:
    """`onsager verify --json` on the record, wherever the checkout is."""
    text = json.dumps(as_json(verify(ROOT / "experiments")))
    return json.loads(text.replace(json.dumps(str(ROOT))[1:-1] + os.sep, ""))


def everything() -> dict[str, Any]:
    """All of it as plain JSON."""
    return json.loads(json.dumps({"curves": curves(), "tables": tables(), "verdicts": verdicts()}))


if __name__ == "__main__":
    FILE.write_text(json.dumps(everything(), indent=1, ensure_ascii=False) + "\n")
