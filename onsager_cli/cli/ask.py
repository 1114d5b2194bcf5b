"""Ask the user before something is lost."""

import sys
from collections.abc import Callable
from pathlib import Path

from onsager_cli.errors import UserError


def replacing(verb: str, force: bool) -> Callable[[Path], bool]:
    """A function that says whether a file which onsager did not write may be replaced: with --force, or after a yes."""

    def ask(path: Path) -> bool:
        how = f"{verb}: onsager did not write {path}: move it away, or add --force"
        return force or confirmed(f"onsager did not write {path}. Replace it? [y/N] ", how)

    return ask


def confirmed(question: str, otherwise: str) -> bool:
    """Whether the user answers yes. Raises UserError with the text `otherwise` if no terminal is there to answer."""
    if not sys.stdin.isatty():
        raise UserError(otherwise)
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False
