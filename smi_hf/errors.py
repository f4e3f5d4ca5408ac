"""Errors that the command line answers with one message and an exit code."""


class UsageError(ValueError):
    """A user's mistake: wrong input, a wrong option, or a combination that cannot work. Exit code 2."""


class RunError(RuntimeError):
    """A run that began well and could not go on. Exit code 1."""


def printable(text: str) -> str:
    """The text with control characters, other than line breaks and tabs, written as `\\x1b`.

    Names of labels, columns and files are written by others, and a terminal obeys what they hold.
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )
