"""`onsager explain KEY` and `onsager list keys`: what a config key means, its defaults, and what it may be."""

from argparse import Namespace
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from onsager_cli.cli.options import Parser
from onsager_cli.config import catalog, comments
from onsager_cli.config.comments import Key
from onsager_cli.config.keys import allowed
from onsager_cli.errors import UserError
from onsager_cli.store.tables import grouped
from onsager_cli.text import did_you_mean, hung, one_of, printable_lines, show, terminal_width

NAMED = 6  # options that are named for a value
SCHEDULE = "training.NETWORK."  # how keys of schedules are called where the network does not matter


def add_options(parser: Parser) -> None:
    """Add the options of `onsager explain`."""
    parser.add_argument(
        "words",
        nargs="+",
        metavar="KEY",
        help="a key (network.depth), its last word (depth), a group (plot), or an option (network=lamp)",
    )


def main(options: Namespace) -> int:
    """Print the explanation of each word."""
    print(printable_lines("\n\n".join(map(explained, options.words))))
    return 0


def explained(word: str) -> str:
    """What a key means; of a group, or of an option such as network=lamp, its keys. Raises UserError for another word."""
    name, equals, value = word.lstrip("+~").partition("=")
    raw = comments.of_all()
    every = _schedules(raw)
    known = list(dict.fromkeys(key.name for key in every))
    if own := [key for key in raw if key.name == name and name not in known]:  # of the schedule of one network
        said = {key.name.rpartition(".")[2]: key.comment for key in reversed(every) if key.name.startswith(SCHEDULE)}
        return _key(name, [replace(key, comment=key.comment or said[name.rpartition(".")[2]]) for key in own])
    if equals and name in catalog.GROUPS:
        return _option(name, value, every)
    if name in known:
        return _key(name, [key for key in every if key.name == name])
    if inside := [key for key in every if key.name.startswith(f"{name}.")]:
        return _table(inside)
    if alike := [key for key in known if key.rpartition(".")[2] == name]:
        return "\n\n".join(_key(one, [key for key in every if key.name == one]) for one in alike)
    last = {key.rpartition(".")[2]: key for key in known}
    near = did_you_mean(name, known) or did_you_mean(name.rpartition(".")[2], last)
    raise UserError(f"unknown key {show(name)}{near}: onsager list keys prints all keys")


def listed(words: Sequence[str]) -> str:
    """A line for each key, or for those of the groups that are named. Raises UserError for a group that there is not."""
    every = _schedules(comments.of_all())
    groups = list(dict.fromkeys(key.name.partition(".")[0] for key in every if "." in key.name))
    for word in words:
        if word not in groups:
            raise UserError(f"unknown group of keys {show(word)}{did_you_mean(word, groups)}: {one_of(groups)}")
    return _table([key for key in every if not words or key.name.partition(".")[0] in words])


def _schedules(every: Iterable[Key]) -> list[Key]:
    """The keys, where training.NETWORK.steps stands for the steps in the schedule of every network."""
    found = []
    # The comments of training=fast are the fullest.
    for key in sorted(every, key=lambda key: key.name.startswith("training.") and key.option != "fast"):
        parts = key.name.split(".")
        if parts[0] == "training" and len(parts) == 3:
            key = Key(f"{SCHEDULE}{parts[2]}", "", key.comment, f"{key.option} ({parts[1]})")
            if not key.comment:
                continue
        elif parts[0] == "training" and not key.value:  # the section of a network
            continue
        found.append(key)
    return found


def _option(group: str, name: str, every: Iterable[Key]) -> str:
    """The title of an option, and its keys. Raises UserError for an unknown one."""
    if name not in (files := catalog.config_files(group)):
        raise catalog.unknown(group, name)
    sign = "+" if group == "experiment" else ""
    own = [key for key in every if key.option == name and key.name.startswith(f"{group}.")]
    head = f"{sign}{group}={name}: {catalog.title(files[name])}"
    return "\n".join([head, _table(own)] if own else [head])


def _key(name: str, found: Sequence[Key]) -> str:
    """One key: each meaning with its defaults, then what is allowed."""
    everywhere = {key.option for key in found}
    lines = [name]
    for meaning, of in grouped((key.comment, key) for key in found).items():
        lines += _filled(meaning or "(no comment in conf/)", "  ")
        for value, those in grouped((key.value, key.option) for key in of if key.value).items():
            where = "" if set(those) == everywhere else f" in {_few(dict.fromkeys(those))}"
            lines += _filled(f"{value}{where}", "  ", "default   ")
    choices = allowed(name)
    for words, kinds in choices.items():
        where = f" (kind {_few(dict.fromkeys(kinds))})" if len(choices) > 1 else ""
        lines += _filled(f"{words}{where}", "  ", "allowed   ")
    return "\n".join(lines)


def _few(options: Collection[str]) -> str:
    """Some of the options."""
    some = list(options)[:NAMED]
    return ", ".join(some) + (f" and {len(options) - NAMED} more" if len(options) > NAMED else "")


def _table(keys: Sequence[Key]) -> str:
    """A line for each key with its default and its meaning, once."""
    rows: dict[str, Key] = {}
    for key in keys:
        if key.name not in rows or (key.comment and not rows[key.name].comment):
            rows[key.name] = key
    width = max(map(len, rows))
    lines = []
    for name, key in rows.items():
        default = f"[{key.value if len(key.value) <= 20 else key.value[:19] + '…'}] " if key.value else ""
        lines += _filled(f"{default}{key.comment}", "", f"{name:<{width}}  ")
    return "\n".join(lines)


def _filled(text: str, indent: str, label: str = "") -> list[str]:
    """Lines as wide as the terminal, behind a label; one line where the output is no terminal."""
    return hung(text, indent + label, terminal_width())
