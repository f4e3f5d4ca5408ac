"""The pages: README.md runs from top to bottom on a tiny model, every command is parsed, links lead somewhere."""

import importlib.util
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from loss_cases import small_inputs
from pages import blocks, commands

from smi_hf.cli.main import main
from smi_hf.environment import missing_packages

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
CARDS = ROOT / "model_cards/README.md"
# Not the example cards, whose pictures lie in the folder that the command wrote.
PAGES = [README, CONTRIBUTING, CARDS, *sorted(ROOT.glob("recipes/**/*.md"))]
# Their commands run, in tests/recipes/test_guides.py.
GUIDES = sorted(ROOT.glob("recipes/guides/*.md"))


def by_page(pages: list[Path]) -> list:
    """Every command, with the page that it stands on, as parameters of a test."""
    return [
        pytest.param(command, id=f"{page.relative_to(ROOT)}:{command}")
        for page in pages
        for language, text in blocks(page)
        if language == "bash"
        for command in commands(text)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_says_what_language_it_is(page):
    # `console` shows tools of others, which are not here; tests/recipes/test_runtimes.py looks at their files.
    more = {"runtimes": {"console"}, "guides": {"toml"}}
    assert {language for language, _ in blocks(page)} <= {"bash", "python", *more.get(page.parent.name, ())}
    # A command in an indented block would be seen by no test.
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"^ {4}\S.*", prose, flags=re.MULTILINE)


@pytest.mark.parametrize("command", by_page([page for page in PAGES if page not in GUIDES]))
def test_a_command_is_one_that_there_is(command, parse_command, run_command, monkeypatch):
    words = shlex.split(command, comments=True)
    if words[0] in ("smi-hf", "accelerate"):
        parse_command(command)
    elif words[0] == "make":
        dry_run = run_command("make", "--dry-run", *words[1:])
        assert dry_run.returncode == 0, dry_run.stderr
    elif words[0] == "python":
        parse_script(ROOT / words[1], words[2:], monkeypatch)
    else:
        # Installed from the network, so it is not run here; the extras that it names must be some of ours.
        assert words[:2] == ["pip", "install"]
        extras = re.findall(r"smi-hf\[([\w,]+)\]", command)[0].split(",")
        pyproject = (ROOT / "pyproject.toml").read_text()
        assert all(re.search(rf"^{extra} = \[", pyproject, flags=re.MULTILINE) for extra in extras)


def parse_script(path: Path, arguments: list[str], monkeypatch) -> None:
    """Reads the arguments of a script of recipes/ as it would, and runs nothing."""
    from transformers import HfArgumentParser

    spec = importlib.util.spec_from_file_location(path.stem, path)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, script)
    # Python puts a script's own folder first.
    monkeypatch.syspath_prepend(str(path.parent))
    spec.loader.exec_module(script)
    (taken,) = (value for name, value in vars(script).items() if name in ("Arguments", "TeacherArguments"))
    HfArgumentParser(taken).parse_args_into_dataclasses(arguments)


@pytest.fixture
def workspace(tmp_path, tiny_checkpoint, photographs, monkeypatch):
    """The folder that this test is in: relative paths of the README lead somewhere, and it may be written to."""
    for name in ("recipes", "smi_hf"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "photographs.parquet").symlink_to(photographs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def adapted(text: str, checkpoint: Path) -> str:
    """With local models and small numbers, and without ONNX Runtime where it is not installed."""
    text = text.replace("facebook/deit-tiny-patch16-224", str(checkpoint))
    # It has two layers.
    text = text.replace("--student_layers 9", "--student_layers 1")
    text = re.sub(r"\bnum_images=\d+", "num_images=4, num_steps=6", text)
    return text.replace('backend="onnx"', 'backend="quanto"') if missing_packages("onnx") else text


# The last one of an option wins.
SMALL = {
    "invert": ["--num_images", "4", "--num_steps", "6"],
    "quantize": ["--backend", "quanto"] if missing_packages("onnx") else [],
    "prune": [],
    "distill": ["--num_train_epochs", "1", "--use_cpu", "true"],
    "export-images": [],
    "evaluate": [],
    "doctor": [],
}


def run_here(command: str, run_command, workspace: Path) -> bool:
    """Runs a command of the README, in this process where that is possible; returns whether it is one that runs."""
    words = shlex.split(command, comments=True)
    if words[:2] == ["smi-hf", "push"] or words[0] in ("make", "pip"):
        return False  # they need the network, or minutes
    if words[0] == "smi-hf":
        assert main([*words[1:], *SMALL[words[1]]]) == 0, command
    else:
        answer = run_command(*words, *SMALL["invert"], cwd=workspace)
        assert answer.returncode == 0, f"{command}\n{answer.stderr}"
    return True


def test_the_readme_runs_from_top_to_bottom(workspace, tiny_checkpoint, run_command, own_precision):
    namespace: dict[str, object] = {}
    ran = []
    # The block about datasets stands beside the cards, and reads what the README made.
    for language, text in [*blocks(README), *(block for block in blocks(CARDS) if block[0] == "python")]:
        text = adapted(text, tiny_checkpoint)
        if language == "python":
            exec(compile(text, "a block of the README", "exec"), namespace)
            ran.append("python")
        else:
            ran += [command.split()[1] for command in commands(text) if run_here(command, run_command, workspace)]
    assert set(ran) == {"python", "doctor", "invert", "quantize", "prune", "distill", "evaluate", "launch"}


def test_the_examples_of_contributing_run(monkeypatch):
    from smi_hf.losses import LOSSES

    # What they register is forgotten.
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))
    namespace: dict[str, object] = {}
    for language, text in blocks(CONTRIBUTING):
        if language == "python":
            exec(compile(text, "a block of CONTRIBUTING.md", "exec"), namespace)
    assert namespace["config"].term_weights["brightness"] == 0.1
    for name in ("brightness", "attention_spread"):
        assert LOSSES.get(name)(small_inputs()).shape == (2,)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 160


def tables(text: str) -> int:
    return len(re.findall(r"^\|[-:| ]+\|$", text, flags=re.MULTILINE))


def test_the_readme_has_a_table_of_results_and_one_of_models():
    assert tables(README.read_text()) == 2


def test_each_figure_of_the_readmes_table_stands_on_the_page_that_the_row_links():
    rows = [line for line in README.read_text().splitlines() if line.startswith("|") and "](" in line]
    assert rows
    for row in rows:
        (page,) = re.findall(r"\]\(([^)#]+)", row)
        text = " ".join((ROOT / page).read_text().split())
        missing = {figure for figure in re.findall(r"\d+\.\d(?: ± \d+\.\d)?", row) if figure not in text}
        assert not missing, f"{page} lacks {missing}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_names_no_path_of_a_machine(page):
    text = page.read_text()
    assert "../shared" not in text
    assert not re.findall(r"(?<![\w.:/])/(?:work|home|root|tmp|mnt|Users)/\S*", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        link = urlsplit(target)
        if link.scheme:
            continue
        path = page.parent / link.path if link.path else page
        if not path.exists() or (link.fragment and link.fragment not in headings(path)):
            dead.append(target)
    assert not dead


def headings(page: Path) -> set[str]:
    """Headings as links name them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_the_repository_that_a_page_names_exists(page):
    named = re.findall(r"`((?:smi_hf|tests|recipes|model_cards|\.ci)/[\w./]*)`", page.read_text())
    # NAME stands for a name of the reader's choice.
    placeholders = [Path(name) for name in named if re.search(r"[A-Z_]{4,}\.", name)]
    files = [Path(name) for name in named if Path(name) not in placeholders]
    assert [path for path in files if not (ROOT / path).exists()] == []
    assert [path for path in placeholders if not (ROOT / path).parent.is_dir()] == []


def test_the_map_names_exactly_the_rooms_that_there_are_from_the_ground_up():
    _, _, table = CONTRIBUTING.read_text().partition("| room of `smi_hf/` |")
    lines = table.partition("\n\n")[0].splitlines()[2:]
    floors = [set(re.findall(r"`(\w+)`", line.split("|")[1])) for line in lines]
    layers = runpy.run_path(str(ROOT / "tests/test_layers.py"))
    assert floors == list(layers["FLOORS"])


def test_the_pages_are_all_the_pages():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout of git")
    rendered = {path.with_suffix(".md") for path in ROOT.glob("model_cards/*.json")}
    assert {ROOT / name for name in listed.stdout.split()} - rendered <= set(PAGES)
