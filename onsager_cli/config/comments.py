"""What the comments in conf/ say of the config keys: meaning, unit and default of each, by option. No YAML is parsed.

A comment stands behind its key, in the comment lines that follow it at the depth of comments, or in those just above it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from onsager_cli.config import catalog
from onsager_cli.store.files import LARGEST_TEXT, below, is_file, read_bytes
from onsager_cli.text import natural

DEEP = 12  # columns from which on a comment line continues the one behind a key
# Title, the file or folder in conf/, and the prefix of its keys.
GROUPS = (
    ("General", "config.yaml", ""), ("Problems", "problem", "problem."), ("Signals", "signal", "signal."),
    ("Networks", "network", "network."), ("Shrinkages", "shrinkage", "shrinkage."),
    ("Schedules", "training", "training."), ("Launchers of `onsager sweep`", "hydra/launcher", "hydra.launcher."),
)  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A key as a config file has it: its dotted name, its value as written, its comment, and the option of the file."""

    name: str
    value: str
    comment: str
    option: str = ""


def in_file(path: Path) -> list[Key]:
    """The keys of a YAML file of conf/ with their comments, in the order of the file."""
    return _in_text(_text(path), "")


def _text(path: Path) -> str:
    return read_bytes(path, LARGEST_TEXT).decode("utf-8-sig", "replace")


def _in_text(text: str, prefix: str) -> list[Key]:
    """As `in_file`, with a prefix of the names."""
    found: list[Key] = []
    stack: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        if match := re.fullmatch(r"(\s*)# ?(.*)", line):
            if len(match[1]) > DEEP and found:
                found[-1] = replace(found[-1], comment=f"{found[-1].comment} {match[2].strip()}".strip())
            elif not re.match(r"@package|title:|also:", match[2]):
                above.append(match[2].strip())
            continue
        match = re.fullmatch(r"(\s*)([A-Za-z_]\w*):(?: +(.*))?", line)
        if not match:
            above = []
            continue
        indent, name, rest = len(match[1]), match[2], match[3] or ""
        value, comment = _split(rest)
        while stack and stack[-1][0] >= indent:
            stack.pop()
        full = ".".join([*(one for _, one in stack), name])
        if value or not rest:
            found.append(Key(f"{prefix}{full}", value, comment or " ".join(above)))
        if not value:
            stack.append((indent, name))
        above = []
    return [key for key in found if key.value or key.comment]


def _split(text: str) -> tuple[str, str]:
    """Value and comment of what follows `key:`; a # within quotes or brackets belongs to the value."""
    match = re.match(r"((?:[^#'\"]|'[^']*'|\"[^\"]*\"|(?<=\S)#)*?)\s*(?:(?:^|\s)#\s?(.*))?$", text)
    assert match is not None
    return match[1].strip(), (match[2] or "").strip()


def of_group(place: str, prefix: str) -> tuple[list[Key], int]:
    """The keys of a file or folder of GROUPS, the user's ./conf included, and how many options it has."""
    roots = [root for root in (catalog.package_conf(), catalog.user_conf()) if root]
    files = [root / place for root in roots if is_file(root / place)] or sorted(
        (path for root in roots for path in below(root / place, "*.yaml")), key=lambda path: natural(path.name)
    )
    return [replace(key, option=path.stem) for path in files for key in _of_option(path, prefix)], len(files)


def _of_option(path: Path, prefix: str) -> Iterator[Key]:
    """The keys of an option, with their group, and without those of Hydra, the name of the option and its kind."""
    text = _text(path)
    whole = "@package _global_" in text or not prefix
    for key in _in_text(text, "" if whole else prefix):
        outside = whole and prefix and not key.name.startswith(prefix)
        if (key.name.startswith(("defaults", "hydra.")) and not prefix.startswith("hydra")) or outside:
            continue
        if key.name.endswith((".kind", ".name", ".family")) and not key.comment:
            continue
        yield key


def of_all() -> list[Key]:
    """The keys of all groups, with those of the schedules that options of networks have."""
    found = [key for _, place, prefix in GROUPS for key in of_group(place, prefix)[0]]
    return found + [key for key in of_group("network", "training.")[0] if key.name.count(".") == 2]
