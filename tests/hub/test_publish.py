"""Pushing datasets and models, driven over HTTP against a Hub on loopback."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, ModelCard

from smi_hf import (
    QuantizationConfig,
    RunError,
    SparseInversionConfig,
    SparseInversionTrainer,
    UsageError,
    load_sparse_dataset,
    quantize,
)
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.environment import missing_packages
from smi_hf.evaluation.record import RESULTS_FILE, ModelRecord
from smi_hf.files import file_sha256
from smi_hf.hub import push, push_with_space, save_model_record, write_publication
from smi_hf.models import License

needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")

# Prints a digest of every value of a dataset, read by stock `datasets` alone.
READ = """
import hashlib, sys
from datasets import load_dataset
rows = load_dataset(sys.argv[1], split="train", **({"revision": sys.argv[2]} if len(sys.argv) > 2 else {}))
assert "smi_hf" not in sys.modules
digest = hashlib.sha256(repr(rows.features).encode())
for row in rows:
    digest.update(row["image"].convert("RGB").tobytes())
    digest.update(repr([row[name] for name in sorted(row) if name != "image"]).encode())
print(len(rows), digest.hexdigest())
"""
# Prints a digest of a model's weights, read by stock transformers alone.
STOCK = """
import sys, torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
model = AutoModelForImageClassification.from_pretrained(sys.argv[1])
AutoImageProcessor.from_pretrained(sys.argv[1])
print(sum(float(value.double().abs().sum()) for value in model.state_dict().values()))
"""
PUSH = "import sys; from smi_hf.hub import push; print(push(*sys.argv[1:]))"


@pytest.fixture
def many_shards(tiny_checkpoint, tmp_path):
    """Makes a dataset of so many shards."""
    from smi_hf import load_teacher

    def make(num_shards: int = 6, seed: int = 0, name: str = "many") -> Path:
        config = SparseInversionConfig(
            output_dir=str(tmp_path / name), num_images=num_shards, batch_size=1, num_steps=2, seed=seed,
            disable_tqdm=True,
        )  # fmt: skip
        trainer = SparseInversionTrainer(load_teacher(str(tiny_checkpoint)), config)
        # Small sets are merged into one shard without this bound.
        trainer._writer = SparseDatasetWriter(trainer.output_dir, trainer.record, max_shard_bytes=1)
        trainer.train()
        assert len(trainer._writer.shards()) == num_shards
        return trainer.output_dir

    return make


def read(source, environment, *more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(source), *more], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def published(hub, repo_id: str) -> set[str]:
    return set(hub.repo("models", repo_id).tree) - {".gitattributes"}


def uploads(hub) -> list[str]:
    """Contents of large files that were sent, one entry a time."""
    return [record.path for record in hub.sent("PUT") if record.status == 200]


def commits(hub, repo_id: str = "me/set") -> int:
    """Beside the first, which makes the repository."""
    return len(hub.repo("datasets", repo_id).commits) - 1


def test_a_pushed_dataset_is_read_bit_by_bit_by_stock_datasets(hub, folder, tmp_path):
    url = push(folder, "me/set")
    assert commits(hub) == 1 and url.startswith(f"{hub.url}/datasets/me/set/commit/")
    local = read(folder, hub.environment | {"HF_DATASETS_CACHE": str(tmp_path / "other-cache")})
    assert read("me/set", hub.environment) == local and local.startswith("6 ")
    assert not hub.strangers


def test_smi_hf_loads_what_it_pushed(hub, folder, teacher):
    from smi_hf import load_sparse_dataset

    push(folder, "set")
    assert len(load_sparse_dataset("me/set", teacher=teacher)) == 6


def test_exactly_the_files_of_the_run_are_published(hub, folder):
    (folder / "notes.txt").write_text("not for others")
    (folder / "data" / "notes.json").write_text("{}")
    (folder / ".env").write_text("HF_TOKEN=hf_secret")
    push(folder, "me/set")
    shards = {f"data/{path.name}" for path in (folder / "data").glob("*.parquet")}
    published = set(HfApi().list_repo_files("me/set", repo_type="dataset"))
    pictures = {PREVIEW_FILE, STAGES_FILE}
    assert published - shards == {".gitattributes", "README.md", RECORD_FILE, *pictures} and shards < published


def test_a_shard_that_the_run_did_not_write_is_refused(hub, folder):
    (shard,) = (folder / "data").glob("*.parquet")
    shutil.copy(shard, shard.with_name("train-00000006-00000011.parquet"))
    with pytest.raises(UsageError, match=r"not those that smi.json was written for: some were added, removed or"):
        push(folder, "me/set")
    assert not hub.sent("POST")


def test_pushing_again_sends_nothing_and_makes_no_commit(hub, folder):
    push(folder, "me/set")
    sent = len(uploads(hub))
    assert push(folder, "me/set") and len(uploads(hub)) == sent and commits(hub) == 1


def test_another_dataset_takes_the_place_of_the_one_before(hub, folder, many_shards):
    push(folder, "me/set")
    push(many_shards(3), "me/set")
    assert commits(hub) == 2
    assert read("me/set", hub.environment).startswith("3 ")
    first = list(hub.repo("datasets", "me/set").commits)[1]
    assert read("me/set", hub.environment, first).startswith("6 ")


def test_nothing_that_is_published_names_token_user_or_path(hub, folder, tmp_path, caplog):
    with caplog.at_level(logging.DEBUG):
        push(folder, "me/set")
    api = HfApi()
    contents = [
        Path(api.hf_hub_download("me/set", name, repo_type="dataset")).read_bytes()
        for name in api.list_repo_files("me/set", repo_type="dataset")
    ]
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("smi_hf"))
    for secret in (hub.token, str(tmp_path), str(Path.home()), str(Path(__file__).parents[2])):
        assert not any(secret.encode() in content for content in contents), secret
        assert secret not in said


@pytest.mark.parametrize(
    "seed", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_with_many_failing_requests_a_push_completes_and_nothing_is_doubled(seed, hub, many_shards):
    folder = many_shards(8)
    # 8 % together: of the few requests of so small a push, 2 % would hardly ever strike.
    hub.faults.add(status=500, rate=0.02, seed=seed)
    hub.faults.add(status=503, after=True, rate=0.02, seed=seed + 100)
    hub.faults.add(broken="answer", rate=0.02, seed=seed + 200)
    hub.faults.add(status=429, retry_after=0, rate=0.02, seed=seed + 300)
    push(folder, "me/set")
    hub.faults.clear()
    assert any(record.fault for record in hub.requests)
    assert commits(hub) == 1
    assert read("me/set", hub.environment).startswith("8 ")


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub, folder):
    fault = hub.faults.add(broken="answer", method="POST", match="/commit/")
    push(folder, "me/set")
    assert fault.fired == 1 and commits(hub) == 1


def test_the_pause_that_the_server_asks_for_is_kept(hub, folder):
    hub.faults.add(status=429, retry_after=2, match="/commit/")
    started = time.monotonic()
    push(folder, "me/set")
    assert time.monotonic() - started > 2 and commits(hub) == 1


def test_a_hub_that_keeps_failing_is_given_up_and_the_next_push_continues(hub, folder):
    hub.faults.add(status=503, match="/commit/", times=100)
    with pytest.raises(
        RunError, match=r"'me/set' is not pushed: could not commit the files, in 6 attempts .*again, con"
    ):
        push(folder, "me/set")
    assert commits(hub) == 0
    hub.faults.clear()
    sent = len(uploads(hub))
    push(folder, "me/set")
    assert commits(hub) == 1 and len(uploads(hub)) == sent


def test_another_commit_in_between_is_no_obstacle(hub, folder):
    hub.faults.add(status=412, match="/commit/")
    push(folder, "me/set")
    assert commits(hub) == 1


@pytest.mark.parametrize(
    ("method", "match", "before"),
    # While the first shard is sent, the fourth, and while the commit is made.
    [("PUT", None, 0), ("PUT", None, 3), ("POST", "/commit/", 0)],
)
def test_a_push_that_is_killed_leaves_the_old_set_and_the_next_one_completes(
    method, match, before, hub, many_shards, folder
):
    push(folder, "me/set")
    old = read("me/set", hub.environment)
    new = many_shards(6)
    fault = hub.faults.add(delay_s=300, method=method, skip=before, **({"match": match} if match else {}))
    already = len(uploads(hub))
    pushing = subprocess.Popen(
        [sys.executable, "-c", PUSH, str(new), "me/set"], env=hub.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not fault.fired:
        assert pushing.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pushing.pid, signal.SIGKILL)
    pushing.wait()
    assert read("me/set", hub.environment) == old and commits(hub) == 1
    hub.faults.clear()
    sent = uploads(hub)[already:]
    push(new, "me/set")
    again = uploads(hub)[already + len(sent) :]
    assert len(sent) >= before and not set(sent) & set(again)
    assert commits(hub) == 2 and read("me/set", hub.environment).startswith("6 ")


def test_a_private_dataset_is_seen_by_its_owner_alone(hub, folder):
    push(folder, "me/set", private=True)
    assert hub.repo("datasets", "me/set").private
    assert read("me/set", hub.environment).startswith("6 ")
    stranger = hub.environment | {"HF_TOKEN": hub.add_user("stranger"), "HF_HOME": str(folder / "elsewhere")}
    stranger |= {name: str(folder / "elsewhere" / name) for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE")}
    with pytest.raises(AssertionError, match=r"doesn't exist|cannot be accessed|not found"):
        read("me/set", stranger)


def test_a_pull_request_takes_no_right_to_write(hub, folder):
    push(folder, "me/set")
    main = hub.repo("datasets", "me/set").refs["refs/heads/main"]
    shutil.copy(folder / PREVIEW_FILE, folder / STAGES_FILE)
    record = DatasetRecord.load(folder)
    same = dict.fromkeys((PREVIEW_FILE, STAGES_FILE), file_sha256(folder / PREVIEW_FILE))
    replace(record, results=record.results | {"picture_sha256": same}).save(folder)
    url = push(folder, "me/set", create_pr=True, token=hub.add_user("guest"))
    repository = hub.repo("datasets", "me/set")
    assert url == f"{hub.url}/datasets/me/set/discussions/1"
    assert repository.refs["refs/heads/main"] == main
    of_main, of_request = (
        HfApi().get_paths_info("me/set", STAGES_FILE, repo_type="dataset", revision=revision)[0].size
        for revision in ("main", "refs/pr/1")
    )
    assert of_main != of_request == (folder / PREVIEW_FILE).stat().st_size


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("hf_wrong", "no valid token; log in with `hf auth login`, or set HF_TOKEN"),
        ("reader", "the token may not write there"),
        (None, "no valid token; log in"),
    ],
)
def test_a_token_that_may_not_write_is_refused_before_the_first_step(
    token, message, hub, teacher, tmp_path, monkeypatch
):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", hub.add_user("me", role="read") if token == "reader" else token)
    config = SparseInversionConfig(
        output_dir=str(tmp_path / "new"), num_images=2, num_steps=2, push_to_hub=True, disable_tqdm=True
    )
    with pytest.raises(UsageError, match=message):
        SparseInversionTrainer(teacher, config).train()
    assert not (tmp_path / "new").exists()


def test_a_run_that_is_to_be_pushed_is_pushed(hub, run_command, tiny_checkpoint, tmp_path):
    options = ["--num_images", "2", "--num_steps", "2", "--push_to_hub", "--hub_dataset_id", "me/run"]
    done = run_command(
        "smi-hf", "invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "run", *options,
        env=hub.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"published: {hub.url}/datasets/me/run/commit/" in done.stderr
    assert read("me/run", hub.environment).startswith("2 ")


def test_where_to_push_without_being_told_to_is_refused():
    with pytest.raises(UsageError, match="hub_dataset_id says how to publish the dataset, but push_to_hub"):
        SparseInversionConfig(hub_dataset_id="me/set")


def test_a_folder_without_anything_to_push_is_refused(hub, tmp_path):
    with pytest.raises(UsageError, match="holds nothing to push; give a folder that smi-hf invert"):
        push(tmp_path, "me/set")
    assert not hub.requests


def test_an_unfinished_dataset_is_not_published(hub, teacher, tmp_path):
    config = SparseInversionConfig(output_dir=str(tmp_path / "set"), num_images=2, num_steps=3, disable_tqdm=True)
    trainer = SparseInversionTrainer(teacher, config)
    trainer._writer.open()
    with pytest.raises(UsageError, match="is not complete"):
        trainer.push_to_hub("me/set")
    assert not hub.requests


def test_what_the_hub_does_not_like_about_a_card_is_told(hub, folder):
    record = DatasetRecord.load(folder)
    license = License("Not a license!")
    replace(record, teacher=replace(record.teacher, license=license)).save(folder)
    with pytest.raises(UsageError, match=r"the Hub answered 400: .*license"):
        push(folder, "me/set")
    assert commits(hub) == 0


def test_what_is_published_is_the_record_that_lies_in_the_folder(hub, folder, model_folder):
    push(folder, "me/set")
    push(model_folder, "me/student")
    assert hub.repo("datasets", "me/set").read(RECORD_FILE) == (folder / RECORD_FILE).read_bytes()
    assert hub.repo("models", "me/student").read(RESULTS_FILE) == (model_folder / RESULTS_FILE).read_bytes()


def test_exactly_the_files_of_a_model_are_published_and_stock_transformers_reads_it(hub, model_folder):
    (model_folder / "notes.json").write_text("{}")
    (model_folder / "training_args.bin").write_bytes(b"a pickle")
    push(model_folder, "me/student")
    names = {"README.md", RESULTS_FILE, "config.json", "model.safetensors", "preprocessor_config.json", "curves.png"}
    assert published(hub, "me/student") == names
    sums = [
        subprocess.run(
            [sys.executable, "-c", STOCK, source], env=hub.environment, capture_output=True, text=True, check=True
        ).stdout
        for source in ("me/student", str(model_folder))
    ]
    assert sums[0] == sums[1]
    assert "me/student" in ModelCard.load("me/student").text


def test_another_model_takes_the_place_of_the_one_before(hub, model_folder, model_record):
    push(model_folder, "me/student")
    (model_folder / "model.safetensors").rename(model_folder / "model-00001-of-00001.safetensors")
    (model_folder / "curves.png").unlink()
    save_model_record(model_record, model_folder)
    push(model_folder, "me/student")
    names = {"README.md", RESULTS_FILE, "config.json", "model-00001-of-00001.safetensors", "preprocessor_config.json"}
    assert published(hub, "me/student") == names


def test_a_record_without_what_its_card_says_is_refused_before_the_hub_is_asked(hub, model_folder):
    record = ModelRecord.load(model_folder)
    replace(record, kind="quantized", settings={"backend": "onnx"}).save(model_folder)
    with pytest.raises(UsageError, match=r"lacks what its card says \(KeyError: 'weights'\); make the"):
        push(model_folder, "me/student")
    assert not hub.requests


def test_push_is_a_verb_of_the_package():
    import smi_hf

    assert smi_hf.push is push


@needs_quanto
def test_a_quantized_model_is_published_whole(hub, teacher, sparse_folder, tmp_path):
    config = QuantizationConfig(output_dir=str(tmp_path / "int8"), backend="quanto", disable_tqdm=True)
    quantize(teacher, load_sparse_dataset(sparse_folder), config)
    push(tmp_path / "int8", "me/int8")
    # All but the page for people on this machine.
    assert published(hub, "me/int8") == {path.name for path in (tmp_path / "int8").iterdir()} - {"report.html"}
    card = ModelCard.load("me/int8")
    assert "data-free" in card.data.tags


def test_a_model_and_its_space_are_published_together(hub, folder, model_folder, model_record):
    push(folder, "me/set")
    digest = DatasetRecord.load(folder).results["content_sha256"]
    (images,) = model_record.datasets
    save_model_record(replace(model_record, datasets=(replace(images, content_sha256=digest),)), model_folder)
    urls = push_with_space(model_folder, "student", "demo", space_dataset="me/set", private=True)
    space = hub.repo("spaces", "me/demo")
    heads = hub.repo("models", "me/student").head.oid, space.head.oid
    assert urls == (f"{hub.url}/me/student/commit/{heads[0]}", f"{hub.url}/spaces/me/demo/commit/{heads[1]}")
    assert set(space.tree) == {".gitattributes", "README.md", "app.py", "requirements.txt", "space.json"}
    assert space.private and hub.repo("models", "me/student").private
    app = space.read("app.py").decode()
    assert 'MODEL = "me/student"' in app and 'DATASET = "me/set"' in app
    assert not hub.strangers
    # Once more: nothing is left to do.
    push_with_space(model_folder, "student", "demo", space_dataset="me/set")
    assert len(space.commits) == 2


def test_images_that_are_not_those_of_the_model_are_not_shown_beside_it(hub, folder, model_folder):
    with pytest.raises(UsageError, match="space_dataset 'me/set' is no dataset of smi_hf on the Hub that this token"):
        push_with_space(model_folder, "me/student", "me/demo", space_dataset="me/set")
    push(folder, "me/set")
    with pytest.raises(
        UsageError, match=r"'me/set' holds other images than those that the model was made with \(set\)"
    ):
        push_with_space(model_folder, "me/student", "me/demo", space_dataset="me/set")
    assert published(hub, "me/student") == set() and len(hub.repo("spaces", "me/demo").commits) == 1


def test_a_space_of_others_is_left_as_it_is_and_nothing_is_pushed(hub, model_folder):
    api = HfApi()
    api.create_repo("me/demo", repo_type="space", space_sdk="gradio")
    api.upload_file(path_or_fileobj=b"mine", path_in_repo="app.py", repo_id="me/demo", repo_type="space")
    with pytest.raises(
        UsageError, match=r"space 'me/demo' on the Hub holds 1 files \(app.py\) and is no Space of smi"
    ):
        push_with_space(model_folder, "me/student", "me/demo")
    assert hub.repo("spaces", "me/demo").read("app.py") == b"mine" and published(hub, "me/student") == set()
    # A Space is no place for a model, nor a model's repository one for a Space.
    push(model_folder, "me/other")
    assert push_with_space(model_folder, "me/other", "me/other")[1].startswith(f"{hub.url}/spaces/me/other/commit/")


def test_a_space_that_cannot_be_made_is_refused_before_the_hub_is_asked(hub, model_folder, model_record):
    rounded = replace(model_record, settings=model_record.settings | {"quantization": {"backend": "onnx"}})
    save_model_record(rounded, model_folder)
    with pytest.raises(UsageError, match="no Space can be made of this model"):
        push_with_space(model_folder, "me/student", "me/demo")
    with pytest.raises(UsageError, match="cannot be the name of a repository"):
        push_with_space(model_folder, "me/student", "a b")
    assert not hub.requests


def test_what_is_written_is_what_would_be_published(hub, folder, model_folder, tmp_path):
    for source, kind, repo_id in ((model_folder, "models", "me/student"), (folder, "datasets", "me/set")):
        look = tmp_path / f"look-{kind}"
        places = write_publication(source, repo_id, look, space_id="me/demo")
        assert places == [look / kind / repo_id, look / "spaces" / "me" / "demo"] and not hub.requests
        push_with_space(source, repo_id, "me/demo")
        for place, repository in zip(places, (hub.repo(kind, repo_id), hub.repo("spaces", "me/demo"))):
            written = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
            assert set(written) == set(repository.tree) - {".gitattributes"}
            assert all(path.read_bytes() == repository.read(name) for name, path in written.items())
        hub.requests.clear()


def test_what_is_written_needs_full_names_and_a_new_folder(hub, model_folder, tmp_path):
    with pytest.raises(UsageError, match=r"'student' has no namespace, and the Hub is not asked for yours; give name"):
        write_publication(model_folder, "student", tmp_path / "look")
    with pytest.raises(UsageError, match="exists; choose another folder"):
        write_publication(model_folder, "me/student", model_folder)
    assert not (tmp_path / "look").exists()


def test_of_what_a_space_cannot_show_the_user_is_told(hub, folder, model_folder, caplog):
    push_with_space(folder, "me/set", "me/images")
    push_with_space(model_folder, "me/student", "me/demo")
    said = [record.getMessage() for record in caplog.records if record.name == "smi_hf.hub.publish"]
    assert [words.split(",")[0] for words in said] == ["the Space shows images alone", "the Space shows no images"]
