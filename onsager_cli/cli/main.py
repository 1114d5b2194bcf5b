"""The entry point of the command `onsager`: help, exit codes, messages on stderr.

Exit codes: 0 done, 2 a mistake of the user (one line on stderr), 130 Ctrl-C, 143 SIGTERM, 1 anything else. Each verb
imports what is heavy (JAX, Hydra, Matplotlib) only when it runs.
"""

import os
import shlex
import sys
from collections.abc import Sequence

from onsager_cli.cli.verbs import overview, parser
from onsager_cli.errors import UserError, notices_to

HELP = ("-h", "--help", "help")


def dispatch(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. Raises UserError and whatever the verb raises."""
    words = list(arguments)
    if not words or words[0] in HELP:
        about = [word for word in words[1:] if word not in HELP]
        if not about:
            print(overview())
            return 0
        words = [about[0], "--help"]
    try:
        options = parser(words[0]).parse_args(words)
    except SystemExit:  # argparse ends --help and --version this way
        return 0
    return options.main(options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: the process's own); return the exit code and print why it is not 0."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with notices_to(lambda text: print(f"onsager: warning: {text}", file=sys.stderr)):
            code = dispatch(arguments)
        sys.stdout.flush()
        return code
    except UserError as error:
        return _fail(error, str(error), 2)
    except KeyboardInterrupt as error:
        again = shlex.join(["onsager", *arguments])
        line = f"stopped; run the same command again to resume: {again}"
        return _fail(error, line, getattr(error, "exit_code", 130))
    except BrokenPipeError:
        # The reader (`| head`) has gone. Without this, Python complains again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return _fail(error, f"{line} (ONSAGER_DEBUG=1 shows the traceback)", 1)


def _fail(error: BaseException, line: str, code: int) -> int:
    """Print one line on stderr, after the traceback if ONSAGER_DEBUG is set; return `code`."""
    if os.environ.get("ONSAGER_DEBUG"):
        import traceback

        traceback.print_exception(error)
    print(f"onsager: {' '.join(line.split())}", file=sys.stderr)
    return code
