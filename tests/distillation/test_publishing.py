"""Publishing what `distill` made, driven over HTTP against a Hub on loopback."""

from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from smi_hf import (
    SparseDistillationConfig,
    SparseDistillationTrainer,
    UsageError,
    distill,
    load_sparse_dataset,
    load_student,
)
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.hub import push
from smi_hf.images.real import load_image_set
from smi_hf.quantization.qat import QuantizationAwareTraining

needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")


@pytest.fixture
def settings(tmp_path):
    """Of a student that learns for a moment."""

    def make(**changes):
        of_a_moment = {"num_train_epochs": 1, "held_out": 0.4, "use_cpu": True, "disable_tqdm": True}
        folder = {"output_dir": str(tmp_path / "student"), "save_strategy": "no", "report_to": "none"}
        return SparseDistillationConfig(**(folder | of_a_moment | changes))

    return make


@pytest.fixture
def distilled(teacher, tiny_checkpoint, sparse_folder, settings):
    """Runs `distill` for a moment; returns the record."""

    def run(dataset=sparse_folder, quantization=None, images=None, controls=(), **changes):
        student = load_student(str(tiny_checkpoint), teacher, from_scratch=True)
        sets = load_sparse_dataset(dataset)
        more = {"quantization": quantization, "images": images, "controls": controls}
        return distill(teacher, student, sets, settings(**changes), **more)

    return run


@pytest.fixture
def trainer(teacher, tiny_checkpoint, sparse_folder, settings):
    def make(train_dataset=None, **changes):
        student = load_student(str(tiny_checkpoint), teacher)
        dataset = load_sparse_dataset(sparse_folder) if train_dataset is None else train_dataset
        return SparseDistillationTrainer(student, teacher, settings(**changes), dataset)

    return make


def published(repo_id: str) -> set[str]:
    return set(HfApi().list_repo_files(repo_id)) - {".gitattributes"}


def test_a_student_is_published_by_its_own_files(hub, distilled, tmp_path):
    distilled()
    (tmp_path / "student" / "notes.json").write_text("{}")
    push(tmp_path / "student", "me/student")
    names = {"README.md", RESULTS_FILE, "config.json", "model.safetensors", "preprocessor_config.json"}
    assert published("me/student") == names
    assert "me/student" in ModelCard.load("me/student").text


def test_learning_curves_are_published_with_their_digest(hub, distilled, photographs, teacher, tmp_path):
    pytest.importorskip("matplotlib")
    images = load_image_set(str(photographs), teacher.label_names)
    record = distilled(images=images, eval_strategy="epoch", controls=["gaussian"])
    assert record.pictures and set(record.pictures) < record.files.keys()
    push(tmp_path / "student", "me/student")
    assert set(record.pictures) < published("me/student")
    assert f"]({record.pictures[0]})" in ModelCard.load("me/student").text


def test_distilling_checks_first_and_publishes_in_the_end(hub, distilled):
    distilled(push_to_hub=True, hub_model_id="me/student", hub_private_repo=True)
    assert hub.repo("models", "me/student").private and "model.safetensors" in published("me/student")
    assert len(hub.repo("models", "me/student").commits) == 2
    # One repository: the trainers of other rows and rounds publish nothing.
    assert list(hub.state.repositories) == [("model", "me/student")]


def test_distilling_without_the_right_to_write_is_refused_before_the_first_step(hub, distilled, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.add_user("me", role="read"))
    with pytest.raises(UsageError, match="the token may not write there"):
        distilled(push_to_hub=True, hub_model_id="me/student")
    assert not (tmp_path / "student").exists()


@needs_quanto
def test_a_rounded_student_is_published_in_integers(hub, distilled):
    distilled(quantization=QuantizationAwareTraining(weights=2), push_to_hub=True, hub_model_id="me/w2")
    assert "quanto_qmap.json" in published("me/w2")


def test_a_better_model_takes_the_place_of_the_one_before(hub, distilled):
    distilled(push_to_hub=True, hub_model_id="me/student")
    first = HfApi().model_info("me/student").sha
    distilled(push_to_hub=True, hub_model_id="me/student", seed=7, overwrite_output_dir=True)
    assert HfApi().model_info("me/student").sha != first
    assert len(hub.repo("models", "me/student").commits) == 3


def test_a_repository_with_another_model_is_refused_before_the_first_step(hub, distilled, tmp_path):
    api = HfApi()
    api.create_repo("me/bert")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="me/bert")
    with pytest.raises(UsageError, match=r"holds 1 files \(config.json\) and is no model of smi_hf"):
        distilled(push_to_hub=True, hub_model_id="me/bert")
    assert not (tmp_path / "student").exists()


def test_a_trainer_publishes_its_student_with_a_record(hub, trainer, tmp_path):
    made = trainer(push_to_hub=True, hub_model_id="me/student")
    made.train()
    with pytest.raises(UsageError, match="blocking is not taken by push_to_hub"):
        made.push_to_hub(blocking=False)
    url = made.push_to_hub("A student")
    assert hub.repo("models", "me/student").head.title == "A student"
    assert url.startswith(f"{hub.url}/me/student/commit/")
    record = ModelRecord.load(tmp_path / "student")
    assert record.kind == "distilled" and record.held_out.num_images == 2
    assert [each.name for each in record.datasets] == ["set"]
    assert "training_args.bin" not in published("me/student")
    assert made.push_to_hub() and len(hub.repo("models", "me/student").commits) == 2


def test_a_trainer_that_may_not_write_says_so_when_it_is_made(hub, trainer, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UsageError, match="'me/student' cannot be pushed: no valid token"):
        trainer(push_to_hub=True, hub_model_id="me/student")


def test_a_student_of_images_in_memory_has_no_record_to_publish(hub, trainer, kept_images):
    made = trainer(train_dataset=kept_images)
    with pytest.raises(UsageError, match="taught on images in memory, and its record could not say what they are"):
        made.push_to_hub()


def test_a_dataset_on_the_hub_is_named_with_its_commit(hub, distilled, sparse_folder, tmp_path):
    push(sparse_folder, "me/set")
    (dataset,) = distilled(dataset="me/set").datasets
    assert (dataset.name, dataset.revision) == ("me/set", hub.repo("datasets", "me/set").head.oid)
    push(tmp_path / "student", "me/student")
    assert ModelCard.load("me/student").data.datasets == ["me/set"]


def test_no_path_of_this_machine_is_published(hub, distilled, photographs, teacher, tmp_path):
    images = load_image_set(str(photographs), teacher.label_names)
    distilled(images=images, controls=[f"real={photographs}"])
    push(tmp_path / "student", "me/student")
    api = HfApi()
    for name in published("me/student"):
        content = Path(api.hf_hub_download("me/student", name)).read_bytes()
        for secret in (str(tmp_path), str(photographs.parent), hub.token, str(Path(__file__).parents[2])):
            assert secret.encode() not in content, (name, secret)
