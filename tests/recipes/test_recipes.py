"""Every recipe parses, and runs on the tiny model."""

import json
import re
from pathlib import Path

import pytest
import yaml

from smi_hf.environment import EXTRAS, missing_packages

ROOT = Path(__file__).resolve().parents[2]
INVERT_RECIPES = sorted(ROOT.glob("recipes/*/invert*.yaml"))
QUANTIZE_RECIPES = sorted(ROOT.glob("recipes/*/quantize*.yaml"))
DISTILL_RECIPES = sorted(ROOT.glob("recipes/*/distill*.yaml"))
ACCELERATE_CONFIGS = sorted(ROOT.glob("recipes/accelerate/*.yaml"))


def test_no_recipe_is_of_a_kind_that_these_tests_do_not_know():
    assert set(ROOT.glob("recipes/**/*.yaml")) == {
        *INVERT_RECIPES,
        *QUANTIZE_RECIPES,
        *DISTILL_RECIPES,
        *ACCELERATE_CONFIGS,
    }


@pytest.mark.parametrize(
    "recipe",
    [*INVERT_RECIPES, *QUANTIZE_RECIPES, *DISTILL_RECIPES],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_a_recipe_begins_with_its_purpose_and_its_command(recipe, parse_command):
    lines = [line[1:].strip() for line in recipe.read_text().splitlines() if line.startswith("#")]
    assert lines[0].endswith("."), "the first line says what the recipe is for"
    text = "\n".join(lines).replace("\\\n", "")
    commands = [line for line in text.splitlines() if line.startswith(("accelerate launch ", "smi-hf "))]
    assert str(recipe.relative_to(ROOT)) in commands[-1]
    for command in commands:
        parse_command(command)


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in ROOT.glob("recipes/*/*.yaml")}), ids=lambda p: p.name
)
def test_a_page_names_every_recipe_of_its_folder(folder):
    page = folder / "README.md" if folder.name != "accelerate" else folder.parent / "README.md"
    missing = {path.name for path in folder.glob("*.yaml")} - set(re.findall(r"\w+\.yaml", page.read_text()))
    assert not missing


@pytest.mark.parametrize("recipe", INVERT_RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_an_invert_recipe_runs_on_the_tiny_model(recipe, tiny_checkpoint, tmp_path):
    from smi_hf import load_sparse_dataset
    from smi_hf.cli.invert import make_parser
    from smi_hf.cli.main import main

    model, config = make_parser().parse(["--config", str(recipe)])
    assert model.model_name_or_path
    small = ["--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", "--num_images", 4]
    small += ["--batch_size", 2, "--num_steps", 6, "--disable_tqdm"]
    if config.prune_steps:
        small += ["--prune_steps", *range(1, len(config.prune_steps) + 1)]
    assert main(["invert", "--config", str(recipe), *map(str, small)]) == 0
    record = load_sparse_dataset(tmp_path / "out").record
    assert record.settings["learning_rate"] == config.learning_rate


@pytest.fixture(scope="module")
def inverted(tiny_checkpoint, tmp_path_factory):
    """A sparse and a dense set of the tiny checkpoint."""
    from smi_hf.cli.main import main

    folder = tmp_path_factory.mktemp("inverted")
    for policy, prunes in (("smi", ["--prune_steps", 1, 2, 3, 4]), ("dense", [])):
        given = ["--model_name_or_path", tiny_checkpoint, "--output_dir", folder / policy, "--policy", policy]
        given += ["--num_images", 4, "--num_steps", 6, *prunes, "--disable_tqdm"]
        assert main(["invert", *map(str, given)]) == 0
    return folder


@pytest.mark.parametrize("recipe", QUANTIZE_RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_quantize_recipe_runs_on_the_tiny_model(recipe, tiny_checkpoint, inverted, photographs, tmp_path):
    from smi_hf.cli.main import main

    written = yaml.safe_load(recipe.read_text())
    if written["backend"] in EXTRAS and missing_packages(written["backend"]):
        pytest.skip(f"the {written['backend']} extra is absent")
    small = ["--model_name_or_path", tiny_checkpoint, "--dataset", inverted / "smi", "--num_images", 4]
    small += ["--output_dir", tmp_path / "model", "--disable_tqdm"]
    if "eval_dataset" in written:
        ours = {"real": photographs, "dense": inverted / "dense", "random": inverted / "dense"}
        names = [control.partition("=")[0] for control in written["controls"]]
        controls = [f"{name}={ours[name]}" if name in ours else name for name in names]
        small += ["--eval_dataset", photographs, "--eval_split", "train", "--controls", *controls]
    assert main(["quantize", "--config", str(recipe), *map(str, small)]) == 0
    assert (tmp_path / "model" / "config.json").is_file()
    if "eval_dataset" in written:
        rows = json.loads((tmp_path / "model" / "results.json").read_text())["rows"]
        assert len(rows) == 2 + len(controls)


@pytest.mark.parametrize("recipe", DISTILL_RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_distill_recipe_runs_on_the_tiny_model(
    recipe, tiny_checkpoint, inverted, photographs, tmp_path, own_precision
):
    from smi_hf.cli.main import main

    written = yaml.safe_load(recipe.read_text())
    small = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--dataset", inverted / "smi"]
    small += ["--output_dir", tmp_path / "student", "--num_train_epochs", 1, "--held_out", 0.3]
    small += ["--use_cpu", "true", "--disable_tqdm", "true"]
    if "eval_dataset" in written:
        small += ["--eval_dataset", photographs, "--eval_split", "train"]
    assert main(["distill", "--config", str(recipe), *map(str, small)]) == 0
    assert (tmp_path / "student" / "config.json").is_file()


@pytest.mark.parametrize("file", ACCELERATE_CONFIGS, ids=lambda path: path.name)
def test_an_accelerate_config_is_one_that_accelerate_reads(file):
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))
    assert config.num_processes == yaml.safe_load(file.read_text())["num_processes"]


def test_the_demo_recipe_names_the_embedded_teacher():
    from smi_hf.demo import TEACHER_PATH

    recipe = yaml.safe_load((ROOT / "recipes/demo/invert.yaml").read_text())
    assert (ROOT / recipe["model_name_or_path"]).resolve() == TEACHER_PATH
    assert (TEACHER_PATH / "model.safetensors").is_file()
