"""Each code block of the README, run as it stands but for smaller numbers and a local model."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from smi_hf.environment import missing_packages

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(bash|python|text)\n(.*?)```", README, flags=re.DOTALL)
JOINED = [re.sub(r"\\\n\s*", "", block) for language, block in BLOCKS if language == "bash"]
COMMANDS = [line for block in JOINED for line in block.splitlines() if line.strip() and not line.startswith("#")]
PYTHON = [block for language, block in BLOCKS if language == "python"]
# The network is absent and minutes are too long, so each command gets a local model and these at its end, where the
# last one wins.
SMALL = ["--num_images", "2", "--num_steps", "6"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """An empty folder with the repository's recipes, where relative paths of the README lead somewhere."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "smi_hf").symlink_to(ROOT / "smi_hf")
    return folder


def adapted(text: str, checkpoint: Path) -> str:
    return text.replace("facebook/deit-tiny-patch16-224", str(checkpoint))


def test_the_readme_has_blocks_of_each_kind():
    assert len(COMMANDS) >= 8
    assert len(PYTHON) >= 1


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("make ")])
def test_a_make_command_is_a_target(run_command, command):
    dry_run = run_command("make", "--dry-run", *shlex.split(command, comments=True)[1:])
    assert dry_run.returncode == 0, dry_run.stderr


def test_the_code_of_the_readme_runs_from_top_to_bottom(run_command, workspace, tiny_checkpoint):
    ran = 0
    for command in COMMANDS:
        words = shlex.split(adapted(command, tiny_checkpoint), comments=True)
        # make has its own test; the benchmark takes minutes, and the figures beside it say when it was run.
        if words[0] == "make" or "recipes/benchmarks" in command:
            continue
        if words[:2] == ["smi-hf", "quantize"] and missing_packages("onnx"):
            continue
        if "recipes/invert.py" in words or words[:2] == ["smi-hf", "invert"]:
            words += ["--model_name_or_path", str(tiny_checkpoint), *SMALL]
        if words[:2] == ["smi-hf", "demo"]:
            words += [*SMALL, "--num_distillation_images", "4", "--num_epochs", "1"]
        if words[0] == "python":
            words[0] = sys.executable
        answer = run_command(*words, cwd=workspace)
        assert answer.returncode == 0, f"{command}\n{answer.stderr}"
        ran += 1
    assert ran >= 6

    # The Python blocks read what the commands wrote.
    for block in PYTHON:
        code = adapted(block, tiny_checkpoint)
        if "onnxruntime" in code and missing_packages("onnx"):
            continue
        for name, value in (("num_images", 2), ("num_steps", 6)):
            code = re.sub(rf"{name}=\d+", f"{name}={value}", code)
        answer = run_command(sys.executable, "-c", code, cwd=workspace)
        assert answer.returncode == 0, f"{block}\n{answer.stderr}"


def test_every_path_that_the_readme_names_exists():
    named = set(re.findall(r"\]\(([\w./-]+)\)", README)) | set(re.findall(r'src="([\w./-]+)"', README))
    assert {path for path in named if not (ROOT / path).exists()} == set()
