"""argparse as the command uses it: a mistake is a `UserError`, and words may stand between the options."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, one_of, show

# Options of Hydra and other habits → what to write instead.
HABITS = {
    ("--multirun", "-m"): "`onsager sweep` runs several jobs",
    ("--config-name", "-cn"): "write +experiment=NAME",
    ("--config-dir", "-cd", "--config-path", "-cp"): "onsager reads conf/ of the working directory",
    ("--resume", "--continue", "--restart"): "the same command resumes",
    ("--run", "-r"): "leave it out",
    ("--experimental-rerun",): "the same command runs again",
    ("--hydra-help",): "write `onsager VERB --help`",
    ("--info", "-i", "--dry-run", "-n"): "--cfg job prints the config; `onsager plot` names the missing curves",
    ("--package", "-p"): "--cfg job prints the whole config",
    ("--shell-completion", "-sc"): "write `onsager completion SHELL`",
    ("--verbose", "-v", "--debug"): "write ONSAGER_DEBUG=1 before the command",
    ("--quiet", "-q"): "add 2> /dev/null after the command",
}

# What argparse says → what this program says.
PHRASES = {
    r"^argument (\S+?)(/-\w)?: expected (one|at least one) argument$": r"\1 needs a value",
    r"^argument (\S+?)(/-\w)?: ignored explicit argument (.*)$": r"\1 takes no value, got \3",
    r"^argument (\S+?)(/-\w)?: not allowed with argument (\S+?)(/-\w)?$": r"\3 and \1 exclude each other",
    r"^argument (\S+?)(/-\w)?: ": r"\1 ",
    r"^the following arguments are required: (\S+?)(, OVERRIDE)?$": r"needs \1",
}


class Parser(argparse.ArgumentParser):
    """The parser of `onsager` or of one verb; every mistake is a UserError of one line."""

    def __init__(self, prog: str, add_help: bool = False, **settings: Any) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(prog, add_help=add_help, allow_abbrev=False, formatter_class=layout, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the message of argparse, in words of this program, as a UserError that begins with the verb."""
        for pattern, words in PHRASES.items():
            message = re.sub(pattern, words, message)
        verb = self.prog.removeprefix("onsager").strip()
        raise UserError(f"{verb}: {message}" if verb else message)

    def parse_known_args(  # type: ignore[override]  # argparse also has overloads for other namespaces
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse `args`. Raises UserError for unknown options and superfluous words, so none are returned."""
        if "overrides" in (action.dest for action in self._actions):
            for word in args or ():
                self._check_habit(word)
        options, rest = super().parse_known_args(args, namespace or argparse.Namespace())
        if unknown := [word for word in rest if word.startswith("-")]:
            self.error(
                f"unknown option {show(unknown[0])}{self._hint(unknown[0], list(args or ()), 'overrides' in options)}"
            )
        # argparse fills a positional with nargs="*" once; words behind a later option are left over.
        many = next((a.dest for a in self._actions if not a.option_strings and a.nargs == "*"), None)
        if many is not None:
            setattr(options, many, [*(getattr(options, many) or ()), *rest])
        elif rest:
            self.error(f"unexpected word '{rest[0]}'")
        return options, []

    def _check_habit(self, word: str) -> None:
        """Raises UserError for an option that other programs have, with what to write instead."""
        option, _, value = word.partition("=")
        if option in self._option_string_actions:
            return
        if instead := next((text for words, text in HABITS.items() if option in words), None):
            self.error(f"unknown option {show(word)}: {instead.replace('NAME', value or 'NAME')}")

    def _hint(self, option: str, words: Sequence[str], overrides: bool) -> str:
        """What to write instead of an unknown option, one of the `words`."""
        word, equals, value = option.partition("=")
        near = did_you_mean(word, self.option_words())
        if not overrides:
            return near
        following = words[words.index(option) + 1 :][:1]
        value = value if equals else following[0] if following and "=" not in following[0] else "VALUE"
        key = word.lstrip("-").replace("-", "_")
        instead = f"write {key}={value}, without dashes" if key and not near else "overrides are key=value"
        return f"{near}: {instead}; `onsager train --cfg job` prints the config"

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
