"""Shell completion: the words that can follow on a command line, and the scripts that ask for them.

The shells call `onsager completion --words LINE` with the line up to the cursor and get whole words back, one
per line. Answers come from the config tree alone; neither Hydra nor JAX is imported.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from onsager_cli.config import catalog
from onsager_cli.config import settings as schema
from onsager_cli.config.figure import FigureSpec, PlotSpec
from onsager_cli.config.load import NAMED_BY_SLUG
from onsager_cli.config.names import DRAWN
from onsager_cli.config.settings_cellular import Channel
from onsager_cli.errors import UserError

OVERRIDE_VERBS = ("train", "sweep", "plot", "record")
OPTIONS = {
    "train": ("--cfg", "--resolve"),
    "verify": ("--folder", "--json", "--markdown", "--vocabulary"),
    "report": ("--folder", "--output"),
    "clean": ("--yes",),
    "bench": ("--network", "--depth", "--batch", "--seconds", "--override", "--quality", "--seed", "--json"),
}
# Part of the config, "" for its top → the classes whose fields say what its keys can be.
CLASSES = {
    "": (schema.Top,),
    "problem": (schema.Problem, schema.Cellular),
    "problem.channel": (Channel,),
    "network": (schema.Network,),
    "training": (schema.FastTraining,),
    "figure": (FigureSpec,),
    "plot": (PlotSpec,),
}

SCRIPTS = {
    "bash": r"""# bash completion of onsager
_onsager() {
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local IFS=$'\n'
    local -a words
    words=($(onsager completion --words "$line" 2>/dev/null))
    # Readline splits words at '=' and ':' and wants back only what comes after the last of them.
    local before=""
    [[ $word == *[=:]* ]] && before=${word%"${word##*[=:]}"}
    COMPREPLY=("${words[@]#"$before"}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _onsager onsager
""",
    "zsh": r"""#compdef onsager
# zsh completion of onsager
_onsager() {
    local -a words_found open closed
    words_found=("${(@f)$(onsager completion --words "$LBUFFER" 2>/dev/null)}")
    open=(${(M)words_found:#*[=.]})
    closed=(${words_found:#*[=.]})
    (( $#open )) && compadd -Q -S '' -- $open
    (( $#closed )) && compadd -Q -- $closed
}
if [ "$funcstack[1]" = "_onsager" ]; then
    _onsager
else
    compdef _onsager onsager
fi
""",
    "fish": r"""# fish completion of onsager
complete -c onsager -f -a '(onsager completion --words (commandline -cp | string collect) 2>/dev/null)'
""",
}


def candidates(line: str) -> list[str]:
    """The words that can stand where `line` ends, whole; [] if nothing fits or ./conf is broken."""
    words = line.split()
    current = "" if not words or line[-1:].isspace() else words.pop()
    from onsager_cli.cli.main import VERBS

    try:
        if len(words) < 2:
            found: Iterable[str] = [*VERBS, "--help", "--version"] if current[:1] == "-" else VERBS
        elif current.startswith("-"):
            found = ["--help", *OPTIONS.get(words[1], ())]
        elif words[1] in OVERRIDE_VERBS:
            found = _overrides(words[2:], current)
        elif words[1] == "list":
            found = ["output="] if "runs" in words else [*catalog.SECTIONS, "runs"]
        elif words[1] == "clean":
            found = ["--yes", "output="]
        elif words[1] == "completion":
            found = SCRIPTS
        elif words[1] == "verify":
            found = _claims()
        else:
            found = []
    except (UserError, OSError):
        return []
    return [word for word in found if word.startswith(current)]


def _claims() -> list[str]:
    """Ids of the published claims and the experiments that they are about."""
    from onsager_cli.claims.claim import load
    from onsager_cli.claims.verify import FOLDER

    claims = load([FOLDER])
    experiments = {name for claim in claims for name in claim.experiments()}
    return list(
        dict.fromkeys([*sorted(experiments, key=catalog.figures_first), *(claim.id for claim in claims)])
    )


def _overrides(given: list[str], current: str) -> list[str]:
    """Overrides that can stand in place of `current`, after the overrides `given`."""
    key, equals, value = current.partition("=")
    chosen = {key.lstrip("+"): value for key, _, value in (item.partition("=") for item in given)}
    experiment = _option("experiment", chosen.get("experiment", ""))
    if equals:
        # Of a list (only=[oracle,am), and in a sweep, alternatives follow each other: problem=gaussian,ka
        done = value[: max(value.rfind(","), value.find("[")) + 1]
        end = "]" if done[:1] == "[" else ""
        taken = done.lstrip("[").split(",")
        return [
            f"{key}={done}{word}{end}" for word in _values(key.lstrip("+"), experiment) if word not in taken
        ]
    groups = ["+experiment" if group == "experiment" else group for group in catalog.GROUPS]
    keys = [*groups, *_keys(chosen, experiment)]
    if experiment:  # its curves are what they are
        keys = [key for key in keys if key not in NAMED_BY_SLUG]
    if current.startswith("experiment"):  # works without the plus too
        keys.append("experiment")
    return [f"{key}=" for key in dict.fromkeys(keys) if key.lstrip("+") not in chosen]


def _keys(chosen: dict[str, str], experiment: dict) -> list[str]:
    """Dotted keys of the primary config and of the options that are chosen, those of the curves, or default."""
    top = _read(catalog.package_conf() / "config.yaml")
    defaults = {**_defaults(top), **_defaults(experiment)}
    keys = [key for key in _flat(top) if key.split(".")[0] not in ("defaults", "hydra", "curves", "figure")]
    for group in catalog.GROUPS:
        if group == "experiment":
            continue
        options = [chosen[group]] if chosen.get(group) else []
        for line in [] if options else _curves(experiment).values() or [""]:
            named = re.search(rf"(?:^|\s){group}=(\S+)", str(line))
            options.append(named[1] if named else defaults.get(group, ""))
        for option in dict.fromkeys(options):
            tree = _option(group, option)
            tree = tree.get(group, tree)  # of a global package: the part below the group
            keys += [
                f"{group}.{key}" for key in _flat(tree) if key not in ("defaults", "kind", "name", "family")
            ]
    return keys


def _option(group: str, name: str) -> dict:
    """The file of an option; {} if there is none."""
    path = catalog.config_files(group).get(name)
    return {} if path is None else _read(path)


def _defaults(tree: dict) -> dict[str, str]:
    """The options that a config chooses in its defaults list, by group."""
    entries = [entry for entry in tree.get("defaults") or () if isinstance(entry, dict)]
    return {
        str(key).removeprefix("override").strip(" /"): str(value)
        for entry in entries
        for key, value in entry.items()
    }


def _curves(experiment: dict) -> dict:
    """Name of a curve → overrides."""
    listed = experiment.get("curves")
    return listed if isinstance(listed, dict) else {}


def _flat(tree: dict) -> list[str]:
    """Dotted names of the leaves of a nested mapping."""
    keys = []
    for key, value in tree.items():
        keys += (
            [f"{key}.{name}" for name in _flat(value)] if isinstance(value, dict) and value else [str(key)]
        )
    return keys


def _read(path: Path) -> dict:
    """A YAML file as a mapping; {} if it is something else."""
    import yaml

    try:
        tree = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return {}
    return tree if isinstance(tree, dict) else {}


def _values(key: str, experiment: dict) -> list[str]:
    """What a key can be: the options of a group, the curves of the experiment, or the words that its field allows."""
    if key in catalog.GROUPS:
        return list(catalog.config_files(key))
    if key == "only":
        curves = _curves(experiment)
        return [*map(str, curves), DRAWN] if curves else []
    group, _, name = key.rpartition(".")
    schedule = (schema.Descent,) if group.startswith("training.") else ()
    fields = [cls.__dataclass_fields__.get(name) for cls in CLASSES.get(group, schedule)]
    return [word for field in fields if field for word in field.metadata.get("choices", ())]
