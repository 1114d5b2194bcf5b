"""The architecture, held: imports go down, no circles, small files, a kind is named where it is declared."""

import ast
import re
from pathlib import Path

import pytest

import onsager_cli
from onsager_cli.kinds.records import NetworkKind
from onsager_cli.kinds.registry import names

PACKAGE = Path(onsager_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# From the ground up; a wing imports those before it and itself, and wings of one line do not know each other.
FLOORS = (
    ("errors", "text"),
    ("metrics", "linalg"),
    ("store", "kinds"),
    ("problems", "shrinkage"),
    ("networks",),
    ("theory",),
    ("training",),
    ("config",),
    ("figures", "claims", "export"),
    ("record",),
    ("run",),
    ("api",),
    ("cli",),
    ("__init__", "__main__"),
)
FLOOR_OF = {wing: number for number, floor in enumerate(FLOORS) for wing in floor}


def module_of(path: Path) -> str:
    """`networks.lamp` of a file of the package; a package's own file has the name of the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__") or "__init__"


MODULES = {module_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports anywhere, in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "onsager_cli":
            module = (node.module or "").partition(".")[2]
            for name in (alias.name for alias in node.names):
                full = f"{module}.{name}".lstrip(".")
                found.add(full if full in MODULES else module or "__init__")
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("onsager_cli.")}
    return found - {module_of(path)}


def test_every_wing_has_a_floor():
    assert {module.split(".")[0] for module in MODULES} == set(FLOOR_OF)


def test_imports_only_go_down():
    wrong = []
    for module, path in MODULES.items():
        own = module.split(".")[0]
        for imported in imports(path):
            wing = imported.split(".")[0]
            if wing != own and wing != "__init__" and FLOOR_OF[wing] >= FLOOR_OF[own]:
                wrong.append(f"{module} -> {imported}")
    assert not wrong


def test_there_is_no_circle():
    left = {module: imports(path) & set(MODULES) - {"__init__"} for module, path in MODULES.items()}
    while free := [module for module, needs in left.items() if not needs & set(left)]:
        for module in free:
            del left[module]
    assert not left


@pytest.mark.parametrize("wing", ["config", "kinds", "store", "claims", "record", "text", "errors"])
def test_these_wings_never_import_jax(wing):
    for module, path in MODULES.items():
        if module.split(".")[0] == wing:
            assert not re.search(r"^\s*(from|import) jax\b", path.read_text(encoding="utf-8"), re.MULTILINE), module


def test_sizes():
    inside = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p.is_dir() and list(p.glob("*.py")))]
    assert len(inside) <= 21
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 350, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert (node.end_lineno or 0) - node.lineno < 200, f"{path}: {node.name}"


def test_a_kind_of_network_is_named_where_it_is_declared():
    """Files without a declaration that name one as a text: what has to be said of LVAMP-BG, presets of `bench`."""
    kinds = set(names(NetworkKind))
    naming = {
        module
        for module, path in MODULES.items()
        if "NetworkKind(\n" not in (text := path.read_text(encoding="utf-8"))
        and any(isinstance(node, ast.Constant) and node.value in kinds for node in ast.walk(ast.parse(text)))
    }
    assert len(naming) <= 6, naming


def test_few_values_have_no_type():
    """322 mentions of `Any` in the first edition; at most half of them since."""
    assert sum(len(re.findall(r"\bAny\b", path.read_text(encoding="utf-8"))) for path in FILES) <= 161
