"""The steps that made a checkpoint, found beside its weights, in a folder and on the Hub."""

import json
import logging
import shutil

import pytest
from huggingface_hub import HfApi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smi_hf import load_student, load_teacher, push
from smi_hf.environment import Environment
from smi_hf.evaluation.history import find_history
from smi_hf.evaluation.record import RESULTS_FILE, DatasetReference, ModelRecord
from smi_hf.hub import save_model_record
from smi_hf.models import CheckpointReference

RECORD = ModelRecord(
    "pruned",
    CheckpointReference("someone/vit", "c" * 40, "vit", "1" * 64),
    (DatasetReference("set", None, "0" * 64, 6, 7, True),),
    {"compensation": "ridge regression", "keep_mlp": 0.5, "layers": [0, 1], "layers_before": 2}
    | {"parameters": 3, "parameters_before": 5},
    Environment("full", "cpu", {"python": "3.11"}),
)


@pytest.fixture
def made(tiny_checkpoint, tmp_path):
    """The tiny checkpoint in a folder of its own, as if smi_hf had pruned it."""
    folder = tmp_path / "pruned"
    shutil.copytree(tiny_checkpoint, folder)
    save_model_record(RECORD, folder)
    return folder


def test_a_models_record_is_the_last_step_of_its_history(made):
    history = find_history(str(made))
    assert [step.kind for step in history] == ["pruned"]
    assert history == ModelRecord.load(made).continued()
    record = ModelRecord.load(made)
    save_model_record(ModelRecord(**{**vars(record), "history": history}), made)
    assert [step.kind for step in find_history(str(made))] == ["pruned", "pruned"]


def test_a_student_that_starts_there_has_the_history_and_one_from_scratch_has_none(made, teacher):
    assert load_student(str(made), teacher).origin.history == find_history(str(made))
    assert load_student(str(made), teacher, from_scratch=True).origin.history == ()
    assert load_teacher(str(made)).source == str(made)
    assert str(made) not in repr(load_teacher(str(made)))


def test_a_checkpoint_without_a_record_has_no_history_and_no_warning(tiny_checkpoint, caplog):
    assert find_history(str(tiny_checkpoint)) == find_history(None) == find_history("someone/vit") == ()
    assert not caplog.records


@pytest.mark.parametrize("spoil", ["changed weights", "other weights", "no files", "foreign", "newer", "truncated"])
def test_a_record_of_anything_else_is_left_alone_with_a_warning(made, spoil, caplog):
    text = (made / RESULTS_FILE).read_text()
    values = json.loads(text)
    contents = {
        "no files": json.dumps(values | {"files": {}}),
        "foreign": '{"accuracy": 0.9}',
        "newer": json.dumps(values | {"schema_version": 99}),
        "truncated": text[:100],
    }
    (made / RESULTS_FILE).write_text(contents.get(spoil, text))
    if spoil == "changed weights":
        with (made / "model.safetensors").open("ab") as file:
            file.write(b"more")
    if spoil == "other weights":
        (made / "model.safetensors").rename(made / "other.safetensors")
    with caplog.at_level(logging.WARNING, "smi_hf"):
        assert find_history(str(made)) == ()
    assert f"how {made} was made is not known" in caplog.text


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["kind", "settings", "files", "history", "rows", "student", "schema_version"]),
        st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2) | st.just({}),
        min_size=1,
    )
)
def test_whatever_a_record_holds_the_run_goes_on(made, changes):
    text = (made / RESULTS_FILE).read_text()
    try:
        (made / RESULTS_FILE).write_text(json.dumps(json.loads(text) | changes))
        assert len(find_history(str(made))) <= 1
    finally:
        (made / RESULTS_FILE).write_text(text)


def test_a_model_on_the_hub_has_the_history_that_was_pushed_with_it(hub, made):
    push(made, "me/pruned")
    commit = HfApi().model_info("me/pruned").sha
    pushed = load_teacher("me/pruned")
    assert (pushed.source, pushed.revision) == ("me/pruned", commit)
    assert find_history("me/pruned", revision=commit) == find_history(str(made))
