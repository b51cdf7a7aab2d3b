"""The error that a user can mend; the command line prints it as one sentence, without a traceback."""


class InputError(ValueError):
    """Bad input. The message names the file or key, the value found, and the way out."""


def first_line(error: BaseException) -> str:
    """What a library's exception says, in one line; its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
