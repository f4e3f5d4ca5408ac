"""Running `smi-hf` in this process, as a user would in a terminal."""

from typing import NamedTuple

import pytest

from smi_hf.cli.main import main


class Answer(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The last line on stderr except the log's name: a refusal is one sentence, whatever was said before it."""
        lines = [line for line in self.err.splitlines() if line.strip() and not line.startswith("log: ")]
        return lines[-1] if lines else ""


@pytest.fixture
def smi(capsys):
    """Runs `smi-hf` in this process; an exception that `main` does not answer fails the test, as it is a traceback."""

    def run(*arguments: object) -> Answer:
        capsys.readouterr()
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit:
            code = exit.code
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return run
