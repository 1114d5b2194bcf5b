"""Options of the verbs that take some (--json and the like), for all verbs alike."""

import argparse
from typing import NoReturn

from onsager_cli.errors import UserError


class Parser(argparse.ArgumentParser):
    """The options of a verb; a mistake in them is a UserError, one line, as everywhere.

    `format_help` tells the options alone: usage and summary of a verb are with the verbs.
    """

    def __init__(self, verb: str) -> None:
        super().__init__(verb, usage=argparse.SUPPRESS, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
