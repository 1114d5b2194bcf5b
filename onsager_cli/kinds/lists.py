"""Checks of config values that hold several values: lists, pairs, groups of names. See `checks`."""

from collections.abc import Iterable, Mapping

from onsager_cli.kinds.checks import LIST, Field, field_of, finite, finite_tuple, in_range, line_of, of_type
from onsager_cli.text import did_you_mean, one_of

PARTS = ("training", "selection", "test")  # of a data set
WHOLE = 1e-6  # how far the sum of shares or probabilities may be from 1


def number_or_range(low: float, high: float) -> Field:
    """Field for a finite number with low <= value <= high, or a list of two such numbers in rising order, a tuple, or null."""

    words = "must be a number, or a list of two numbers in rising order"

    def check(value: object) -> object:
        if not isinstance(value, list | tuple):
            return in_range(finite(value, words), low, high)
        try:
            pair = finite_tuple(value, 2)
        except ValueError:
            raise ValueError(words) from None
        if not pair[0] < pair[1]:
            raise ValueError(words)
        return tuple(in_range(item, low, high) for item in pair)

    return field_of(check, null=True)


def number_or_numbers(above: float, high: float) -> Field:
    """Field for a finite number with above < value <= high, or a list of such numbers, stored as a tuple."""

    words = "must be a number, or a list of numbers"

    def check(value: object) -> object:
        if isinstance(value, list | tuple) and value:
            return tuple(in_range(item, None, high, above) for item in finite_tuple(value))
        return in_range(finite(value, words), None, high, above)

    return field_of(check)


def numbers(length: int, null: bool = False) -> Field:
    """Field for a list of `length` finite numbers, stored as a tuple."""
    return field_of(lambda value: finite_tuple(value, length), null=null, holds=LIST)


def shares() -> Field:
    """Field for the shares of PARTS in a data set: three numbers above 0 with a sum of at most 1, stored as a tuple."""

    def check(value: object) -> tuple[float, ...]:
        found = finite_tuple(value, len(PARTS))
        if min(found) <= 0 or sum(found) > 1 + WHOLE:
            raise ValueError(f"must be three fractions above 0 ({', '.join(PARTS)}) with a sum of at most 1")
        return found

    return field_of(check, holds=LIST)


def seed_list() -> Field:
    """Field for a list of different seeds, stored as a tuple; null allowed."""
    words = "must be a list of whole numbers"

    def check(value: object) -> tuple[int, ...]:
        seeds = tuple(in_range(of_type(item, int, words), 0, 2**32 - 1) for item in of_type(value, list, words))
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError("must list at least one seed, and each seed once")
        return seeds

    return field_of(check, null=True, holds=LIST)


def by_depth(
    low: float | None = None, above: float | None = None, high: float = 10**9, whole: bool = False, null: bool = False
) -> Field:
    """Field for a list of numbers, one per depth, stored as a tuple; `whole` for whole numbers, `null` allows null."""

    def check(value: object) -> tuple[float, ...]:
        items = tuple(in_range(item, low, high, above) for item in finite_tuple(value))
        if not items:
            raise ValueError("must list at least one value")
        if whole and not all(item.is_integer() for item in items):
            raise ValueError("must be a list of whole numbers")
        return tuple(map(int, items)) if whole else items

    return field_of(check, null=null, holds=LIST)


def letters(most: int = 64) -> Field:
    """Field for different values that are not zero, stored as pairs (re, im): 1, "1+1j" or [1, 1]."""

    def letter(item: object) -> tuple[float, float]:
        if isinstance(item, str):
            try:
                number = complex(item.replace(" ", ""))
            except ValueError:
                raise ValueError('must be a list of numbers such as 1, "1+1j" or [1, 1]') from None
            return finite(number.real), finite(number.imag)
        if isinstance(item, list | tuple):
            real, imaginary = finite_tuple(item, 2)
            return real, imaginary
        return finite(item), 0.0

    def check(value: object) -> tuple[tuple[float, float], ...]:
        found = tuple(map(letter, value if isinstance(value, list | tuple) else [value]))
        if not found or len(set(found)) < len(found) or (0.0, 0.0) in found:
            raise ValueError("must be different nonzero values")
        if len(found) > most:
            raise ValueError(f"must be at most {most} values")
        return found

    return field_of(check, holds=LIST)


def choice_by_depth(*names: str) -> Field:
    """Field for one of a few words, or a list of them, one per depth, stored as a tuple."""

    def check(value: object) -> object:
        items = value if isinstance(value, list) else [value]
        for item in items or [value]:
            if item not in names:
                raise ValueError(f"must be {one_of(names)}, or a list of these{did_you_mean(item, names)}")
        return tuple(items) if isinstance(value, list) else items[0]

    return field_of(check, choices=names)


def words(allowed: Iterable[str] | None = None, null: bool = False, some: bool = False) -> Field:
    """Field for a list of words, each once, stored as a tuple; `allowed` restricts them, `some` wants at least one."""
    allowed = None if allowed is None else tuple(allowed)

    def check(value: object) -> tuple[str, ...]:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
            raise ValueError("must be a list of words")
        for item in items:
            if allowed is not None and item not in allowed:
                raise ValueError(f"may hold {one_of(allowed)}{did_you_mean(item, allowed)}")
        if len(set(items)) < len(items):
            raise ValueError("must list each word once")
        if some and not items:
            raise ValueError(f"must list at least one word{f' of {one_of(allowed)}' if allowed else ''}")
        return tuple(items)

    return field_of(check, choices=allowed or (), null=null, holds=LIST)


def texts() -> Field:
    """Field for a group of names with a line of text each."""

    def check(value: object) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError("must map names to text")
        return {str(name): line_of(line) for name, line in value.items()}

    return field_of(check)


def lines(null: bool = False) -> Field:
    """Field for a list of lines of text, stored as a tuple; null on request."""
    words = "must be a list of lines of text"
    return field_of(lambda value: tuple(line_of(item) for item in of_type(value, list, words)), null=null, holds=LIST)


def values() -> Field:
    """Field for a group of names, each with a text, a number, true or false."""

    def check(value: object) -> dict[str, object]:
        if not isinstance(value, Mapping) or not all(isinstance(item, str | int | float) for item in value.values()):
            raise ValueError("must map names to text, numbers, true or false")
        return {str(name): item for name, item in value.items()}

    return field_of(check)
