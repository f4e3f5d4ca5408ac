import json
import math
from dataclasses import replace

import pytest

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord, dataset_reference
from smi_hf.evaluation.table import Scores
from smi_hf.images.real import load_image_set
from smi_hf.quantization.comparison import Row

ENVIRONMENT = {"lane": "full", "device": "cpu", "packages": {"python": "3.11"}}


@pytest.fixture
def record(teacher, sparse_folder):
    dataset = dataset_reference(load_sparse_dataset(sparse_folder), teacher)
    return ModelRecord("quantized", teacher.reference(), [dataset], {"backend": "onnx"}, ENVIRONMENT)


@pytest.fixture
def images(photographs, teacher):
    return load_image_set(str(photographs), teacher.label_names, max_images=10)


def test_a_record_is_read_back_as_it_was(record, images, tmp_path):
    judged = record.judged([Row("float32", (Scores(1.0, 1.0, 1.0),)), Row("sparse", (Scores(0.5, 1.0, 0.5),))], images)
    judged.save(tmp_path)
    assert ModelRecord.load(tmp_path) == ModelRecord.from_json(judged.to_json(), "here")
    assert ModelRecord.load(tmp_path).to_json() == judged.to_json()


def test_mean_and_spread_are_those_of_the_runs(record, images):
    runs = tuple(Scores(top1, 1.0, 0.5) for top1 in (0.7, 0.8, 0.9))
    one, three = record.judged([Row("one", runs[:1]), Row("three", runs, size_mb=1.0)], images).rows
    assert [run["top1"] for run in three["runs"]] == [0.7, 0.8, 0.9]
    assert math.isclose(three["top1"], 0.8)
    assert math.isclose(three["top1_std"], 0.1)
    assert one["top1_std"] is None
    assert three["size_mb"] == 1.0


def test_it_names_what_it_was_measured_and_made_on_without_a_path(record, images, sparse_folder, tmp_path):
    judged = record.judged([Row("a", (Scores(1, 1, 1),)), Row("b", (Scores(1, 1, 1),))], images)
    assert judged.measured == {"dataset": "test.parquet", "type": "parquet", "split": "train", "num_images": 10}
    (dataset,) = judged.datasets
    assert (dataset["name"], dataset["revision"], dataset["num_images"]) == (sparse_folder.name, None, 6)
    assert dataset["content_sha256"] == load_sparse_dataset(sparse_folder).record.results["content_sha256"]
    assert dataset["is_from_teacher"] is True
    assert "/" not in judged.to_json()


def test_a_split_in_a_name_is_no_part_of_it(photographs, teacher, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "validation.parquet").write_bytes(photographs.read_bytes())
    images = load_image_set(f"{folder}:validation", teacher.label_names)
    reference = {"dataset": "pictures", "type": "parquet", "split": "validation", "num_images": 20}
    assert images.reference() == reference


def test_images_of_another_model_are_told_apart(teacher, sparse_folder):
    dataset = load_sparse_dataset(sparse_folder)
    other = replace(dataset.record, teacher=dataset.replace(record.teacher, weights_sha256="0" * 64))
    assert dataset_reference(replace(dataset, record=other), teacher)["is_from_teacher"] is False


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not a compressed model of smi_hf: it has no results\.json"):
        ModelRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "has schema version 99, but this smi_hf reads version 1"),
        ({"kind": "pruned"}, "its kind is 'pruned', but quantized and distilled are known"),
        ({"kind": "distilled"}, "its kind is 'distilled', but it has no student"),
        ({"teacher": {"name": "vit"}}, "teacher lacks revision, model_type, weights_sha256, license"),
        ({"teacher": "vit"}, "teacher is str, but must hold name, revision"),
        ({"datasets": [{"name": "set"}]}, r"datasets\[0\] lacks revision, content_sha256"),
        ({"datasets": {}}, "datasets is dict, but must be a list"),
        ({"settings": {}}, "settings lacks backend"),
        ({"measured": {"dataset": "test"}}, "measured lacks type, split, num_images"),
        ({"rows": [{"name": "one"}]}, "it has rows, but not both what they were judged on and the model's own row"),
        ({"color": "red"}, "unexpected keyword argument 'color'"),
    ],
)
def test_a_record_that_is_none_is_refused_with_the_reason(record, tmp_path, changes, message):
    (tmp_path / RESULTS_FILE).write_text(json.dumps(json.loads(record.to_json()) | changes))
    with pytest.raises(UsageError, match=message):
        ModelRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "results.json is not a record of a compressed model: it is not valid JSON"),
        ("[]", "it has no schema_version"),
        ('{"teacher": "vit", "rows": []}', "it has no schema_version; quantize or distil again with this smi_hf"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, text, message):
    (tmp_path / RESULTS_FILE).write_text(text)
    with pytest.raises(UsageError, match=message):
        ModelRecord.load(tmp_path)
