"""The error that a user can mend; the command line prints it as one sentence, without a traceback."""


class InputError(ValueError):
    """Bad input. The message names the file or key, the value found, and the way out."""
