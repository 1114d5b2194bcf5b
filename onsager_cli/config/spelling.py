"""Words of a command line that are no overrides yet: text as it was typed, and what is wrong with the rest.

Hydra's grammar gives a meaning to many characters. A key that holds text, such as a path, takes its value as typed. For
any other word that Hydra cannot read, `mistake` says what to type instead.
"""

import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from onsager_cli.config import catalog
from onsager_cli.config.keys import fields_of, holds_text
from onsager_cli.errors import UserError
from onsager_cli.text import did_you_mean, show

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

RULE = "write key=value, e.g. network.depth=8"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"  # that word processors make of a hyphen
_FROM_SHELL = re.compile(r"\$\{oc\.env:[^${}]+\}")


def with_plus(text: str) -> str:
    """`experiment=fig10` as `+experiment=fig10`: Hydra wants the plus for what the primary config leaves out."""
    return f"+{text}" if text.startswith("experiment=") else text


def readable(text: str, sweep: bool = False) -> str:
    """An override as Hydra's grammar reads it; unchanged if Hydra reads what the user means.

    In a `sweep`, commas and functions name several values. Elsewhere they belong to the text. A value from the
    environment is decoded, so that `seed=${oc.env:SEED}` is a number. Raises UserError for invisible characters.
    """
    key, equals, value = text.partition("=")
    name = key.strip().lstrip("+~")
    if not equals or not name:
        return text
    if not holds_text(name):
        return f"{key}='${{oc.decode:{value}}}'" if _FROM_SHELL.fullmatch(value) else with_plus(text)
    if odd := next((character for character in value if unicodedata.category(character) == "Cc"), None):
        raise UserError(f"{_as_shown(text)} contains {_described(odd)}: {_advice(odd)}")
    item = _read(text)
    if item is not None and (item.is_delete() or item.value() is None or isinstance(item.value(), str)):
        return text
    if item is not None and sweep and item.is_sweep_override():
        return text
    # Backslashes before a quote, and those at the end, are doubled.
    inner = re.sub(r"(\\*)'", r"\1\1\\'", value)
    inner = re.sub(r"(\\+)$", r"\1\1", inner)
    return f"{key}='{inner}'"


def _read(text: str) -> "Override | None":
    """The override of one word; None if Hydra's grammar does not read it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(text)
    except (HydraException, RecursionError, ValueError):
        return None


def mistake(text: str, words: Sequence[str] = ()) -> UserError:
    """The error for a word that Hydra cannot read; `words` are all words of the command."""
    return UserError(f"cannot read the override {_as_shown(text)}: {next(_reasons(text, words))}")


def _reasons(text: str, words: Sequence[str]) -> Iterator[str]:
    """What is wrong with a word, the surest reason first; there is always one."""
    key, equals, value = text.partition("=")
    if odd := next((character for character in text if _is_odd(character)), None):
        yield f"it contains {_described(odd)}: {_advice(odd)}"
    if equals and (key != key.strip() or value != value.lstrip()):
        yield f"no blanks around the equals sign: write {key.strip()}={value.strip()}"
    if not equals:
        yield from _without_equals(text, words)
    elif not key.strip("+~"):
        yield f"the key is missing: {RULE}, without blanks around the equals sign"
    elif left := next((f"'{a}'" for a, b in ("[]", "{}", "()") if value.count(a) > value.count(b)), None):
        yield f"the bracket {left} is not closed"
    elif re.search(r"[^\w.,:/@+-]", value, re.ASCII) and not value.startswith(("[", "{", "'", '"', "(")):
        yield f"quote the value for Hydra and for the shell: {shlex.quote(f'{key}={_quoted(value)}')}"
    yield f"{RULE}, and quote a value with special characters for Hydra, too: {shlex.quote('key=' + _quoted('value'))}"


def _without_equals(text: str, words: Sequence[str]) -> Iterator[str]:
    """What a word without an equals sign may have been meant as."""
    bare = text.lstrip("+").removesuffix(".yaml")
    group, _, option = bare.rpartition("/")
    if bare in catalog.GROUPS:
        where = list(words).index(text) + 1 if text in words else len(words)
        following = words[where] if where < len(words) and "=" not in words[where] else "NAME"
        yield f"write {_choice(bare, following)}, without a blank"
    for known in (group,) if group in catalog.GROUPS else catalog.GROUPS:
        if option in catalog.config_files(known):
            yield f"did you mean {_choice(known, option)}?"
    if any(fields_of(bare)):
        yield f"write {bare}=VALUE, without blanks around the equals sign"
    options = {name: known for known in catalog.GROUPS for name in catalog.config_files(known)}
    if near := did_you_mean(option, options):
        name = near.removeprefix(" (did you mean ").removesuffix("?)")
        yield f"{RULE} (did you mean {_choice(options[name], name)}?)"
    yield RULE


def _choice(group: str, option: str) -> str:
    """The override that chooses an option of a group."""
    return f"{'+' * (group == 'experiment')}{group}={option}"


def _quoted(value: str) -> str:
    """The value in double quotes, as Hydra's grammar reads them."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _is_odd(character: str) -> bool:
    """Whether a character cannot be seen, or looks like another one of the command line."""
    odd = unicodedata.category(character) in ("Cc", "Cf", "Zs", "Zl", "Zp", "Pi", "Pf")
    return (odd and character != " ") or character in _DASHES


def _as_shown(text: str) -> str:
    """A word with its control characters escaped."""
    return show(text, 80)


def _described(character: str) -> str:
    """`U+00A0 (no-break space)`."""
    if character == "\r":
        return "a carriage return (a Windows line ending)"
    name = unicodedata.name(character, "control character").lower()
    return f"U+{ord(character):04X} ({name})"


def _advice(character: str) -> str:
    """What to do about an odd character."""
    if character in "\r\n":
        return "save the script with Unix line endings"
    if character in _DASHES:
        return "type a hyphen instead"
    return "type plain quotes instead" if unicodedata.category(character) in ("Pi", "Pf") else "leave it out"
