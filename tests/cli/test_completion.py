"""The scripts by which shells complete, and what bash makes of its own."""

import shutil
import subprocess

import pytest

from smi_hf.cli.completion import SHELLS, whole_parser
from smi_hf.cli.main import COMMANDS

# What bash's own completion does when TAB is pressed behind these words.
PRESS_TAB = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
"$(complete -p smi-hf | sed 's/.* -F \\([^ ]*\\) .*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    import shtab

    path = tmp_path_factory.mktemp("completion") / "smi-hf"
    path.write_text(shtab.complete(whole_parser(), shell="bash"))
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["smi-hf", "qu"], ["quantize"]),
        (["smi-hf", ""], list(COMMANDS)),
        (["smi-hf", "quantize", "--back"], ["--backend"]),
        (["smi-hf", "quantize", "--backend", "op"], ["openvino"]),
        (["smi-hf", "distill", "--student_l"], ["--student_layers"]),
        (["smi-hf", "distill", "--preset", "re"], ["recover"]),
        (["smi-hf", "invert", "--config", "rec"], ["recipe.yaml"]),
        (["smi-hf", "push", "rec"], ["recipe.yaml"]),
        (["smi-hf", "completion", "z"], ["zsh"]),
    ],
)
def test_bash_completes_commands_options_choices_and_files(script, tmp_path, words, completed):
    (tmp_path / "recipe.yaml").touch()
    answer = subprocess.run(
        ["bash", "-c", PRESS_TAB, "bash", script, *words], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert answer.stdout.split() == completed, answer.stderr


def test_no_option_is_completed_in_two_spellings(script):
    text = script.read_text()
    assert "--student_layers" in text and "--student-layers" not in text


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_that_is_offered_has_a_script(shell):
    import shtab

    assert "quantize" in shtab.complete(whole_parser(), shell=shell)


def test_the_command_prints_the_script(smi, script):
    code, out, _ = smi("completion", "bash")
    assert (code, out) == (0, script.read_text() + "\n")


def test_a_shell_that_is_not_known_is_told_the_nearest(smi):
    code, _, err = smi("completion", "bas")
    assert code == 2 and "invalid choice: 'bas' (did you mean 'bash'?)" in err
