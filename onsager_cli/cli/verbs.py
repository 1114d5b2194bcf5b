"""The verbs of the command and its one parser. A verb's module is imported only when its options are needed.

The module of a verb has `main(options)`, which does the work and returns the exit code. If the verb has options,
`add_options(parser)` adds them. The texts of the help are in verbs.toml.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from onsager_cli import __version__
from onsager_cli.cli.options import Parser
from onsager_cli.text import wrapped


@dataclass(frozen=True)
class Verb:
    """One word after `onsager`: what it does in a line, more help, its module.

    `overrides`: it takes overrides. `prints`: it only prints, so that it ends when its reader leaves.
    """

    summary: str
    description: str
    module: str
    overrides: bool = False
    prints: bool = False


TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
VERBS = {name: Verb(**{"module": name, **texts}) for name, texts in TEXTS["verbs"].items()}


def prints(arguments: Sequence[str]) -> bool:
    """Whether a command line only prints: help, or a verb that writes no file."""
    verb = VERBS.get(next((word for word in arguments if word in VERBS), ""))
    return verb is None or verb.prints or not {"-h", "--help", "help"}.isdisjoint(arguments)


def instead_of_verb(word: str) -> str | None:
    """What to write where a first word, which is no verb, means something; None for any other word."""
    if word in VERBS or word in ("--version", "-V"):
        return None
    # Imported here: no other verb needs it to begin.
    from onsager_cli.config import catalog

    if word.startswith("-") or "=" in word:
        return f"the verb comes first: onsager train {word}"
    if word in (*catalog.SECTIONS, "runs"):
        return f"did you mean `onsager list {word}`?"
    if word in catalog.config_files("experiment"):
        return f"did you mean `onsager train +experiment={word}`?"
    return None


def parser(chosen: str | None = None) -> Parser:
    """The parser of the whole command, with the options of the verb `chosen`; of the other verbs it has the names."""
    made = Parser("onsager")
    made.add_argument("--version", "-V", action="version", version=f"onsager {__version__}")
    verbs = made.add_subparsers(metavar="verb", prog="onsager")
    for name in VERBS:
        one = verbs.add_parser(name, add_help=True)
        if name == chosen:
            fill(one, name)
    return made


def fill(empty: Parser, name: str) -> Parser:
    """Add the description and the options of a verb to its parser; return the parser."""
    verb = VERBS[name]
    module = import_module(f"onsager_cli.cli.{verb.module}")
    empty.description = f"{verb.summary[0].upper()}{verb.summary[1:]}.\n\n{wrapped(verb.description)}"
    if hasattr(module, "add_options"):
        module.add_options(empty)
    if verb.overrides:  # behind the words that a verb takes beside
        empty.epilog = wrapped(TEXTS["overrides"])
        empty.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="such as problem=kappa15")
    empty.set_defaults(main=module.main)
    return empty


def overview() -> str:
    """The text of `onsager` alone."""
    title = "onsager: learned sparse recovery (LISTA, LAMP, LVAMP)"
    lines = [f"  onsager {name:<11} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [title, "", *lines, "", TEXTS["examples"], "", "onsager VERB --help explains a verb; onsager --version."]
    )
