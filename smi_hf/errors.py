"""Errors that the command line answers with one message and an exit code."""


class UsageError(ValueError):
    """A user's mistake: wrong input, a wrong option, or a combination that cannot work. Exit code 2."""


class RunError(RuntimeError):
    """A run that began well and could not go on. Exit code 1."""
