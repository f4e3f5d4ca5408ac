"""The guides: all commands and all code run, on the embedded teacher; figures are those of the recipes."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import plugins
import pytest
from pages import blocks, commands, run_blocks

from smi_hf.demo import TEACHER_PATH
from smi_hf.environment import missing_packages

FOLDER = Path(__file__).resolve().parents[2] / "recipes" / "guides"
GUIDES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PARTS = FOLDER / "your-own-parts.md"
PLUGIN = FOLDER / "plugin"

SMALL = {
    "invert": ["--num_images", "4", "--num_steps", "20"],
    "prune": ["--num_epochs", "1", "--num_scenes", "8"],
    "distill": ["--num_train_epochs", "1", "--use_cpu", "true"],
}
EXTRAS = ("demo", "onnx", "plots")


def by_name(page: Path) -> str:
    return page.stem


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """The folder that this test is in, with what the guides name: labeled photographs, one picture, a checkpoint."""
    if missing := [extra for extra in EXTRAS if missing_packages(extra)]:
        pytest.skip(f"needs the extras {', '.join(missing)}")
    from smi_hf.demo.digits import digits_dataset

    digits = digits_dataset("test", 40)
    digits.to_parquet(tmp_path / "photographs.parquet")
    digits[0]["image"].save(tmp_path / "photograph.jpg")
    house = tmp_path / "path" / "to" / "house-vit"
    house.mkdir(parents=True)
    for file in TEACHER_PATH.iterdir():
        (house / file.name).symlink_to(file)
    config = json.loads((TEACHER_PATH / "config.json").read_text())
    (house / "config.json").unlink()
    (house / "config.json").write_text(
        json.dumps({**config, "model_type": "house_vit", "architectures": ["HouseViTForImageClassification"]})
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def adapted(text: str) -> str:
    """Without a back end that is not of this lane."""
    kept = [
        line for line in commands(text) if "--backend executorch" not in line or not missing_packages("executorch")
    ]
    return "\n".join(kept)


def adapted_blocks(page: Path) -> list[tuple[str, str]]:
    """With small numbers; what `SMALL` does for commands is done here for code."""
    changes = {
        "facebook/deit-tiny-patch16-224": str(TEACHER_PATH),
        "_layers 9": "_layers 2",
        "range(9)": "range(2)",
        'output_dir="out/taught-in-python"': 'output_dir="out/taught-in-python", num_train_epochs=1, use_cpu=True',
    }
    adapted_page = []
    for language, text in blocks(page):
        for before, after in changes.items():
            text = text.replace(before, after)
        adapted_page.append((language, adapted(text) if language == "bash" else text))
    return adapted_page


def expected(page: list[tuple[str, str]]) -> list[str]:
    """What of a page is to run."""
    ran: list[str] = []
    for language, text in page:
        if language == "bash":
            ran += [line.split()[1] for line in commands(text) if line.startswith("smi-hf ")]
        elif language == "python":
            ran.append("python")
    return ran


@pytest.mark.parametrize("page", [page for page in GUIDES if page != PARTS], ids=by_name)
def test_every_command_of_a_guide_runs(page, workspace, own_precision, request):
    if page.stem == "publish":
        request.getfixturevalue("hub")
    listed = adapted_blocks(page)
    assert run_blocks(listed, SMALL) == expected(listed) != []
    made = {word for _, text in listed for word in re.findall(r"--output_dir (out/\S+)", text)}
    assert all((workspace / name).is_dir() for name in made)


RUN_PAGE = "import json, sys, pages; print(json.dumps(pages.run_blocks(*json.load(sys.stdin))))"


def test_every_command_of_the_guide_to_own_parts_runs_with_the_example_package(
    workspace, own_precision, subprocess_environment
):
    plugins.install_project(PLUGIN, workspace / "site")
    listed = adapted_blocks(PARTS)
    path = os.pathsep.join([str(workspace / "site"), *sys.path])
    # Another process, as the options of this one have listed their choices already.
    answer = subprocess.run(
        [sys.executable, "-c", RUN_PAGE],
        input=json.dumps([listed, SMALL]),
        env={**subprocess_environment, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout.splitlines()[-1]) == expected(listed)
    settings = json.loads((workspace / "out/mine/smi.json").read_text())["settings"]
    assert (settings["policy"], settings["start"], settings["move"]) == ("least", "sky", "sign")
    rows = json.loads((workspace / "out/mine-int8/results.json").read_text())["rows"]
    assert {"black", "sky"} <= {row["key"] for row in rows}
    assert json.loads((workspace / "out/house/smi.json").read_text())["teacher"]["model_type"] == "house_vit"
    assert (workspace / "out/mine-pt/images.pt").is_file()


def test_help_lists_the_parts_of_the_example_package_and_imports_none(tmp_path, subprocess_environment):
    plugins.install_project(PLUGIN, tmp_path)
    for module in tmp_path.glob("*.py"):
        module.write_text("raise SystemExit('imported')")
    script = (
        "import sys\nfrom smi_hf.cli.main import main\n"
        "for command in ('invert', 'quantize', 'export-images'):\n"
        "    try: main([command, '--help-all'])\n"
        "    except SystemExit as exit: assert exit.code == 0, exit.code\n"
        "assert 'torch' not in sys.modules\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={**subprocess_environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert answer.returncode == 0, answer.stderr
    groups = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]
    parts = {name for group, names in groups.items() if group != "smi_hf.families" for name in names}
    assert parts <= set(re.findall(r"\w+", answer.stdout))
    assert "of the package smi-hf-example" in answer.stdout


def test_the_example_package_has_a_part_of_each_kind_and_the_guide_lists_them_all():
    settings = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    text = PARTS.read_text()
    assert set(settings["entry-points"]) == set(
        re.findall(r"^\| [\w ]+ \| `(smi_hf\.\w+)` \|", text, flags=re.MULTILINE)
    )
    (shown,) = [text for language, text in blocks(PARTS) if language == "toml"]
    for group, names in tomllib.loads(shown)["project"]["entry-points"].items():
        assert names.items() <= settings["entry-points"][group].items()
    (install,) = [shlex.split(line) for _, text in blocks(PARTS) for line in commands(text) if line.startswith("pip ")]
    assert FOLDER.parents[1] / install[-1] == PLUGIN


def test_the_pictures_are_those_that_the_script_draws(tmp_path):
    if missing_packages("plots") or missing_packages("demo"):
        pytest.skip("needs the extras plots and demo")
    runpy.run_path(str(FOLDER / "draw_pictures.py"))["draw_all"](tmp_path, 8)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {path.name for path in (FOLDER / "pictures").iterdir()}
    assert drawn == set(re.findall(r"\(pictures/([\w.]+)\)", (FOLDER / "how-it-works.md").read_text()))


def test_the_list_of_guides_is_whole():
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", (FOLDER / "README.md").read_text())) == {page.name for page in GUIDES}


@pytest.mark.parametrize("page", GUIDES, ids=by_name)
def test_a_guide_is_two_screens_and_says_what_to_do_why_and_what_can_go_wrong(page):
    text = page.read_text()
    assert len(text.splitlines()) <= 100
    if page.stem != "how-it-works":
        titles = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
        assert {"Why, and what to expect", "What can go wrong"} <= set(titles)


@pytest.mark.parametrize("page", GUIDES, ids=by_name)
def test_each_figure_of_a_guide_stands_on_a_page_that_it_links(page):
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+\.md)", text)
    there = " ".join(" ".join((page.parent / link).read_text().split()) for link in links)
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    assert [figure for figure in re.findall(r"\d+\.\d(?: ± \d+\.\d)?", prose) if figure not in there] == []
