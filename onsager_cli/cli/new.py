"""`onsager new KIND NAME`: commented templates of an experiment, or of a kind in a package of one's own."""

import keyword
import re
from argparse import Namespace
from pathlib import Path
from string import Template

from onsager_cli.cli.options import Parser
from onsager_cli.config import catalog
from onsager_cli.errors import UserError
from onsager_cli.kinds.records import Kind, NetworkKind, ProblemKind, ShrinkageKind, SignalKind
from onsager_cli.kinds.registry import PLACES, names
from onsager_cli.store.files import atomic_write, exists, expanded, is_file, is_folder
from onsager_cli.text import one_of, printable, printable_lines, show

TEMPLATES = Path(__file__).parent / "templates"
EXPERIMENT = "experiment"
# Word of the command, which is the config group → the kind of record.
RECORDS: dict[str, type[Kind]] = {
    "network": NetworkKind, "shrinkage": ShrinkageKind, "problem": ProblemKind, "signal": SignalKind,
}  # fmt: skip
PROJECT = "pyproject.toml"


def add_options(parser: Parser) -> None:
    """Add the options of `onsager new`."""
    parser.add_argument("kind", choices=[EXPERIMENT, *RECORDS], metavar="KIND", help=one_of([EXPERIMENT, *RECORDS]))
    parser.add_argument("name", metavar="NAME", help="name of the option: lower-case letters, digits and _")
    parser.add_argument("--output", "-o", metavar="FOLDER", help="folder of the Python file; default: onsager-NAME")


def main(options: Namespace) -> int:
    """Write the files, and say what comes next."""
    kind, name = options.kind, options.name
    _check_name(kind, name)
    if kind == EXPERIMENT and options.output is not None:
        raise UserError("new: an experiment is one file in ./conf: leave -o out")
    # Not the name of the module: in the folder around it, Python would import the folder.
    folder = expanded(options.output or f"onsager-{name}")
    if folder.name == f"onsager_{name}" and not is_file(folder / "__init__.py"):
        raise UserError(
            f"new: -o {folder.name} has the name of the module in it: choose another, such as onsager-{name}"
        )
    files, then = _files(kind, name, folder)
    if not is_folder(folder) and exists(folder):
        raise UserError(f"new: -o must name a folder, and {folder} is a file")
    for path in files:
        if exists(path):
            raise UserError(f"new: {path} already exists: choose another name, or move it away")
    for path, text in files.items():
        atomic_write(path, text.encode())
        print(printable(str(path)))
    print(f"\n{printable_lines(then)}")
    return 0


def _check_name(kind: str, name: str) -> None:
    """Raises UserError for a name that cannot be that of a Python file, and for one that an option has."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"new: NAME must be lower-case letters, digits and _, begin with a letter, and not be a Python keyword, got {show(name)}"
        )
    taken = {*catalog.config_files(kind), *(names(RECORDS[kind]) if kind in RECORDS else ())}
    if name in taken:
        raise UserError(f"new: {kind}={name} already exists: choose another name")


def _files(kind: str, name: str, folder: Path) -> tuple[dict[Path, str], str]:
    """The files with their texts, and what to do with them."""
    option = Path("conf") / kind / f"{name}.yaml"
    files = {option: _filled(f"{kind}.yaml", name)}
    if kind == EXPERIMENT:
        return files, f"Next: onsager train +experiment={name}"
    is_package = is_file(folder / "__init__.py")
    module = f"{folder.resolve().name}.{name}" if is_package else f"onsager_{name}"
    place = PLACES[RECORDS[kind]][0]
    files[folder / f"{name if is_package else module}.py"] = _filled(f"{kind}.py", name)
    train = f"onsager train {kind}={name}"
    if is_package or exists(folder / PROJECT):
        entry = f'[project.entry-points."{place}"]\n{name} = "{module}:KIND"'
        return files, f"Next: add to the {PROJECT} of your package\n\n{entry}\n\nInstall it again, then: {train}"
    files[folder / PROJECT] = _filled(PROJECT, name, module=module, place=place)
    return files, f"Next: pip install -e {folder}\nThen: {train}"


def _filled(template: str, name: str, **more: str) -> str:
    """The text of a template."""
    klass = "".join(part.capitalize() for part in name.split("_")) or name
    text = (TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(name=name, klass=klass, **more)
