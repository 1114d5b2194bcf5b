"""`onsager completion`: the words that can follow on a command line, and the scripts through which shells ask for them.

A shell calls `onsager completion --words LINE` with the line up to the cursor. The answer is one whole word per line.
It comes from the parser of the command and from the files in conf/, without Hydra and JAX.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from onsager_cli.cli.options import Parser
from onsager_cli.cli.verbs import VERBS, fill
from onsager_cli.config import catalog, comments, launchers
from onsager_cli.config.names import DRAWN, NAMED_BY_SLUG
from onsager_cli.errors import UserError
from onsager_cli.text import one_of

SHELLS = ("bash", "zsh", "fish")
Tree = dict[str, Any]
"""A config file: key → value, or the tree below the key."""


def add_options(parser: Parser) -> None:
    """Add the options of `onsager completion`."""
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="the shell to print the script for")
    parser.add_argument("--words", metavar="LINE", help=argparse.SUPPRESS)  # for the scripts


def main(options: argparse.Namespace) -> int:
    """Print the script of a shell, or (for that script) the words that can follow."""
    if options.words is not None:
        print("\n".join(candidates(options.words)))
    elif options.shell is None:
        raise UserError(f"completion needs the name of a shell: {one_of(SHELLS)}")
    else:
        print(script(options.shell), end="")
    return 0


def script(shell: str) -> str:
    """The completion script of a shell."""
    return Path(__file__).with_name(f"completion.{shell}").read_text(encoding="utf-8")


def candidates(line: str) -> list[str]:
    """The whole words that can stand where `line` ends; [] if nothing fits or ./conf is broken."""
    words = line.split()
    current = "" if not words or line[-1:].isspace() else words.pop()
    try:
        return [word for word in _next(words[1:], current) if word.startswith(current)]
    except (UserError, OSError):
        return []


def _next(given: list[str], current: str) -> Iterable[str]:
    """The words that may follow `given`, the words after `onsager`; not all of them begin with `current`."""
    if not given:
        return [*VERBS, "--help", "--version"] if current[:1] == "-" else VERBS
    verb, *words = given
    if verb not in VERBS:
        return []
    parser = fill(Parser(f"onsager {verb}", add_help=True), verb)
    if current.startswith("-"):
        return parser.option_words()
    if words and (values := parser.choices_of(words[-1])):
        return values
    if verb == "data":
        from onsager_cli.cli.data import OURS, SAMPLES

        return [
            f"{SAMPLES}=",
            *(word for word in _overrides(words, current) if re.split(r"[=.]", word)[0].lstrip("+") in OURS),
        ]
    if VERBS[verb].overrides:
        return [*_overrides(words, current), *(_of_launcher(words, current) if verb == "sweep" else ())]
    if verb == "list":
        return ["output="] if catalog.RUNS in words else [*catalog.SECTIONS, catalog.KEYS, catalog.RUNS]
    if verb == "explain":
        return list(dict.fromkeys(key.name for key in comments.of_all()))
    if verb == "clean":
        return ["--yes", "output="]
    return _claims() if verb == "verify" else parser.choices_of(None)


def _claims() -> list[str]:
    """The published claims and the experiments that they are about."""
    from onsager_cli.claims.claim import load
    from onsager_cli.claims.verify import FOLDER

    claims = load([FOLDER], {})
    experiments = {name for claim in claims for name in claim.experiments()}
    return list(dict.fromkeys([*sorted(experiments, key=catalog.figures_first), *(claim.id for claim in claims)]))


def _overrides(given: list[str], current: str) -> list[str]:
    """The overrides that may follow the overrides `given`; `current` is the one that the user has begun."""
    key, equals, value = current.partition("=")
    chosen = {key.lstrip("+"): value for key, _, value in (item.partition("=") for item in given)}
    experiment = _option("experiment", chosen.get("experiment", ""))
    if equals:
        # In a list (only=[oracle,am) and in a sweep (problem=gaussian,ka) only the last value is incomplete.
        done = value[: max(value.rfind(","), value.find("[")) + 1]
        end = "]" if done[:1] == "[" else ""
        taken = done.lstrip("[").split(",")
        return [f"{key}={done}{word}{end}" for word in _values(key.lstrip("+"), experiment) if word not in taken]
    # The curves of an experiment set what their names tell. The plus before `experiment` may be left out.
    hidden = {*chosen, *(NAMED_BY_SLUG if experiment else ())}
    keys = [*catalog.GROUPS, *_keys(chosen, experiment)]
    plus = "" if current.startswith("experiment") else "+"
    return [f"{plus}{key}=" if key == "experiment" else f"{key}=" for key in dict.fromkeys(keys) if key not in hidden]


def _of_launcher(given: list[str], current: str) -> list[str]:
    """The overrides by which a sweep chooses its launcher, and sets a key of the one that is chosen."""
    chosen = {key: value for key, _, value in (item.partition("=") for item in given)}
    if "=" in current:
        return [f"{launchers.GROUP}={name}" for name in launchers.options()]
    tree = _option(launchers.GROUP, chosen.get(launchers.GROUP, ""))
    keys = [launchers.GROUP, *(f"hydra.launcher.{key}" for key in tree if key not in ("defaults", "kind"))]
    return [f"{key}=" for key in keys if key not in chosen]


def _keys(chosen: dict[str, str], experiment: Tree) -> Iterator[str]:
    """Dotted keys of the primary config and of the options that are chosen, by the user, the curves or default."""
    top = _read(catalog.package_conf() / "config.yaml")
    defaults = {**_defaults(top), **_defaults(experiment)}
    yield from (key for key in _flat(top) if key.split(".")[0] not in ("defaults", "hydra", "curves", "figure"))
    for group in catalog.GROUPS[1:]:  # the experiment, which comes first, has no keys
        options = [chosen[group]] if chosen.get(group) else []
        for line in [] if options else _curves(experiment).values() or [""]:
            named = re.search(rf"(?:^|\s){group}=(\S+)", str(line))
            options.append(named[1] if named else defaults.get(group, ""))
        for option in dict.fromkeys(options):
            for tree in _with_bases(group, option):
                tree = tree.get(group, tree)  # of a global package: the part below the group
                yield from (
                    f"{group}.{key}" for key in _flat(tree) if key not in ("defaults", "kind", "name", "family")
                )


def _option(group: str, name: str) -> Tree:
    """The file of an option; {} if there is none."""
    path = catalog.config_files(group).get(name)
    return {} if path is None else _read(path)


def _with_bases(group: str, name: str, above: tuple[str, ...] = ()) -> Iterator[Tree]:
    """The file of an option, after those of its group that it is based on; `above` are based on it themselves."""
    tree = _option(group, name)
    for entry in _listed(tree):
        if isinstance(entry, str) and entry not in ("_self_", name, *above):
            yield from _with_bases(group, entry, (*above, name))
    yield tree


def _listed(tree: Tree) -> list[object]:
    """The defaults list of a config; empty if the file has none, or something else there."""
    return found if isinstance(found := tree.get("defaults"), list) else []


def _defaults(tree: Tree) -> dict[str, str]:
    """The options that a config chooses in its defaults list, by group."""
    entries = [item for entry in _listed(tree) if isinstance(entry, dict) for item in entry.items()]
    return {str(key).removeprefix("override").strip(" /"): str(value) for key, value in entries}


def _curves(experiment: Tree) -> Tree:
    """The curves of an experiment: name → overrides."""
    listed = experiment.get("curves")
    return listed if isinstance(listed, dict) else {}


def _flat(tree: Tree) -> Iterator[str]:
    """Dotted names of the leaves of a nested mapping."""
    for key, value in tree.items():
        inner = _flat(value) if isinstance(value, dict) else ()
        yield from [f"{key}.{name}" for name in inner] or [str(key)]


def _read(path: Path) -> Tree:
    """A YAML file as a mapping; {} if it holds something else."""
    from onsager_cli.store.yaml_files import read_yaml

    try:
        tree = read_yaml(path)
    except UserError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _values(key: str, experiment: Tree) -> list[str]:
    """What a key can be: options of a group, curves of the experiment, or words that the config class allows."""
    if key in catalog.GROUPS:
        return list(catalog.config_files(key))
    if key == "only":
        curves = _curves(experiment)
        return [*map(str, curves), DRAWN] if curves else []
    from onsager_cli.config.keys import fields_of

    return list(dict.fromkeys(word for field in fields_of(key) for word in field.metadata.get("choices", ())))
