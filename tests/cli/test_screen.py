"""What reaches the terminal of a command, and what goes into its log."""

import logging
import os
import re
import sys
import warnings
from pathlib import Path

import pytest
from pseudo_terminal import screen_of

from smi_hf import progress
from smi_hf.cli.main import answer_errors
from smi_hf.cli.screen import Screen, Volume, error_stream
from smi_hf.environment import missing_packages
from smi_hf.errors import RunError

NOISY = """
import logging, os, sys, warnings
from smi_hf import progress
from smi_hf.cli.main import answer_errors
def run(arguments):
    print("from C", file=sys.stderr)
    os.write(2, b"from deeper C\\n")
    warnings.warn("from Python")
    logging.getLogger("others").warning("from a package")
    logging.getLogger("smi_hf.ours").info("ours")
    logging.getLogger("smi_hf.ours").debug("ours in detail")
    with progress.bar("Counting", total=2, unit="sheep") as bar:
        bar.update(2)
    print("the result")
sys.exit(answer_errors(run, WORDS))
"""
OTHERS = ("from C", "from deeper C", "from Python", "from a package")


def log_named_in(text: str) -> Path:
    return Path(re.search(r"^log: (.*)$", text, re.MULTILINE).group(1))


@pytest.fixture
def seen(subprocess_environment):
    """What a noisy command leaves on the screen."""
    return lambda *words: screen_of(NOISY.replace("WORDS", repr(list(words))), subprocess_environment)


def test_what_others_say_is_in_the_log_and_not_on_the_screen(seen):
    shown = seen()
    assert not [words for words in OTHERS if words in shown]
    assert "ours\n" in shown and "the result" in shown and "Counting: 2 sheeps in" in shown
    assert "ours in detail" not in shown
    log = log_named_in(shown).read_text()
    assert all(words in log for words in (*OTHERS, "ours in detail"))


def test_quietly_the_result_alone_is_shown(seen):
    assert [line for line in seen("--quiet").splitlines() if line] == ["the result"]


def test_verbosely_everything_is_shown(seen):
    shown = seen("--verbose")
    assert all(words in shown for words in (*OTHERS, "ours in detail", "Counting: 2 sheeps in", "the result"))
    assert "log: " not in shown


def test_a_log_is_named_where_a_run_fails_and_where_others_spoke(capsys):
    def fail(arguments):
        logging.getLogger("smi_hf.ours").debug("how it went")
        raise RunError("no memory")

    assert answer_errors(fail, []) == 1
    log = log_named_in(capsys.readouterr().err).read_text()
    assert "how it went" in log and "RunError: no memory" in log
    assert answer_errors(lambda arguments: logging.getLogger("smi_hf.ours").info("ours"), []) == 0
    assert capsys.readouterr().err == "ours\n"
    assert answer_errors(lambda arguments: warnings.warn("theirs", stacklevel=1), []) == 0
    assert "theirs" in log_named_in(capsys.readouterr().err).read_text()


def test_each_line_of_ours_is_shown_once(capsys):
    def run(arguments):
        for _ in range(3):
            logging.getLogger("smi_hf.ours").warning("careful")

    answer_errors(run, [])
    assert capsys.readouterr().err == "careful\n"


def test_all_is_as_it_was_when_a_command_has_ended():
    root, before = logging.getLogger(), (list(logging.getLogger().handlers), warnings.showwarning, sys.stderr)
    with Screen([]).shown():
        assert progress.bar("Counting").is_shown
        assert (root.handlers, warnings.showwarning) != before[:2]
    assert (root.handlers, warnings.showwarning, sys.stderr) == before
    assert error_stream() is sys.stderr
    assert "HF_DATASETS_DISABLE_PROGRESS_BARS" not in os.environ


def test_how_much_is_shown_is_read_from_the_words():
    assert Volume.of([]) is Volume.NORMAL
    assert Volume.of(["--quiet"]) is Volume.QUIET
    assert Volume.of(["x", "--verbose"]) is Volume.VERBOSE


@pytest.mark.parametrize("command", ["invert", "quantize", "prune", "distill", "evaluate", "push", "doctor"])
def test_every_command_may_be_quiet_or_verbose_and_not_both(parser_of, command, capsys):
    parser = parser_of(command)
    assert {"--quiet", "--verbose"} <= {option for action in parser._actions for option in action.option_strings}
    with pytest.raises(SystemExit):
        parser.parse(["--quiet", "--verbose"])
    assert "not allowed with" in capsys.readouterr().err


COMMANDS = """
import sys
from smi_hf.cli.main import main
teacher, dataset, photographs, folder, backend = WORDS
judged = ["--eval_dataset", photographs]
codes = [
    main(["quantize", "--model_name_or_path", teacher, "--dataset", dataset, "--output_dir", folder + "/int8",
          "--backend", backend, *judged]),
    main(["prune", "--model_name_or_path", teacher, "--dataset", dataset, "--output_dir", folder + "/pruned",
          "--num_epochs", "1", *judged, "--controls", "gaussian"]),
    main(["distill", "--teacher", teacher, "--student", folder + "/pruned", "--dataset", dataset, "--use_cpu", "true",
          "--output_dir", folder + "/student", "--num_train_epochs", "2", "--eval_strategy", "epoch", *judged]),
]
print("codes", codes)
"""


def test_no_library_is_heard_in_the_terminal_of_a_small_chain(
    tiny_checkpoint, sparse_folder, photographs, tmp_path, subprocess_environment
):
    backend = "simulated" if missing_packages("onnx") else "onnx"
    words = repr([str(each) for each in (tiny_checkpoint, sparse_folder, photographs, tmp_path, backend)])
    shown = screen_of(COMMANDS.replace("WORDS", words), subprocess_environment, SMI_HF_CACHE=str(tmp_path / "cache"))
    assert "codes [0, 0, 0]" in shown, shown
    for noise in (
        "Warning",
        "WARNING",
        "deprecated",
        "use_fast",
        "pin_memory",
        "Generating",
        "it/s]",
        "{'",
        "Axis",
        "weights:",
    ):
        assert noise not in shown, shown
    ours = (
        "Loading ", "Converting ", "Quantizing", "Evaluating", "Measuring", "Pruning", "Teaching", "Judging",
        "preset ", "target ", "takes about ", "the student", f"{backend}, ", "pruned, ", "Students of ",
        "The way to ", "no room for", "made ", "quality ", "controls ", "where ", "next, ", "log: ", "codes ",
        " ", "│", "┃", "┏", "┡", "└",
    )  # fmt: skip
    assert not [line for line in shown.splitlines() if line and not line.startswith(ours)], shown
    for end in ("made      pruned model", "made      student, ", "controls  Gaussian noise has "):
        assert end in shown
