"""Pushing a sparse dataset, driven over HTTP against a Hub on loopback."""

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
from huggingface_hub import HfApi

from smi_hf import RunError, SparseInversionConfig, SparseInversionTrainer, UsageError
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import PREVIEW_FILE, RECORD_FILE, STAGES_FILE
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.hub import push, retries
from smi_hf.hub.publish import DATASET, open_for

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
PUSH = "import sys; from smi_hf.hub import push; print(push(*sys.argv[1:]))"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(retries, "_BACK_OFF", lambda state: 0.01)


@pytest.fixture
def folder(sparse_folder, tmp_path):
    """A copy of a finished dataset."""
    return Path(shutil.copytree(sparse_folder, tmp_path / "set"))


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
        # Small sets are merged into one shard, but for this bound.
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
    assert len(load_sparse_dataset("me/set", for_model=teacher.model)) == 6


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


@pytest.mark.parametrize("seed", range(4))
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


def test_a_push_that_is_killed_leaves_the_old_set_and_the_next_one_completes(hub, many_shards, folder):
    push(folder, "me/set")
    before = read("me/set", hub.environment)
    new = many_shards(6)
    # The fourth shard hangs until the process is gone.
    hub.faults.add(delay_s=300, method="PUT", skip=3)
    already = len(uploads(hub))
    pushing = subprocess.Popen(
        [sys.executable, "-c", PUSH, str(new), "me/set"], env=hub.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(hub.sent("PUT")) < already + 4:
        assert pushing.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(pushing.pid, signal.SIGKILL)
    pushing.wait()
    assert read("me/set", hub.environment) == before and commits(hub) == 1
    hub.faults.clear()
    sent = uploads(hub)[already:]
    push(new, "me/set")
    again = uploads(hub)[already + len(sent) :]
    assert len(sent) == 3 and not set(sent) & set(again)
    assert commits(hub) == 2 and read("me/set", hub.environment).startswith("6 ")


# Where, and who


def test_a_private_dataset_is_seen_by_its_owner_alone(hub, folder):
    push(folder, "me/set", private=True)
    assert hub.repo("datasets", "me/set").private
    assert read("me/set", hub.environment).startswith("6 ")
    stranger = hub.environment | {"HF_TOKEN": hub.add_user("stranger"), "HF_HOME": str(folder / "elsewhere")}
    stranger |= {name: str(folder / "elsewhere" / name) for name in ("HF_HUB_CACHE", "HF_DATASETS_CACHE")}
    with pytest.raises(AssertionError, match=r"doesn't exist|cannot be accessed|not found"):
        read("me/set", stranger)


def test_a_branch_is_made_and_main_left_alone(hub, folder):
    push(folder, "me/set", revision="v2")
    repository = hub.repo("datasets", "me/set")
    assert repository.refs.keys() == {"refs/heads/main", "refs/heads/v2"}
    assert read("me/set", hub.environment, "v2").startswith("6 ")
    assert HfApi().list_repo_files("me/set", repo_type="dataset") == [".gitattributes"]


def test_a_pull_request_takes_no_right_to_write(hub, folder):
    push(folder, "me/set")
    main = hub.repo("datasets", "me/set").refs["refs/heads/main"]
    shutil.copy(folder / PREVIEW_FILE, folder / STAGES_FILE)
    url = push(folder, "me/set", create_pr=True, token=hub.add_user("guest"))
    repository = hub.repo("datasets", "me/set")
    assert url == f"{hub.url}/datasets/me/set/discussions/1"
    assert repository.refs["refs/heads/main"] == main
    of_main, of_request = (
        HfApi().get_paths_info("me/set", STAGES_FILE, repo_type="dataset", revision=revision)[0].size
        for revision in ("main", "refs/pr/1")
    )
    assert of_main != of_request == (folder / PREVIEW_FILE).stat().st_size


def test_the_repository_of_another_purpose_is_left_as_it_is(hub, folder):
    api = HfApi()
    api.create_repo("me/photos", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"a,b", path_in_repo="table.csv", repo_id="me/photos", repo_type="dataset")
    with pytest.raises(
        UsageError, match=r"holds 1 files \(table.csv\) and is no sparse dataset .* choose another name"
    ):
        push(folder, "me/photos")
    assert commits(hub, "me/photos") == 1


@pytest.mark.parametrize(
    ("repo_id", "message"),
    [
        ("me/a b", "'me/a b' cannot be the name of a repository: Repo id must use"),
        ("a/b/c", "'a/b/c' cannot be the name of a repository: Repo id must be in the form"),
        ("you/set", "'you/set' cannot be pushed: the token may not write there"),
    ],
)
def test_a_name_that_cannot_be_is_refused(repo_id, message, hub, folder):
    hub.add_user("you")
    with pytest.raises(UsageError, match=message):
        push(folder, repo_id)


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


def test_the_command_pushes_and_prints_the_address(hub, run_command, folder):
    done = run_command("smi-hf", "push", folder, "me/set", "--private", env=hub.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(f"{hub.url}/datasets/me/set/commit/")
    assert hub.repo("datasets", "me/set").private


def test_a_folder_without_anything_to_push_is_refused(hub, tmp_path):
    with pytest.raises(UsageError, match="holds nothing to push; give a folder that smi-hf invert"):
        push(tmp_path, "me/set")
    with pytest.raises(UsageError, match="is not a sparse dataset"):
        push(tmp_path, "me/set")
    assert not hub.requests


def test_an_unfinished_dataset_is_not_published(hub, teacher, tmp_path):
    config = SparseInversionConfig(output_dir=str(tmp_path / "set"), num_images=2, num_steps=3, disable_tqdm=True)
    trainer = SparseInversionTrainer(teacher, config)
    trainer._writer.open()
    with pytest.raises(UsageError, match="is not complete"):
        trainer.push_to_hub("me/set")
    assert not hub.requests


def test_offline_is_said_at_once(folder):
    # The test suite runs with HF_HUB_OFFLINE=1.
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set; unset it"):
        push(folder, "me/set")


def test_opening_a_repository_looks_and_leaves_it_alone(hub):
    open_for(DATASET, "me/set")
    assert commits(hub) == 0 and not uploads(hub)


def test_a_hub_that_cannot_be_reached_is_said_in_one_plain_sentence(hub, folder):
    hub.faults.add(broken="answer", match="whoami", times=100)
    with pytest.raises(RunError, match=r"whose token it is, in 6 attempts \(no connection, \w+\)\. What was there"):
        push(folder, "me/set")


def test_what_the_hub_does_not_like_about_a_card_is_told(hub, folder):
    record = DatasetRecord.load(folder)
    license = {"id": "Not a licence!", "name": None, "link": None}
    replace(record, teacher=replace(record.teacher, license=license)).save(folder)
    with pytest.raises(UsageError, match=r"the Hub answered 400: .*license"):
        push(folder, "me/set")
    assert commits(hub) == 0
