"""`prune`: what it writes, what it refuses, and that the command is the verb."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from timeless import timeless
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
)

from smi_hf import (
    PruningConfig,
    UsageError,
    load_predictor,
    load_student,
    load_teacher,
    prune,
)
from smi_hf.cli.main import main
from smi_hf.evaluation.record import ModelRecord
from smi_hf.evaluation.run import evaluate
from smi_hf.images.kept import sparse_images
from smi_hf.images.starts import start_images
from smi_hf.models import Teacher
from smi_hf.pruning import prune_mlps
from smi_hf.starts.base import StartSpec


@pytest.fixture
def config(tmp_path):
    """Closed form on the images alone."""
    return PruningConfig(output_dir=str(tmp_path / "pruned"), num_epochs=0, num_scenes=0, disable_tqdm=True)


def test_scenes_and_fitted_layers_are_those_of_the_parts(teacher, dataset, config, tmp_path):
    record = prune(teacher, dataset, replace(config, num_epochs=2, num_scenes=3, seed=4))
    scenes = start_images(StartSpec("scenes"), teacher, 3, seed=1_000_004)
    expected = prune_mlps(teacher.model, [sparse_images(dataset), scenes], num_epochs=2, seed=4, disable_tqdm=True)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "pruned").eval()
    pixels = torch.randn(2, 3, *teacher.model.grid.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(pixels).logits, expected.model(pixels).logits)
    assert (record.settings["num_epochs"], record.settings["num_scenes"], record.settings["seed"]) == (2, 3, 4)


def test_the_model_is_that_of_its_parts_and_stock_transformers_reads_it(teacher, dataset, config, tmp_path):
    record = prune(teacher, dataset, config)
    expected = prune_mlps(teacher.model, sparse_images(dataset), keep=0.5, disable_tqdm=True)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "pruned").eval()
    pixels = torch.randn(2, 3, *teacher.model.grid.image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded(pixels).logits, expected.model(pixels).logits)
    assert loaded.config.id2label == teacher.model.config.id2label
    assert AutoImageProcessor.from_pretrained(tmp_path / "pruned").image_mean == teacher.image_processor.image_mean
    assert record == ModelRecord.load(tmp_path / "pruned")
    assert record.changed_file(tmp_path / "pruned") is None
    assert {"config.json", "model.safetensors", "preprocessor_config.json"} <= record.files.keys()
    assert record.settings["parameters"] == sum(weight.numel() for weight in loaded.parameters())
    assert record.settings["layers"] == list(range(teacher.model.config.num_hidden_layers))


def test_the_table_has_the_whole_model_this_one_and_its_controls(teacher, dataset, config, images, tmp_path):
    record = prune(teacher, [dataset, dataset], config, images=images, controls=["gaussian"])
    assert [(row.key, len(row.runs)) for row in record.rows] == [("whole", 1), ("sparse", 2), ("gaussian", 1)]
    whole, own, noise = record.rows
    assert whole.runs[0].top1 == evaluate(teacher, images, disable_tqdm=True).top1
    assert own.runs[0] == own.runs[1]
    assert own.runs[0].top1 == evaluate(load_predictor(str(tmp_path / "pruned")), images, disable_tqdm=True).top1
    for figure in ("parameters", "macs"):
        assert own.figures[figure] < whole.figures[figure] and figure not in noise.figures
    assert own.figures["latency_ms_1"] > 0
    card = (tmp_path / "pruned" / "README.md").read_text()
    for words in (
        "pruned without data",
        "50 % of the hidden units",
        "the same pruning with as many",
        "Gaussian noise",
    ):
        assert words in card
    assert f"{record.settings['parameters']:,} parameters instead of {record.settings['parameters_before']:,}" in card


def test_the_command_and_the_verb_write_the_same_record(
    teacher, dataset, images, sparse_folder, tiny_checkpoint, photographs, tmp_path
):
    config = PruningConfig(
        keep_mlp=0.75, num_layers=1, output_dir=str(tmp_path / "verb"), control_seeds=[0, 1], disable_tqdm=True
    )
    verb = prune(teacher, dataset, config, images=images, controls=["gaussian", "filled"])
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--disable_tqdm", "--keep_mlp", 0.75]
    given += ["--num_layers", 1, "--output_dir", tmp_path / "command", "--control_seeds", 0, 1]
    given += ["--eval_dataset", photographs, "--controls", "gaussian", "filled"]
    assert main(["prune", *map(str, given)]) == 0
    assert timeless(ModelRecord.load(tmp_path / "command")) == timeless(verb)
    assert len(verb.settings["layers"]) == 1


def test_what_is_pruned_is_a_student_and_a_model_to_quantize(teacher, dataset, config, tmp_path):
    prune(teacher, dataset, config)
    assert load_student(str(tmp_path / "pruned"), teacher).origin.name == "pruned"
    smaller = load_teacher(str(tmp_path / "pruned"))
    assert smaller.weights_sha256() != teacher.weights_sha256()
    pixels = np.zeros((1, 3, *teacher.model.grid.image_size), np.float32)
    assert load_predictor(str(tmp_path / "pruned"))(pixels).shape == (1, len(teacher.label_names))


def test_layers_may_be_named(teacher, dataset, config, tmp_path):
    last = teacher.model.config.num_hidden_layers - 1
    record = prune(teacher, dataset, replace(config, keep_mlp=1.0, layers=[0, last]))
    assert record.settings["layers"] == [0, last]
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert f"Layers that stayed, numbered from 0: 0, {last}." in card or last == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 9}, "num_layers is 9, but the model has . layers"),
        ({"layers": [0, 9]}, "layers is 0 9, but names those that stay, ascending, each once, from 0 to"),
        ({"layers": [1, 0]}, "layers is 1 0, but names those that stay"),
        ({"num_images": 1000}, "1000"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_nothing(changes, message, teacher, dataset, config, tmp_path):
    with pytest.raises(UsageError, match=message):
        prune(teacher, dataset, replace(config, **changes))
    assert list(tmp_path.iterdir()) == []


def test_images_of_another_model_are_refused_unless_that_is_said(dataset, config, tiny_checkpoint, tmp_path):
    other = load_teacher(str(tiny_checkpoint))
    with torch.no_grad():
        other.model.model.classifier.bias += 1
    with pytest.raises(UsageError, match="other_teacher"):
        prune(other, dataset, config)
    assert list(tmp_path.iterdir()) == []
    assert not prune(other, dataset, replace(config, other_teacher=True)).datasets[0].is_from_teacher


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"controls": ["gaussian"]}, "controls are rows of a result table; give --eval_dataset as well"),
        ({"controls": ["gausian"]}, "gaussian"),
        ({"datasets": []}, "there is no dataset to prune on; give at least one"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message, teacher, dataset, config):
    with pytest.raises(UsageError, match=message):
        prune(teacher, **{"datasets": dataset, "config": config} | arguments)


def test_a_width_that_no_checkpoint_can_say_is_refused_with_those_that_can(teacher, dataset, config, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 4, "num_labels": 5}
    model = Dinov2ForImageClassification(Dinov2Config(**sizes, image_size=32, patch_size=8))
    dinov2 = Teacher.from_model(model, teacher.image_processor, name="dinov2")
    config = replace(config, other_teacher=True, keep_mlp=0.6)
    with pytest.raises(UsageError, match=r"0\.6 of 64 units is none; keep_mlp can be 0\.25, 0\.5, 0\.75, 1$"):
        prune(dinov2, dataset, config)
    assert list(tmp_path.iterdir()) == []
    prune(dinov2, dataset, replace(config, keep_mlp=0.75))
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "pruned").config.mlp_ratio == 3


def test_under_a_budget_the_model_and_its_controls_have_one_width_which_record_and_card_tell(
    teacher, dataset, config, images, tmp_path, caplog
):
    whole = teacher.model.model.num_parameters()
    budget = 0.9 * whole / 1e6
    with caplog.at_level("INFO", "smi_hf"):
        record = prune(teacher, dataset, replace(config, max_parameters=budget), images=images, controls=["gaussian"])
    assert caplog.text.count("hidden units of each MLP stay") == 1
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "pruned")
    width = loaded.config.intermediate_size
    assert (width % 8, record.settings["keep_mlp"]) == (0, width / teacher.model.config.intermediate_size)
    # Eight more would not fit.
    per_unit = (whole - loaded.num_parameters()) / (teacher.model.config.intermediate_size - width)
    assert loaded.num_parameters() <= 1e6 * budget < loaded.num_parameters() + 8 * per_unit
    assert record.rows[1].figures["parameters"] == loaded.num_parameters() / 1e6
    assert record.settings["max_parameters"] == budget and "max_ms" not in record.settings
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert "`max_parameters`" in card and f"{100 * record.settings['keep_mlp']:g} % of the hidden units" in card


def test_a_budget_of_time_is_met_by_a_model_of_fewer_layers(teacher, dataset, config):
    # One layer of two, and 1,000 seconds for an image: nothing more need go.
    record = prune(teacher, dataset, replace(config, max_ms=1e6, num_layers=1))
    assert (record.settings["keep_mlp"], len(record.settings["layers"]), record.settings["max_ms"]) == (1.0, 1, 1e6)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"max_parameters": 1e-6}, "give at least that, or leave fewer layers"),
        ({"max_gmacs": 1e6}, "nothing would be pruned"),
        ({"max_ms": 1e-6, "num_layers": 1}, "but the smallest model with one layer costs"),
    ],
)
def test_a_budget_that_does_not_fit_is_refused_and_leaves_nothing(budget, message, teacher, dataset, config, tmp_path):
    with pytest.raises(UsageError, match=message):
        prune(teacher, dataset, replace(config, **budget))
    assert list(tmp_path.iterdir()) == []


def test_under_a_budget_a_family_that_has_a_ratio_gets_a_whole_one(teacher, dataset, config, tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 4, "num_labels": 5}
    model = Dinov2ForImageClassification(Dinov2Config(**sizes, image_size=32, patch_size=8))
    dinov2 = Teacher.from_model(model, teacher.image_processor, name="dinov2")
    # Room for 3.5 times the hidden size.
    budget = (model.num_parameters() - 2 * 8 * 33) / 1e6
    prune(dinov2, dataset, replace(config, other_teacher=True, max_parameters=budget))
    assert AutoModelForImageClassification.from_pretrained(tmp_path / "pruned").config.mlp_ratio == 3


def test_a_report_lies_beside_the_model_and_is_not_of_it(teacher, dataset, config, tmp_path):
    record = prune(teacher, dataset, config)
    assert (tmp_path / "pruned" / "report.html").is_file()
    assert "report.html" not in record.files
