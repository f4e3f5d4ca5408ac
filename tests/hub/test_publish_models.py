"""Pushing quantized models and students, driven over HTTP against a Hub on loopback."""

import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from smi_hf import SparseDistillationConfig, SparseDistillationTrainer, UsageError, load_sparse_dataset, load_student
from smi_hf.cli.main import main
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.hub import push

needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")

STOCK = """
import sys, torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained(sys.argv[1])
AutoImageProcessor.from_pretrained(sys.argv[1])
print(sum(float(value.double().abs().sum()) for value in model.state_dict().values()))
"""


@pytest.fixture
def distilled(tiny_checkpoint, sparse_folder, tmp_path):
    """Runs `smi-hf distill` for a moment; returns the exit code."""

    def run(*options, dataset=sparse_folder):
        given = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--dataset", dataset, "--from_scratch"]
        given += ["--output_dir", tmp_path / "student", "--num_train_epochs", 1, "--held_out", 0.4]
        return main(["distill", *map(str, [*given, "--use_cpu", "true", "--disable_tqdm", "true", *options])])

    return run


@pytest.fixture
def trainer(teacher, tiny_checkpoint, sparse_folder, image_processor, tmp_path):
    def make(train_dataset=None, **settings):
        args = SparseDistillationConfig(
            output_dir=str(tmp_path / "student"), num_train_epochs=1, held_out=0.4, use_cpu=True, disable_tqdm=True,
            save_strategy="no", **settings,
        )  # fmt: skip
        student = load_student(str(tiny_checkpoint), teacher)
        dataset = load_sparse_dataset(sparse_folder) if train_dataset is None else train_dataset
        return SparseDistillationTrainer(student, teacher, args, dataset, image_processor=image_processor)

    return make


def published(repo_id: str) -> set[str]:
    return set(HfApi().list_repo_files(repo_id)) - {".gitattributes"}


def test_a_student_is_published_and_stock_transformers_reads_it(hub, distilled, tmp_path):
    assert distilled() == 0
    (tmp_path / "student" / "notes.json").write_text("{}")
    push(tmp_path / "student", "me/student")
    names = {"README.md", RESULTS_FILE, "config.json", "model.safetensors", "preprocessor_config.json"}
    assert published("me/student") == names
    counts = [
        subprocess.run(
            [sys.executable, "-c", STOCK, source], env=hub.environment, capture_output=True, text=True, check=True
        ).stdout
        for source in ("me/student", str(tmp_path / "student"))
    ]
    assert counts[0] == counts[1]
    assert "me/student" in ModelCard.load("me/student").text


def test_distilling_checks_first_and_publishes_in_the_end(hub, distilled, capsys):
    assert distilled("--push_to_hub", "true", "--hub_model_id", "me/student", "--hub_private_repo", "true") == 0
    assert f"published: {hub.url}/me/student/commit/" in capsys.readouterr().out
    assert hub.repo("models", "me/student").private and "model.safetensors" in published("me/student")
    assert len(hub.repo("models", "me/student").commits) == 2
    # One repository: the trainers of other rows and rounds publish nothing.
    assert list(hub.state.repositories) == [("model", "me/student")]


def test_distilling_without_the_right_to_write_is_refused_before_the_first_step(hub, distilled, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.add_user("me", role="read"))
    assert distilled("--push_to_hub", "true", "--hub_model_id", "me/student") == 2
    assert not (tmp_path / "student").exists()


@needs_quanto
def test_a_quantized_model_is_published_whole(hub, tiny_checkpoint, sparse_folder, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--backend", "quanto"]
    assert main(["quantize", *map(str, [*given, "--output_dir", tmp_path / "int8"])]) == 0
    push(tmp_path / "int8", "me/int8")
    assert published("me/int8") == {path.name for path in (tmp_path / "int8").iterdir()}
    card = ModelCard.load("me/int8")
    assert "data-free" in card.data.tags


@needs_quanto
def test_a_rounded_student_is_published_in_integers(hub, tiny_checkpoint, sparse_folder, tmp_path):
    given = ["--teacher", tiny_checkpoint, "--student", tiny_checkpoint, "--dataset", sparse_folder]
    given += ["--output_dir", tmp_path / "w2", "--num_train_epochs", 1, "--held_out", 0.4, "--quantize_weights", 2]
    given += ["--use_cpu", "true", "--disable_tqdm", "true", "--push_to_hub", "true", "--hub_model_id", "me/w2"]
    assert main(["distill", *map(str, given)]) == 0
    assert "quanto_qmap.json" in published("me/w2")


def test_files_that_were_changed_since_are_not_published(hub, distilled, tmp_path):
    assert distilled() == 0
    config = tmp_path / "student" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(UsageError, match=r"config.json was changed since, and results.json is the record"):
        push(tmp_path / "student", "me/student")
    config.unlink()
    with pytest.raises(UsageError, match=r"config.json is gone"):
        push(tmp_path / "student", "me/student")
    assert not hub.requests


def test_a_better_model_takes_the_place_of_the_one_before(hub, distilled, tmp_path):
    assert distilled("--push_to_hub", "true", "--hub_model_id", "me/student") == 0
    first = HfApi().model_info("me/student").sha
    assert distilled("--push_to_hub", "true", "--hub_model_id", "me/student", "--seed", 7) == 0
    assert HfApi().model_info("me/student").sha != first
    assert len(hub.repo("models", "me/student").commits) == 3


def test_a_repository_with_another_model_is_left_as_it_is(hub, distilled, tmp_path):
    api = HfApi()
    api.create_repo("me/bert")
    api.upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="me/bert")
    assert distilled() == 0
    with pytest.raises(UsageError, match=r"holds 1 files \(config.json\) and is no model of smi_hf"):
        push(tmp_path / "student", "me/bert")


def test_a_trainer_publishes_its_student_with_a_record(hub, trainer, tmp_path):
    made = trainer(push_to_hub=True, hub_model_id="me/student")
    made.train()
    with pytest.raises(UsageError, match="blocking is not taken by push_to_hub"):
        made.push_to_hub(blocking=False)
    url = made.push_to_hub("A student")
    assert hub.repo("models", "me/student").head.title == "A student"
    assert url.startswith(f"{hub.url}/me/student/commit/")
    record = ModelRecord.load(tmp_path / "student")
    assert record.kind == "distilled" and record.held_out["num_images"] == 2
    assert [each["name"] for each in record.datasets] == ["set"]
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
    assert distilled(dataset="me/set") == 0
    (dataset,) = ModelRecord.load(tmp_path / "student").datasets
    assert (dataset["name"], dataset["revision"]) == ("me/set", hub.repo("datasets", "me/set").head.oid)
    push(tmp_path / "student", "me/student")
    assert ModelCard.load("me/student").data.datasets == ["me/set"]


def test_no_path_of_this_machine_is_published(hub, distilled, tmp_path):
    assert distilled() == 0
    push(tmp_path / "student", "me/student")
    api = HfApi()
    for name in published("me/student"):
        content = Path(api.hf_hub_download("me/student", name)).read_bytes()
        for secret in (str(tmp_path), hub.token, str(Path(__file__).parents[2])):
            assert secret.encode() not in content, (name, secret)
