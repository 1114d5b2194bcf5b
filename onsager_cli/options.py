"""Options of the verbs that take some (--json and the like), for all verbs alike."""

import argparse
from typing import NoReturn

from onsager_cli.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are a UserError, one line, as everywhere."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog.removeprefix('onsager ')}: {message}")
