"""Errors that the command line answers with one message and an exit code."""


class UsageError(ValueError):
    """A user's mistake: wrong input, a wrong option, or a combination that cannot work. Exit code 2."""


class RunError(RuntimeError):
    """A run that began well and could not go on. Exit code 1."""


def printable(text: str, *, lines: bool = False) -> str:
    """The text with control characters written as `\\x1b`.

    Names of labels, columns and files are written by others, and a terminal obeys what they hold.

    Args:
        lines: whether line breaks and tabs stay as they are.
    """
    kept = "\n\t" if lines else ""
    return "".join(
        character if character.isprintable() or character in kept else character.encode("unicode_escape").decode()
        for character in text
    )
