"""Cards of models that took several steps: pruned, taught, quantized."""

import logging
from dataclasses import replace

import pytest
from huggingface_hub import metadata_load

from smi_hf import (
    PruningConfig,
    QuantizationConfig,
    SparseDistillationConfig,
    distill,
    load_student,
    load_teacher,
    prune,
    quantize,
)
from smi_hf.cli.tables import show_tables
from smi_hf.evaluation.record import ModelRecord
from smi_hf.hub import render_model_card
from smi_hf.models import License


@pytest.fixture
def chain(quantized, distilled):
    """A record of a teacher that was pruned, taught and quantized, each in a local folder."""
    local = {"revision": None, "license": None}
    settings = {"compensation": "ridge regression", "keep_mlp": 0.5, "layers": [0, 1], "layers_before": 2}
    pruned = replace(quantized, kind="pruned", settings=settings, runtime=None)
    student = replace(distilled.student, name="pruned", **local)
    taught = replace(distilled, student=student, history=pruned.continued())
    return replace(
        quantized, teacher=replace(quantized.teacher, name="recovered", **local), history=taught.continued()
    )


def test_three_verbs_make_one_record_and_one_card_that_tell_the_whole_way(
    teacher, dataset, images, tmp_path, own_precision, caplog, capsys
):
    silent = {"disable_tqdm": True}
    prune(teacher, dataset, PruningConfig(output_dir=str(tmp_path / "pruned"), **silent), images=images)
    student = load_student(str(tmp_path / "pruned"), teacher)
    config = SparseDistillationConfig(
        output_dir=str(tmp_path / "recovered"), num_train_epochs=1, use_cpu=True, report_to="none", **silent
    )
    taught = distill(teacher, student, dataset, config, images=images)
    assert [step.kind for step in taught.history] == ["pruned"]
    recovered = load_teacher(str(tmp_path / "recovered"))
    config = QuantizationConfig(output_dir=str(tmp_path / "int8"), backend="simulated", other_teacher=True, **silent)
    record = quantize(recovered, dataset, config, images=images, controls=["gaussian"])
    assert record == ModelRecord.load(tmp_path / "int8")
    assert [step.kind for step in record.history] == ["pruned", "distilled"]
    assert record.history == taught.continued()
    card = (tmp_path / "int8" / "README.md").read_text()
    assert "# tiny-vit, pruned, taught, W8/A8 (simulated), made without data" in card
    way = card.split("## How it was made")[1].split("The last step in full:")[0]
    lines = [line for line in way.splitlines() if line.startswith("|")]
    assert lines[2].startswith("| (tiny-vit) |")
    for line, words in zip(lines[3:], ("pruned: 50 % of each MLP", "taught by tiny-vit on 6", "W8/A8"), strict=True):
        assert words in line and f"{100 * record.rows[1].runs[0].top1:.1f}" in lines[-1]
    # Neither folder is a checkpoint that it was made from.
    assert "The license of `tiny-vit` is not known" in card and "The license of `recovered`" not in card
    assert str(tmp_path) not in card + record.to_json()
    show_tables(record, "title")
    assert "The way to this model" in capsys.readouterr().out
    # A finished step is met again, history and all.
    student = load_student(str(tmp_path / "pruned"), teacher)
    config = SparseDistillationConfig(
        output_dir=str(tmp_path / "recovered"), num_train_epochs=1, use_cpu=True, report_to="none", **silent
    )
    with caplog.at_level(logging.INFO, "smi_hf"):
        assert distill(teacher, student, dataset, config, images=images) == taught
    assert "is finished already" in caplog.text


def test_a_chain_is_based_on_the_checkpoint_that_it_began_with(chain, tmp_path):
    card = render_model_card(chain)
    card.save(tmp_path / "README.md")
    metadata = metadata_load(tmp_path / "README.md")
    assert (metadata["base_model"], metadata["base_model_relation"]) == (["someone/vit"], "quantized")
    assert metadata["license"] == "mit"
    assert {"pruning", "knowledge-distillation", "onnx"} <= set(metadata["tags"])
    assert "`recovered` is under" not in card.text and "`someone/vit` is under `mit`" in card.text
    assert "It was made in 3 steps" in card.text and "From what step 2 made" in card.text
    assert "\n\n\n\n" not in card.text


def test_a_step_that_lies_on_the_hub_is_the_base_and_one_from_scratch_hides_what_was_before(chain):
    pruned, taught = chain.history
    published = replace(taught, student=replace(taught.student, name="me/pruned", revision="a" * 40))
    assert render_model_card(replace(chain, history=(pruned, published))).data.base_model == ["me/pruned"]
    scratch = replace(taught, student=replace(taught.student, from_scratch=True))
    assert render_model_card(replace(chain, history=(pruned, scratch))).data.base_model is None


def test_another_license_on_the_way_leaves_the_choice_to_the_reader(chain):
    pruned, taught = chain.history
    other = replace(pruned, teacher=replace(pruned.teacher, name="me/vit", license=License("cc-by-nc-4.0")))
    card = render_model_card(replace(chain, history=(other, taught)))
    assert card.data.license is None and "`me/vit` is under `cc-by-nc-4.0`" in card.text


def test_accuracies_of_different_images_are_not_compared(chain):
    warning = "judged on different images"
    assert warning not in render_model_card(chain).text
    pruned, taught = chain.history
    fewer = replace(taught, measured=replace(taught.measured, num_images=10))
    assert warning in render_model_card(replace(chain, history=(pruned, fewer))).text


def test_names_on_the_way_stay_text(chain, evil, check_text_stays_text):
    pruned, taught = chain.history
    pruned = replace(
        pruned,
        teacher=replace(pruned.teacher, name=evil),
        datasets=(replace(pruned.datasets[0], name=evil),),
        settings=pruned.settings | {"ridge": evil, "compensation": evil},
        measured=replace(pruned.measured, dataset=evil),
        rows=tuple(replace(row, label=evil) for row in pruned.rows),
        environment=replace(pruned.environment, device=evil),
    )
    check_text_stays_text(render_model_card(replace(chain, history=(pruned, taught))))
