"""argparse as the command uses it: a mistake is a `UserError`, and words may stand between the options."""

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, one_of


class Parser(argparse.ArgumentParser):
    """The parser of `onsager` or of one verb; every mistake is a UserError of one line."""

    def __init__(self, prog: str, add_help: bool = False, **settings: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, add_help=add_help, allow_abbrev=False, formatter_class=layout, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the message as a UserError that begins with the verb."""
        verb = self.prog.removeprefix("onsager").strip()
        raise UserError(f"{verb}: {message}" if verb else message)

    def parse_known_args(  # type: ignore[override]  # argparse also has overloads for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse `args`. Raises UserError for unknown options and superfluous words, so none are returned."""
        options, rest = super().parse_known_args(args, namespace or argparse.Namespace())
        if unknown := [word for word in rest if word.startswith("-")]:
            hint = did_you_mean(unknown[0], self.option_words())
            if "overrides" in options:
                hint += ": overrides are key=value; `onsager train --cfg job` prints the config"
            self.error(f"unknown option '{unknown[0]}'{hint}")
        # argparse fills a positional with nargs="*" once; words behind a later option are left over.
        many = next((a.dest for a in self._actions if not a.option_strings and a.nargs == "*"), None)
        if many is not None:
            setattr(options, many, [*(getattr(options, many) or ()), *rest])
        elif rest:
            self.error(f"unexpected word '{rest[0]}'")
        return options, []

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
            known = list(map(str, action.choices))
            self.error(f"{name} must be {one_of(known)}, got {value!r}{did_you_mean(value, known)}")

    def option_words(self) -> list[str]:
        """The long options in the order of the help text."""
        visible = [action for action in self._actions if action.help != argparse.SUPPRESS]
        return [word for action in visible for word in action.option_strings if word.startswith("--")]

    def choices_of(self, option: str | None) -> list[str]:
        """The words that the value of an option may be, or (for None) the words that a positional may be."""
        for action in self._actions:
            if action.choices and (option in action.option_strings if option else not action.option_strings):
                return list(map(str, action.choices))
        return []
