"""The record of a compressed model: written, read back, and refused where it is none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.environment import Environment
from smi_hf.evaluation.record import RESULTS_FILE, DatasetReference, ModelRecord, Runtime, StudentReference
from smi_hf.evaluation.table import Row, Scores
from smi_hf.images.real import ImageSetReference, load_image_set
from smi_hf.models import CheckpointReference, License

DATASET = DatasetReference("set", None, "0" * 64, 6, 7, True)
TEACHER = CheckpointReference("vit", None, "vit", "1" * 64, License("mit"))
RECORD = ModelRecord(
    "quantized",
    TEACHER,
    (DATASET,),
    {"backend": "onnx", "weights": 8, "exclude": []},
    Environment("full", "cpu", {"python": "3.11", "openvino": None}),
    student=StudentReference("vit", "abc", "vit", None, False, 100, "kept patches"),
    runtime=Runtime("ONNX Runtime", "optimum", ("onnx",)),
    measured=ImageSetReference("photographs", "parquet", None, 10),
    rows=(
        Row("float32", "float32", (Scores(1.0, 1.0, 1.0),), {"size_mb": 2.5}),
        Row("sparse", "inverted", (Scores(0.5, 1.0, 0.5), Scores(0.75, 1.0, 0.5))),
    ),
    curves={"sparse": ((1.0, 0.25), (2.0, 0.5))},
    pictures=("curve.png",),
    files={"model.onnx": "2" * 64, "curve.png": "3" * 64},
)


@pytest.fixture
def images(photographs, teacher):
    return load_image_set(str(photographs), teacher.label_names, max_images=10)


def test_a_record_is_read_back_as_it_was(tmp_path):
    RECORD.save(tmp_path)
    assert ModelRecord.load(tmp_path) == RECORD
    assert ModelRecord.load(tmp_path).to_json() == RECORD.to_json()


def test_a_table_comes_with_what_it_was_judged_on(images):
    judged = replace(RECORD, rows=(), measured=None, curves={}).judged(RECORD.rows, images, curves=RECORD.curves)
    assert judged.measured == ImageSetReference("test.parquet", "parquet", "train", 10)
    assert (judged.rows, judged.curves, judged.pictures) == (RECORD.rows, RECORD.curves, ())
    assert "/" not in judged.to_json()


def test_it_names_what_it_was_made_on_without_a_path(teacher, sparse_folder):
    dataset = load_sparse_dataset(sparse_folder)
    reference = DatasetReference.of(dataset, teacher)
    assert (reference.name, reference.revision, reference.num_images) == (sparse_folder.name, None, 6)
    assert reference.content_sha256 == dataset.record.results["content_sha256"]
    assert reference.is_from_teacher is True


def test_images_of_another_model_are_told_apart(teacher, sparse_folder):
    dataset = load_sparse_dataset(sparse_folder)
    other = replace(dataset.record, teacher=replace(dataset.record.teacher, weights_sha256="0" * 64))
    assert DatasetReference.of(replace(dataset, record=other), teacher).is_from_teacher is False


def test_a_folder_without_a_record_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is not a compressed model of smi_hf: it has no results\.json"):
        ModelRecord.load(tmp_path)


def test_a_file_is_changed_if_its_digest_is(tmp_path):
    (tmp_path / "model.onnx").write_text("weights")
    record = RECORD.with_files([tmp_path / "model.onnx"])
    assert record.changed_file(tmp_path) is None
    (tmp_path / "model.onnx").write_text("others")
    assert record.changed_file(tmp_path) == tmp_path / "model.onnx"
    (tmp_path / "model.onnx").unlink()
    assert record.changed_file(tmp_path) == tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "has schema version 99, but this smi_hf reads versions 1 to 3"),
        ({"schema_version": "2"}, "has schema version '2'"),
        ({"kind": "baked"}, "kind: Input should be 'quantized', 'distilled' or 'pruned'"),
        ({"kind": "pruned"}, "settings lacks compensation"),
        ({"kind": "distilled", "settings": {"loss": "kl"}, "student": None}, "'distilled', but it has no student"),
        ({"teacher": {"name": "vit"}}, "teacher.revision: Field required"),
        ({"teacher": "vit"}, "teacher: "),
        ({"teacher": {"name": 1}}, "teacher.name: Input should be a valid string"),
        ({"datasets": [{"name": "set"}]}, r"datasets.0.revision: Field required"),
        ({"datasets": []}, "it names no dataset"),
        ({"settings": {}}, "settings lacks backend"),
        ({"measured": None}, "it has rows, but not both what they were judged on and the model's own row"),
        ({"rows": [{"key": "a", "label": "a", "runs": []}] * 2}, "one of its rows has no run"),
        ({"rows": [{"key": "a", "label": "a", "runs": [{"top1": "1"}]}]}, "rows.0.runs.0.top1: "),
        ({"files": {"../secret": "0"}}, "names the file '../secret', which is no plain name of a file beside it"),
        ({"files": {"a\\b": "0"}}, "which is no plain name"),
        ({"pictures": ["/etc/passwd"]}, "names the file '/etc/passwd', which is no plain name"),
        ({"color": "red"}, "color: Unexpected keyword argument"),
    ],
)
def test_a_record_that_is_none_is_refused_with_the_reason(tmp_path, changes, message):
    (tmp_path / RESULTS_FILE).write_text(json.dumps(json.loads(RECORD.to_json()) | changes))
    with pytest.raises(UsageError, match=message):
        ModelRecord.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "is not a record of a compressed model of smi_hf: it is not valid JSON"),
        (b"[]", "it has no schema_version"),
        (b'{"accuracy": 0.9}', "it has no schema_version; make one with smi-hf quantize, smi-hf prune or"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "it is not valid JSON"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path, content, message):
    (tmp_path / RESULTS_FILE).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        ModelRecord.load(tmp_path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value, place=()):
    """Every place in nested values: keys and indices that lead there."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[key], (*place, key))


VALUES = {3: json.loads(RECORD.to_json())}
VALUES[2] = VALUES[3] | {"schema_version": 2}
VALUES[1] = VALUES[3] | {
    "schema_version": 1,
    "rows": [
        {"name": row.label, "runs": [vars(run) for run in row.runs], "size_mb": 1.0, "top1": 0.5, "curve": [[1, 0.5]]}
        for row in RECORD.rows
    ],
}
for name in ("runtime", "curves"):
    del VALUES[1][name]


def test_a_record_of_version_1_is_read():
    record = ModelRecord.from_json(json.dumps(VALUES[1]), "old")
    assert [row.key for row in record.rows] == ["float32", "inverted"]
    assert record.rows[0].figures == {"size_mb": 1.0}
    assert record.curves["inverted"] == ((1.0, 0.5),)
    assert record.runtime.library == "optimum"
    assert record.schema_version == 3


def test_a_record_of_version_2_which_knew_no_embeddings_is_read():
    values = json.loads(json.dumps(VALUES[2]))
    del values["teacher"]["head"]
    for row in values["rows"]:
        for run in row["runs"]:
            del run["cosine"], run["neighbors"]
    assert ModelRecord.from_json(json.dumps(values), "old") == RECORD


@pytest.mark.parametrize("version", VALUES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_change_of_a_record_gives_a_record_or_one_sentence(version, data):
    values = json.loads(json.dumps(VALUES[version]))
    place = data.draw(st.sampled_from(list(places(values))))
    new = data.draw(JSON)
    if place:
        target = values
        for key in place[:-1]:
            target = target[key]
        if data.draw(st.booleans()):
            target[place[-1]] = new
        else:
            del target[place[-1]]
    else:
        values = new
    try:
        record = ModelRecord.from_json(json.dumps(values), "somewhere")
    except UsageError:
        return
    # What was taken can be written, and read again.
    assert ModelRecord.from_json(record.to_json(), "again") == record
    assert all(Path(name).name == name for name in (*record.files, *record.pictures))
