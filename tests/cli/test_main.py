"""What every command has in common: errors, interruptions, and what reaches the terminal."""

import errno
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import pytest

from smi_hf.cli.main import COMMANDS, answer_errors, module_of
from smi_hf.errors import RunError, UsageError, printable


def raising(error):
    def run(arguments):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UsageError("give less"), 2, "smi-hf: error: give less"),
        (RunError("no memory"), 1, "smi-hf: failed: no memory"),
        (OSError(errno.ENAMETOOLONG, "Name too long", "x"), 2, "smi-hf: error: [Errno 36] Name too long: 'x'"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "smi-hf: failed: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "smi-hf: interrupted; the same command continues where it stopped"),
    ],
)
def test_an_error_is_one_message_and_a_code(error, code, said, capsys):
    assert answer_errors(raising(error)) == code
    sentence, *named = capsys.readouterr().err.splitlines()
    assert sentence == said
    # What went wrong is told in full where a user did nothing wrong.
    assert len(named) == (code == 1)
    for line in named:
        assert "Traceback" in Path(line.removeprefix("log: ")).read_text()


def test_what_cannot_be_continued_is_not_promised(capsys):
    assert answer_errors(raising(KeyboardInterrupt()), continues=False) == 130
    assert capsys.readouterr().err == "smi-hf: interrupted; the same command begins anew\n"


@pytest.mark.parametrize("error", [AssertionError("ours"), OSError("without a number"), ZeroDivisionError()])
def test_a_fault_of_ours_is_not_hidden(error):
    with pytest.raises(type(error)):
        answer_errors(raising(error))


def test_termination_cleans_up_as_an_interruption_does(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)

    def run(arguments):
        try:
            (tmp_path / "half").write_text("")
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            (tmp_path / "half").unlink()

    assert answer_errors(run) == 130
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a label", "a label"),
        ("red \x1b[31m", r"red \x1b[31m"),
        ("two\nlines", r"two\nlines"),
        ("back\rto the start", r"back\rto the start"),
        ("right to left \u202e", r"right to left \u202e"),
        ("crème brûlée 犬", "crème brûlée 犬"),
        ("no text \udcff", r"no text \udcff"),
    ],
)
def test_nothing_that_controls_a_terminal_reaches_it(text, shown, capsys):
    assert printable(text) == shown
    answer_errors(raising(UsageError(text)))
    assert capsys.readouterr().err == f"smi-hf: error: {shown}\n"


def test_what_is_logged_is_shown_once_while_a_command_runs(capsys):
    for _ in range(2):
        answer_errors(lambda arguments: logging.getLogger("smi_hf.somewhere").warning("careful \x1b[0m"))
        assert capsys.readouterr().err == "careful \\x1b[0m\n"
    assert logging.getLogger("smi_hf").handlers == []


def test_every_command_is_a_file_of_under_120_lines_that_runs():
    from importlib import import_module
    from pathlib import Path

    for name in COMMANDS:
        module = import_module(module_of(name))
        assert callable(module.run)
        assert len(Path(module.__file__).read_text().splitlines()) < 120, name


def test_an_unknown_command_suggests_the_nearest(smi):
    code, _, err = smi("inver")
    assert code == 2
    assert "there is no command 'inver' (did you mean 'invert'?)" in err


def test_no_command_shows_the_overview(smi):
    code, out, _ = smi()
    assert code == 2
    assert all(command in out for command in COMMANDS)


# `python -c` with this prints which of these a command's help has imported.
HEAVY = "print(sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)), file=sys.stderr)"


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_help_is_a_screen_in_a_second_without_torch(run_command, command):
    code = f"import sys\nfrom smi_hf.cli.main import main\ntry:\n    main(sys.argv[1:])\nfinally:\n    {HEAVY}"
    # Seconds of the processor: what else a machine does while tests run is no matter of ours.
    before = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    answer = run_command(sys.executable, "-c", code, *command, "--help")
    seconds = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - before
    assert seconds < 1
    assert answer.returncode == 0 and answer.stderr == "[]\n"
    assert answer.stdout.startswith("usage: smi-hf")
    lines = answer.stdout.splitlines()
    assert len(lines) <= 60
    assert [line for line in lines if len(line) > 80] == []
    if command:
        assert lines[-1].endswith(f"smi-hf {command[0]} --help-all")
        assert "examples:" in lines


def test_the_overview_tells_of_both_helps_and_of_completion(smi):
    out = smi("--help").out
    assert "--help-all" in out and "\n  completion " in out
