"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """A mistake in a config, a file or a command; its message is one line.

    The message names the key or file, the value found and what is allowed. The command line prints it
    without a traceback and exits with code 2.
    """
