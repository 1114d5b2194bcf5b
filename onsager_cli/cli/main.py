"""The entry point of the command `onsager`: help, exit codes, messages on stderr.

Exit codes: 0 done, 2 a mistake of the user (one line on stderr), 130 Ctrl-C, 143 SIGTERM, 1 anything else. Each verb
imports what is heavy (JAX, Hydra, Matplotlib) only when it runs.
"""

import os
import sys
from collections.abc import Sequence

from onsager_cli.errors import UserError, explained, notices_to
from onsager_cli.store.variables import NOT_OURS

LONGEST_LINE = 990  # characters of a message
HELP = ("-h", "--help", "help")


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Raises UserError and whatever the verb raises."""
    from onsager_cli.cli.verbs import instead_of_verb, overview, parser

    words = list(arguments)
    if not words or words[0] in HELP:
        about = [word for word in words[1:] if word not in HELP]
        if not about:
            print(overview())
            return 0
        words = [about[0], "--help"]
    if (instead := instead_of_verb(words[0])) is not None:
        raise UserError(instead)
    try:
        options = parser(words[0]).parse_args(words)
    except SystemExit:  # argparse ends --help and --version this way
        return 0
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the working directory was deleted: cd to another one") from None
    return options.main(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's own); return the exit code and print why it is not 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _main(arguments)
    except KeyboardInterrupt as error:  # while the program starts or ends
        return _fail(error, *_told(error, arguments))


def _main(arguments: Sequence[str]) -> int:
    """`main`, once Python can catch a Ctrl-C."""
    from onsager_cli.cli.signals import Stop
    from onsager_cli.cli.streams import ReaderGoneError, guarded
    from onsager_cli.cli.verbs import prints

    for name in NOT_OURS:
        os.environ.pop(name, None)
    stop, only_prints = Stop(), prints(arguments)
    with guarded(only_prints) as out:
        try:
            with stop, notices_to(_warn):
                code = dispatch(arguments)
                out.flush()
        except ReaderGoneError:
            return 0
        except BaseException as error:
            # A signal comes first: what it interrupted may have made another error of it.
            reason = stop.requested or error
            return _fail(reason, *_told(reason, arguments))
        if out.failure and out.written:
            print(f"onsager: cannot write to stdout: {out.failure}", file=sys.stderr)
            return code or int(only_prints)
        return code


def _warn(text: str) -> None:
    """Print a warning on stderr."""
    from onsager_cli.cli.colours import coloured
    from onsager_cli.text import printable

    print(f"onsager: {coloured('warning:', 'yellow', sys.stderr)} {printable(text)}", file=sys.stderr)


def _told(error: BaseException, arguments: Sequence[str]) -> tuple[str, int]:
    """The line that tells an error, and the exit code."""
    if isinstance(error, KeyboardInterrupt):
        import shlex

        again = shlex.join(["onsager", *arguments])
        return f"stopped; run the same command again to resume: {again}", getattr(error, "exit_code", 130)
    return explained(error)


def _fail(error: BaseException, line: str, code: int) -> int:
    """Print one line on stderr, after the traceback if ONSAGER_DEBUG is set; return `code`."""
    if os.environ.get("ONSAGER_DEBUG"):
        import traceback

        traceback.print_exception(error)
    from onsager_cli.text import one_line

    line = one_line(line)
    if len(line) > LONGEST_LINE:  # of what the user typed or wrote; the reason stands before or behind it
        half = LONGEST_LINE // 2 - 3
        line = f"{line[:half]} … {line[-half:]}"
    from onsager_cli.cli.colours import coloured

    print(f"{coloured('onsager:', 'red', sys.stderr)} {line}", file=sys.stderr)
    return code
