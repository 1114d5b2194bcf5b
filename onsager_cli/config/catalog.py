"""What there is to choose from: the options of every config group and their one-line titles.

Reads file names and the leading comment lines of the YAML files, nothing else, so that `onsager list` and shell
completion answer at once. Options come from the package's own `conf` and from `./conf` of the working
directory.
"""

import itertools
import re
from pathlib import Path

from onsager_cli.errors import UserError
from onsager_cli.store.files import LARGEST_TEXT, below, is_file, is_folder, read_bytes
from onsager_cli.text import did_you_mean, hung, natural, one_of, printable, show, terminal_width

# Section of `onsager list` → config group.
SECTIONS = {
    "experiments": "experiment", "problems": "problem", "signals": "signal", "networks": "network", "shrinkages": "shrinkage",
    "schedules": "training",
}  # fmt: skip
RUNS = "runs"  # the section of what is stored (cli/runs.py)
KEYS = "keys"  # the section of config keys (cli/explain.py)
GROUPS = tuple(SECTIONS.values())


def package_conf() -> Path:
    """The config tree that ships with onsager: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def user_conf() -> Path | None:
    """The folder `conf` of the working directory, if there is one and it is not the package's own."""
    folder = Path("conf").absolute()
    return folder if is_folder(folder) and folder.resolve() != package_conf().resolve() else None


def config_files(group: str) -> dict[str, Path]:
    """Option name → YAML file for a config group, sorted by name, with numbers as numbers (fig9, fig10).

    A user's option may not have the name of a built-in one that differs: which of the two a command means would
    depend on the folder it runs in. Raises UserError if it does.
    """
    found: dict[str, Path] = {}
    for root in filter(None, (package_conf(), user_conf())):
        folder = root / group
        for path in below(folder, "*.yaml"):
            name = path.relative_to(folder).with_suffix("").as_posix()
            if name in found and read_bytes(found[name], LARGEST_TEXT) != read_bytes(path, LARGEST_TEXT):
                raise UserError(f"conf/{group}/{name}.yaml has the name of a built-in option: rename it")
            found[name] = path
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def unknown(group: str, name: str) -> UserError:
    """The error for an option that a group does not have: the name of the option that was meant, or all of them."""
    known = config_files(group)
    given, *ending = re.split(r"(\.ya?ml)$", name)
    stem = given.removeprefix("./").removeprefix("conf/").removeprefix(f"{group}/")
    chosen = f"{'+' * (group == 'experiment')}{group}={stem}"
    if stem in known:
        return UserError(
            f"unknown {group} {show(name)}: write {chosen}, {'without .yaml' if ending else 'without a folder'}"
        )
    for root in filter(None, (package_conf(), user_conf())):
        if any(is_file(root / group / f"{stem}{suffix}") for suffix in (".yml", ".YAML", ".YML", ".yaml.txt")):
            return UserError(f"unknown {group} {show(name)}: the name of its file in {root / group} must end in .yaml")
    meant = [option for option in known if stem.lower() in _also(known[option]) or stem.startswith(f"{option}_")]
    near = f" (did you mean {meant[-1]}?)" if meant else did_you_mean(stem, known)
    return UserError(f"unknown {group} {show(name)}{near}: known are {one_of(known)}")


def _also(path: Path) -> list[str]:
    """The other names of an option: the words after `# also:` in the leading comment lines of its file."""
    return [word.strip().lower() for word in _comment(path, "also").split(",")]


def figures_first(name: str) -> tuple[bool, list[str | int]]:
    """Sort key of experiments: the figures in their order, then whatever else there is."""
    return not name.startswith("fig"), natural(name)


def title(path: Path) -> str:
    """The text after `# title:` in the leading comment lines of a YAML file; empty if there is none."""
    return _comment(path, "title")


def _comment(path: Path, name: str) -> str:
    """The text after `# NAME:` in the leading comment lines of a YAML file; empty if there is none."""
    text = read_bytes(path, LARGEST_TEXT).decode("utf-8-sig", "replace")
    head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    found = (re.fullmatch(rf"#\s*{name}\s*:(.*)", line) for line in head)
    return next((match[1].strip() for match in found if match), "")


def listing(sections: list[str]) -> str:
    """The text of `onsager list`: per section, the options and their titles.

    Raises UserError for a section that does not exist.
    """
    known = (*SECTIONS, RUNS, KEYS)
    for name in sections:
        if name in (RUNS, KEYS):
            raise UserError(f"list: {name} must be the first word: write onsager list {name}")
        if name not in SECTIONS:
            raise UserError(f"unknown section {show(name)}{did_you_mean(name, known)}: {one_of(known)}")
    blocks = []
    for section in sections or SECTIONS:
        files = config_files(group := SECTIONS[section])
        width = max([12, *map(len, files)])
        lines = [
            line.rstrip()
            for name, path in files.items()
            for line in hung(printable(title(path)), f"  {printable(name):<{width}}  ", terminal_width())
        ]
        blocks.append("\n".join([f"{section} ({'+' * (group == 'experiment')}{group}=…)", *lines]))
    return "\n\n".join(blocks)
