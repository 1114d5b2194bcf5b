"""Read YAML files that people write: no tag runs code, no alias unfolds without an end, and a mistake is one line."""

from pathlib import Path

import yaml

from onsager_cli.errors import UserError
from onsager_cli.store.files import LARGEST_TEXT, read_bytes
from onsager_cli.text import show

MOST = 1_000_000  # values of a file once every alias is a copy
DEEPEST = 100  # levels of lists and groups inside each other
_LONGEST_NUMBER = 1000  # characters of a number or a date; Python takes very long for longer ones
_TYPES = {"int": "a whole number", "float": "a number", "timestamp": "a date", "bool": "true or false"}
_Base: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """PyYAML's safe loader, which says where a value is that its type does not take."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> object:
        kind = node.tag.rpartition(":")[2]
        try:
            if isinstance(node, yaml.ScalarNode) and kind != "str" and len(node.value) > _LONGEST_NUMBER:
                raise ValueError
            return super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            problem = f"{show(node.value)} is not {_TYPES.get(kind, kind)} (text needs quotes)"
            raise yaml.constructor.ConstructorError(problem=problem, problem_mark=node.start_mark) from error


def read_yaml(path: Path, largest: int = LARGEST_TEXT) -> object:
    """The content of a YAML file of at most `largest` bytes.

    Raises UserError, with the file and the line, if it cannot be read, is not YAML, holds a value that its type does
    not take, or is too large, with everything that an alias stands for.
    """
    data = read_bytes(path, largest)
    check_size(path, data)
    try:
        return yaml.load(data, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        words = getattr(error, "problem", None) or str(error) or "it is not YAML"
        raise UserError(f"{path}{place}: {' '.join(words.split())}") from error


def check_size(path: Path, data: bytes) -> None:
    """Raises UserError if the YAML text has too many values, aliases as copies, or too many levels."""
    sizes: dict[str, int] = {}  # anchor → values below it, its own included
    begun: list[tuple[str | None, int]] = []  # anchor of each open list or group, and the values before it
    count = 0
    try:
        for event in yaml.parse(data, _Base):
            if isinstance(event, yaml.AliasEvent):
                endless = any(anchor == event.anchor for anchor, _ in begun)
                count += MOST + 1 if endless else sizes.get(event.anchor, 1)
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = begun.pop()
                if anchor:
                    sizes[anchor] = count - before
            elif isinstance(event, yaml.NodeEvent):
                if isinstance(event, yaml.CollectionStartEvent):
                    begun.append((event.anchor, count))
                elif event.anchor:
                    sizes[event.anchor] = 1
                count += 1
            if count > MOST:
                raise UserError(f"{path}: it has more than {MOST} values, or endless aliases")
            if len(begun) > DEEPEST:
                raise UserError(f"{path}: it is nested deeper than {DEEPEST} levels")
    except yaml.YAMLError:
        return  # whoever reads the file says where
