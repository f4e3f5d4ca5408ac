"""Model cards: rendered from a record alone, metadata as the Hub wants it, examples up to date."""

import re
from dataclasses import replace

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from smi_hf.data.record import DatasetRecord
from smi_hf.evaluation.record import ModelRecord
from smi_hf.hub import render_model_card
from smi_hf.hub.cards.dataset import render_card
from smi_hf.models.licenses import HUB_LICENSES

MIT = {"id": "mit", "name": None, "link": None}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TEACHER = {"name": "someone/vit", "revision": COMMIT, "model_type": "vit", "weights_sha256": "1" * 64, "license": MIT}
DATASET = {
    "name": "me/vit-smi",
    "revision": COMMIT,
    "content_sha256": "2" * 64,
    "num_images": 32,
    "num_kept": 46,
    "is_from_teacher": True,
}
STUDENT = {
    "name": "someone/small-vit",
    "revision": COMMIT,
    "model_type": "deit",
    "license": MIT,
    "from_scratch": False,
    "num_parameters": 5_717_416,
    "sees": "kept patches",
}
ENVIRONMENT = {"lane": "full", "device": "cpu, 2 threads", "packages": {"python": "3.11", "transformers": "4.57"}}
MEASURED = {"dataset": "photographs", "type": "someone/photographs", "split": "test", "num_images": 1000}


def row(name, *top1, **more):
    runs = [{"top1": value, "top5": 0.97, "agreement": 0.9} for value in top1]
    means = {"top1": sum(top1) / len(top1), "top5": 0.97, "agreement": 0.9}
    spreads = {f"{key}_std": 0.01 if len(top1) > 1 else None for key in means}
    return {"name": name, "runs": runs, **means, **spreads, **more}


@pytest.fixture
def quantized():
    settings = {"backend": "onnx", "weights": 8, "activations": 8, "operators": ["MatMul", "Gemm"], "exclude": []}
    settings |= {"target": None, "quantize_outputs": True, "quantized_layers": 97, "layers": 99}
    settings |= {"calibration_patches": "kept", "control_seeds": [0, 1]}
    speed = {"size_mb": 6.9, "latency_ms_1": 10.8, "latency_ms_32": 171.2, "images_per_second": 187.0}
    rows = [
        row("float32", 0.851, **{name: 2 * value for name, value in speed.items()}),
        row("inverted, kept patches", 0.853, 0.849, **speed),
        row("Gaussian noise", 0.06, 0.05, **speed),
    ]
    return ModelRecord("quantized", TEACHER, [DATASET], settings, ENVIRONMENT, measured=MEASURED, rows=rows)


@pytest.fixture
def distilled():
    settings = {"loss": "kl", "temperature": 20.0, "freeze_backbone": True, "learning_rate": 0.1, "bf16": False}
    rows = [
        row("teacher", 0.889, num_images=None, seconds=None, curve=[]),
        row("inverted, kept patches", 0.841, num_images=32, seconds=16.2, curve=[[1.0, 0.5]]),
        row("Gaussian noise", 0.727, num_images=32, seconds=50.1, curve=[]),
    ]
    return ModelRecord(
        "distilled",
        TEACHER,
        [DATASET],
        settings,
        ENVIRONMENT,
        student=STUDENT,
        measured=MEASURED,
        rows=rows,
        pictures=["learning_curves.png"],
    )


def check_metadata(card, tmp_path):
    """What the Hub's documentation asks of a card's YAML; its server has the last word."""
    path = tmp_path / "README.md"
    card.save(path)
    metadata = metadata_load(path)
    assert metadata == card.data.to_dict() == yaml.safe_load(card.data.to_yaml())
    assert type(card).load(path).text.strip() == card.text.strip()
    licenses = metadata.get("license", [])
    assert {licenses} <= HUB_LICENSES if isinstance(licenses, str) else set(licenses) <= HUB_LICENSES
    if "other" in licenses:
        assert metadata["license_name"]
    for name in [*metadata.get("base_model", []), *metadata.get("datasets", [])]:
        validate_repo_id(name)
        assert "/" in name
    assert metadata.get("base_model_relation") in (None, "quantized", "finetune")
    assert all(isinstance(tag, str) and 0 < len(tag) < 100 for tag in metadata["tags"])
    assert len(set(metadata["tags"])) == len(metadata["tags"])
    if "model-index" in metadata:
        name, results = model_index_to_eval_results(metadata["model-index"])
        assert name == metadata["model-index"][0]["name"]
        assert all(0 <= result.metric_value <= 1 for result in results)
    return metadata


def test_a_quantized_models_metadata_says_what_it_is(quantized, tmp_path):
    metadata = check_metadata(render_model_card(quantized, repo_id="me/vit-int8"), tmp_path)
    assert metadata["base_model"] == ["someone/vit"]
    assert metadata["base_model_relation"] == "quantized"
    assert metadata["license"] == "mit"
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("optimum", "image-classification")
    assert metadata["datasets"] == ["me/vit-smi"]
    assert {"data-free", "int8", "8-bit", "onnx", "vit"} <= set(metadata["tags"])


def test_the_scores_in_the_metadata_are_the_models_own_and_not_the_mean(quantized, tmp_path):
    metadata = check_metadata(render_model_card(quantized, repo_id="me/vit-int8"), tmp_path)
    name, results = model_index_to_eval_results(metadata["model-index"])
    assert name == "vit-int8"
    assert [(result.metric_type, result.metric_value) for result in results] == [
        ("accuracy", 0.853),
        ("accuracy", 0.97),
    ]
    assert (results[0].dataset_type, results[0].dataset_split) == ("someone/photographs", "test")


def test_the_control_rows_stand_next_to_the_result(quantized):
    text = render_model_card(quantized).text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[2].startswith("| (float32) | 1 | 85.1 | 97.0 |")
    assert lines[3] == (
        "| **inverted, kept patches** | **2** | **85.1 ± 1.0** | **97.0 ± 1.0** | **90.0 ± 1.0** | **6.9** | "
        "**10.8** | **171** | **187** |"
    )
    assert lines[4].startswith("| Gaussian noise | 2 | 5.5 ± 1.0 |")
    assert "of its 2 runs, the first. Its own figures: top-1 85.3 %" in text
    # 1.96 * sqrt(0.853 * 0.147 / 1000)
    assert "uncertain by about\n2.2 points (95 % interval, 1000 images)" in text
    assert "on cpu, 2 threads" in text and "transformers 4.57" in text


def test_a_student_is_a_finetune_of_where_it_started_and_names_its_teacher(distilled, tmp_path):
    card = render_model_card(distilled, repo_id="me/student")
    metadata = check_metadata(card, tmp_path)
    assert (metadata["base_model"], metadata["base_model_relation"]) == (["someone/small-vit"], "finetune")
    assert metadata["library_name"] == "transformers"
    assert {"knowledge-distillation", "teacher:someone/vit", "deit"} <= set(metadata["tags"])
    assert f"the teacher [someone/vit](https://huggingface.co/someone/vit/tree/{COMMIT})" in card.text
    assert "![Top-1 accuracy during training](learning_curves.png)" in card.text
    assert "a new head learned" in card.text
    assert "5,717,416 parameters" in card.text


def test_a_student_from_scratch_is_based_on_no_weights(distilled, tmp_path):
    distilled = replace(distilled, student=STUDENT | {"from_scratch": True, "license": None})
    metadata = check_metadata(render_model_card(distilled), tmp_path)
    assert "base_model" not in metadata and "base_model_relation" not in metadata
    # It has none of the student's weights, so the student's licence does not matter.
    assert metadata["license"] == "mit"


def test_local_models_and_datasets_are_named_but_not_linked(quantized, distilled, tmp_path):
    local = {"revision": None}
    for record in (quantized, distilled):
        record = replace(
            record,
            teacher=TEACHER | local | {"name": "vit"},
            datasets=[DATASET | local | {"name": "vit-smi"}],
            student=record.student and STUDENT | local | {"name": "small-vit"},
        )
        card = render_model_card(record)
        metadata = check_metadata(card, tmp_path)
        assert not {"base_model", "base_model_relation", "datasets"} & metadata.keys()
        assert not any(tag.startswith("teacher:") for tag in metadata["tags"])
        assert "`vit`" in card.text and "vit-smi" in card.text
        assert "](https://huggingface.co" not in card.text


def test_licences_that_are_unknown_or_differ_are_told_and_not_chosen(distilled, tmp_path):
    unknown = replace(distilled, teacher=TEACHER | {"license": None})
    card = render_model_card(unknown)
    assert "license" not in check_metadata(card, tmp_path)
    assert "The licence of `someone/vit` is not known" in card.text
    assert "`someone/small-vit` is under `mit`" in card.text
    other = {"id": "other", "name": "ours-1.0", "link": "https://example.org/ours"}
    differ = replace(distilled, teacher=TEACHER | {"license": other})
    assert "license" not in check_metadata(render_model_card(differ), tmp_path)
    same = replace(distilled, teacher=TEACHER | {"license": other}, student=STUDENT | {"license": other})
    metadata = check_metadata(render_model_card(same), tmp_path)
    assert (metadata["license"], metadata["license_name"]) == ("other", "ours-1.0")
    assert metadata["license_link"] == "https://example.org/ours"


def test_a_model_that_nobody_judged_claims_no_accuracy(quantized, distilled, tmp_path):
    card = render_model_card(replace(quantized, rows=[], measured=None))
    assert not {"metrics", "model-index"} & check_metadata(card, tmp_path).keys()
    assert "Nobody has judged this model on real images yet" in card.text
    held_out = replace(distilled, rows=[], measured=None, held_out={"num_images": 4, "agreement": 0.75})
    text = render_model_card(held_out).text
    assert "75.0 % of 4 synthetic images that it did not learn from. That is no\naccuracy" in text


@pytest.mark.parametrize(
    ("backend", "bits", "library", "says"),
    [
        ("onnx", 8, "optimum", "ORTModelForImageClassification.from_pretrained("),
        ("openvino", 8, "optimum", "OVModelForImageClassification.from_pretrained("),
        ("quanto", 4, "optimum-quanto", "load_model(Path(folder))"),
        ("simulated", 4, "smi_hf", "smi-hf evaluate --model_name_or_path"),
        ("of-a-plugin", 8, "smi_hf", "made by the back end `of-a-plugin`"),
    ],
)
@pytest.mark.parametrize("repo_id", [None, "me/vit-small"])
def test_every_back_ends_card_says_how_to_load_the_model(quantized, tmp_path, backend, bits, library, says, repo_id):
    record = replace(quantized, settings=quantized.settings | {"backend": backend, "weights": bits})
    card = render_model_card(record, repo_id=repo_id)
    metadata = check_metadata(card, tmp_path)
    assert metadata["library_name"] == library
    assert {f"int{bits}", f"{bits}-bit"} <= set(metadata["tags"])
    assert says in card.text
    assert (repo_id or "path/to/this/folder") in card.text
    for code in re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL):
        compile(code, "card", "exec")


def test_a_student_that_was_rounded_as_it_learned_points_to_its_integers(distilled, tmp_path):
    rounding = {"backend": "quanto", "weights": 2, "activations": 8}
    student = replace(distilled, settings=distilled.settings | {"quantization": rounding})
    card = render_model_card(student)
    assert check_metadata(card, tmp_path)["library_name"] == "smi_hf"
    assert "lies in its folder `quantized`" in card.text
    integers = replace(distilled, kind="quantized", settings=rounding | distilled.settings)
    card = render_model_card(integers)
    metadata = check_metadata(card, tmp_path)
    assert (metadata["base_model"], metadata["base_model_relation"]) == (["someone/small-vit"], "quantized")
    assert "rounded to 2 bits and what enters its layers to 8" in card.text
    assert {"2-bit", "knowledge-distillation"} <= set(metadata["tags"])


@pytest.mark.parametrize("name", ["quantized", "distilled", "dataset"])
def test_an_example_card_is_what_its_record_renders_to(repository, name, tmp_path):
    folder = repository / "model_cards"
    text = (folder / f"{name}.json").read_text()
    if name == "dataset":
        card = render_card(DatasetRecord.from_json(text, name))
    else:
        card = render_model_card(ModelRecord.from_json(text, name))
    assert str(card) == (folder / f"{name}.md").read_text(), "render it again: python model_cards/render.py"
    check_metadata(card, tmp_path)
    # Of the machine that made them nothing but its hardware.
    for written in (text, str(card)):
        assert not re.search(r"/(home|Users|root|tmp|work|mnt)\b|hf_[A-Za-z]{8}", written.replace("hf_hub", ""))


def test_a_card_is_markdown_without_leftovers(quantized, distilled):
    for record in (quantized, distilled):
        for repo_id in (None, "me/model"):
            card = render_model_card(record, repo_id=repo_id)
            assert isinstance(card, ModelCard)
            assert not re.search(r"\{\{|\{%|\bNone\b|\n\n\n\n", card.text)
            assert "hu2024sparse" in card.text
            for table in re.findall(r"(?:^\|.*\n)+", card.text, flags=re.MULTILINE):
                assert len({line.count("|") for line in table.splitlines()}) == 1, table
