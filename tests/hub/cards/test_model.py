"""Model cards: rendered from a record alone, metadata as the Hub wants it, examples up to date."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from smi_hf.data.record import DatasetRecord
from smi_hf.environment import Environment, dependency_lane
from smi_hf.evaluation.record import DatasetReference, HeldOut, ModelRecord, Runtime
from smi_hf.evaluation.table import Row, Scores
from smi_hf.hub import render_model_card, save_model_record
from smi_hf.hub.cards.dataset import render_card
from smi_hf.hub.cards.model import is_record_of
from smi_hf.models import License
from smi_hf.models.licenses import HUB_LICENSES
from smi_hf.quantization.backends import BACKENDS

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def row(key: str, label: str, *top1: float) -> Row:
    return Row(key, label, tuple(Scores(value, 0.97, 0.9) for value in top1))


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
    # The mean of 85.3 and 82.9, and their standard deviation 2.4 / sqrt(2).
    assert lines[3] == (
        "| **inverted, kept patches** | **2** | **84.1 ± 1.7** | **97.0 ± 0.0** | **90.0 ± 0.0** | **6.9** | "
        "**10.8** | **171** | **187** |"
    )
    assert lines[4].startswith("| Gaussian noise | 2 | 5.0 ± 1.4 |")
    assert "the mean of 2 runs, ± their standard deviation.\nThe model here is the first run, with top-1 85.3" in text
    # Wilson's interval of 853 of 1000.
    assert "is 85.3 %, with a 95 % interval of 83.0 to 87.4 % (Wilson, 1000 images)" in text
    assert "on cpu, 2 threads" in text and "transformers 4.57" in text


def test_all_of_a_few_images_is_not_taken_for_certain(quantized):
    rows = (quantized.rows[0], row("sparse", "inverted", 1.0), quantized.rows[2])
    text = render_model_card(replace(quantized, rows=rows, measured=replace(quantized.measured, num_images=40))).text
    assert "is 100.0 %, with a 95 % interval of 91.2 to 100.0 % (Wilson, 40 images)" in text


@pytest.mark.parametrize(("num_labels", "has_top5"), [(None, True), (11, True), (10, False), (2, False)])
def test_of_few_labels_the_first_five_are_not_counted(quantized, num_labels, has_top5, tmp_path):
    card = render_model_card(replace(quantized, num_labels=num_labels))
    metadata = check_metadata(card, tmp_path)
    assert ("top-5" in card.text.lower()) is has_top5
    assert len(model_index_to_eval_results(metadata["model-index"])[1]) == 1 + has_top5
    # The other columns stay where they are.
    assert "| (float32) | 1 | 85.1 |" + " 97.0 |" * has_top5 + " 90.0 | 13.8 | 21.6 | 342 | 374 |" in card.text


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


def test_a_student_of_the_teachers_own_layers_says_so(distilled, tmp_path):
    student = replace(distilled.student, name="someone/vit")
    own = replace(distilled, student=student, settings=distilled.settings | {"student_layers": [0, 2]})
    card = render_model_card(own, repo_id="me/student")
    assert check_metadata(card, tmp_path)["base_model"] == ["someone/vit"]
    assert "without some of its layers. It got these, numbered from 0: 0, 2." in card.text
    # Of a checkpoint of its own that has such layers, it is what the settings say.
    other = render_model_card(replace(own, student=distilled.student)).text
    assert "A student that started from [someone/small-vit]" in other and "numbered from 0" not in other


def test_a_student_from_scratch_is_based_on_no_weights(distilled, tmp_path):
    distilled = replace(distilled, student=replace(distilled.student, from_scratch=True, license=None))
    metadata = check_metadata(render_model_card(distilled), tmp_path)
    assert "base_model" not in metadata and "base_model_relation" not in metadata
    # It has none of the student's weights, so the student's license does not matter.
    assert metadata["license"] == "mit"


def test_local_models_and_datasets_are_named_but_not_linked(quantized, distilled, tmp_path):
    local = {"revision": None}
    for record in (quantized, distilled):
        record = replace(
            record,
            teacher=replace(record.teacher, name="vit", **local),
            datasets=(replace(record.datasets[0], name="vit-smi", **local),),
            student=record.student and replace(record.student, name="small-vit", **local),
        )
        card = render_model_card(record)
        metadata = check_metadata(card, tmp_path)
        assert not {"base_model", "base_model_relation", "datasets"} & metadata.keys()
        assert not any(tag.startswith("teacher:") for tag in metadata["tags"])
        assert "`vit`" in card.text and "vit-smi" in card.text
        assert "](https://huggingface.co" not in card.text


def test_licenses_that_are_unknown_or_differ_are_told_and_not_chosen(distilled, tmp_path):
    unknown = replace(distilled, teacher=replace(distilled.teacher, license=None))
    card = render_model_card(unknown)
    assert "license" not in check_metadata(card, tmp_path)
    assert "The license of `someone/vit` is not known" in card.text
    assert "`someone/small-vit` is under `mit`" in card.text
    other = License("other", "ours-1.0", "https://example.org/ours")
    differ = replace(distilled, teacher=replace(distilled.teacher, license=other))
    assert "license" not in check_metadata(render_model_card(differ), tmp_path)
    same = replace(differ, student=replace(distilled.student, license=other))
    metadata = check_metadata(render_model_card(same), tmp_path)
    assert (metadata["license"], metadata["license_name"]) == ("other", "ours-1.0")
    assert metadata["license_link"] == "https://example.org/ours"


def test_a_model_that_nobody_judged_claims_no_accuracy(quantized, distilled, tmp_path):
    card = render_model_card(replace(quantized, rows=(), measured=None))
    assert not {"metrics", "model-index"} & check_metadata(card, tmp_path).keys()
    assert "Nobody has judged this model on real images yet" in card.text
    held_out = replace(distilled, rows=(), measured=None, held_out=HeldOut(4, 0.75))
    text = render_model_card(held_out).text
    assert "75.0 % of 4 synthetic images that it did not learn from. This is\nnot an accuracy" in text


@pytest.mark.parametrize(
    ("backend", "bits", "library", "says"),
    [
        (
            "onnx",
            8,
            *(
                ("optimum", "ORTModelForImageClassification.from_pretrained(")
                if dependency_lane() == "full"
                else ("transformers", "ExportedModel.from_pretrained(")
            ),
        ),
        (
            "openvino",
            8,
            *(
                ("optimum", "OVModelForImageClassification.from_pretrained(")
                if dependency_lane() == "full"
                else ("transformers", "ExportedModel.from_pretrained(")
            ),
        ),
        ("torch", 8, "transformers", "import torchao.quantization.pt2e"),
        ("executorch", 8, "transformers", "`model.pte`"),
        ("torchao", 4, "transformers", "each weight takes a byte"),
        ("quanto", 4, "optimum-quanto", "load_model(Path(folder))"),
        ("simulated", 4, "smi_hf", "smi-hf evaluate --model_name_or_path"),
        ("of-a-plugin", 8, "its-own", "made by the back end `of-a-plugin`"),
    ],
)
@pytest.mark.parametrize("repo_id", [None, "me/vit-small"])
def test_every_back_ends_card_says_how_to_load_the_model(quantized, tmp_path, backend, bits, library, says, repo_id):
    runtime = BACKENDS.get(backend).runtime if backend in BACKENDS.names() else Runtime("its own", "its-own", ("new",))
    settings = quantized.settings | {"backend": backend, "weights": bits}
    card = render_model_card(replace(quantized, settings=settings, runtime=runtime), repo_id=repo_id)
    metadata = check_metadata(card, tmp_path)
    assert metadata["library_name"] == library
    assert {f"int{bits}", f"{bits}-bit", *runtime.tags} <= set(metadata["tags"])
    assert f"({runtime.words}), made without data" in card.text
    assert says in card.text
    assert (repo_id or "path/to/this/folder") in card.text
    for code in re.findall(r"```python\n(.*?)```", card.text, flags=re.DOTALL):
        compile(code, "card", "exec")


def test_a_student_that_was_rounded_as_it_learned_points_to_its_integers(distilled, tmp_path):
    rounding = {"backend": "quanto", "weights": 2, "activations": 8}
    student = replace(distilled, settings=distilled.settings | {"quantization": rounding})
    card = render_model_card(student)
    assert check_metadata(card, tmp_path)["library_name"] == "smi_hf"
    assert "the integer model in its folder `quantized`" in card.text
    runtime = BACKENDS.get("quanto").runtime
    integers = replace(distilled, kind="quantized", settings=rounding | distilled.settings, runtime=runtime)
    card = render_model_card(integers)
    metadata = check_metadata(card, tmp_path)
    assert (metadata["base_model"], metadata["base_model_relation"]) == (["someone/small-vit"], "quantized")
    assert "rounded to 2 bits and the inputs of its layers to 8 bits" in card.text
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


@pytest.mark.parametrize("name", ["quantized_v1", "distilled_v1"])
def test_a_record_of_version_1_is_read_and_rendered_as_before(name, tmp_path):
    text = (Path(__file__).parent / f"{name}.json").read_text()
    assert json.loads(text)["schema_version"] == 1
    record = ModelRecord.from_json(text, name)
    card = render_model_card(record)
    metadata = check_metadata(card, tmp_path)
    lines = [line for line in card.text.splitlines() if line.startswith("| ")]
    if name == "quantized_v1":
        assert lines[2] == "| (float32) | 1 | 85.1 | 97.1 | 100.0 | 23.1 | 14.9 | 289 | 111 |"
        assert lines[4] == "| Gaussian noise | 1 | 3.0 | 23.2 | 3.0 | 7.0 | 13.2 | 264 | 121 |"
        assert metadata["library_name"] == "optimum" and {"onnx", "onnxruntime"} <= set(metadata["tags"])
        assert "W8/A8 (ONNX Runtime), made without data" in card.text
    else:
        assert lines[3] == "| **inverted, kept patches** | **1** | **32** | **84.1** | **99.2** | **89.1** | **16** |"
        assert record.curves == {"inverted, kept patches": ((1.0, 0.5), (2.0, 0.8))}
        assert "](learning_curves.png)" in card.text
    # What is written again is a record of today.
    assert ModelRecord.from_json(record.to_json(), name) == record


def test_what_comes_from_others_is_text_on_the_card(quantized, distilled, evil, check_text_stays_text):
    license = License("other", evil, "javascript:evil()")
    for record in (quantized, distilled):
        record = replace(
            record,
            teacher=replace(record.teacher, name=evil, license=license),
            datasets=(DatasetReference(evil, evil, evil, 32, 46, False),),
            settings={evil: evil} | record.settings | {"target": evil, "operators": [evil, {evil: evil}]},
            environment=Environment("full", evil, {evil: evil}),
            student=record.student and replace(record.student, name=evil, license=license, sees=evil),
            runtime=record.runtime and Runtime(evil, evil, (evil,)),
            measured=replace(record.measured, dataset=evil, type=evil, split=evil),
            rows=tuple(replace(each, key=evil, label=evil) for each in record.rows),
        )
        check_text_stays_text(render_model_card(record))
    check_text_stays_text(render_model_card(replace(quantized, settings=quantized.settings | {"backend": evil})))


def test_a_name_that_the_hub_would_not_take_is_not_linked(distilled, tmp_path):
    name = "someone/vit/../../evil"
    teacher, student = replace(distilled.teacher, name=name), replace(distilled.student, name=name)
    card = render_model_card(replace(distilled, teacher=teacher, student=student))
    assert "base_model" not in check_metadata(card, tmp_path)
    assert "huggingface.co" not in card.text


def test_what_is_saved_with_a_record_is_listed_in_it(quantized, distilled, tmp_path):
    names = ("config.json", "model.safetensors", "learning_curves.png", "notes.txt", ".env")
    for number, record in enumerate((quantized, distilled)):
        folder = tmp_path / str(number)
        (folder / "checkpoint-1").mkdir(parents=True)
        for name in (*names, "checkpoint-1/config.json"):
            (folder / name).write_text(name)
        (folder / "model.onnx").symlink_to(folder / "config.json")
        save_model_record(record, folder)
        files = ModelRecord.load(folder).files
        made = {"config.json", "model.safetensors", *record.pictures}
        # A folder that `quantize` made held nothing else before.
        assert files.keys() == (set(names) if record.kind == "quantized" else made)
        assert files["config.json"] == hashlib.sha256(b"config.json").hexdigest()
        assert is_record_of(folder)
        (folder / "config.json").write_text("other")
        assert not is_record_of(folder)
    assert not is_record_of(tmp_path)


@pytest.mark.parametrize("backend", ["onnx", "openvino", "torch", "executorch", "torchao"])
def test_a_card_begins_with_how_good_the_model_is_and_lines_that_call_it(quantized, backend):
    settings = quantized.settings | {"backend": backend}
    text = render_model_card(replace(quantized, settings=settings, runtime=BACKENDS.get(backend).runtime)).text
    first = text.split("## How good it is")[0]
    assert "**Top-1 85.3 % (95 % interval 83.0 to 87.4 %) of 1,000 images; float32 has 85.1 %.**" in first
    assert "Gaussian noise has 5.0 %: the images are worth" in first
    (code,) = re.findall(r"```python\n(.*?)```", first, flags=re.DOTALL)
    compile(code, "card", "exec")
    assert 'pipeline("image-classification"' in code and "smi_hf" not in code


def test_a_model_that_needs_smi_hf_has_no_first_lines_of_stock_libraries(quantized):
    simulated = replace(quantized, settings=quantized.settings | {"backend": "simulated"}, rows=(), measured=None)
    first = render_model_card(replace(simulated, runtime=BACKENDS.get("simulated").runtime)).text
    assert "```" not in first.split("## How good it is")[0] and "**" not in first.split("## How good it is")[0]
