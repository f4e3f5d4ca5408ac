"""The loopback server against the real clients: what they publish is what they read, and ordered faults reach them."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_session, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status
from loopback import Faults
from loopback.state import Entry, tree_oid

SET = {"repo_id": "me/set", "repo_type": "dataset"}
# Larger than what fits into the buffers between client and server at once would need; small enough to be quick.
LARGE = bytes(range(256)) * 4096


@pytest.fixture
def api(hub) -> HfApi:
    """A client with an empty dataset repository "me/set"."""
    api = HfApi()
    api.create_repo(**SET)
    return api


@pytest.fixture
def repo(hub, api):
    return hub.repo("datasets", "me/set")


def upload(api: HfApi, path: str, content: bytes, **options: object) -> object:
    return api.upload_file(path_or_fileobj=content, path_in_repo=path, **{**SET, **options})


def download(path: str, **options: object) -> bytes:
    return Path(hf_hub_download(filename=path, **SET, **options)).read_bytes()


# Publishing


def test_a_folder_arrives_with_large_files_in_the_storage(hub, api, repo, tmp_path):
    files = {"data/a.parquet": LARGE, "data/b.parquet": b"b" * 9, "record.json": b"{}", "preview.png": b"\x89PNG"}
    for name, content in files.items():
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    api.upload_folder(folder_path=tmp_path / "set", commit_message="Add files", **SET)
    assert {path: repo.read(path) for path in files} == files
    assert {path for path in files if repo.tree[path].sha256} == {"data/a.parquet", "data/b.parquet", "preview.png"}
    assert [commit.title for commit in repo.history()] == ["Add files", "initial commit"]
    assert {path: download(path) for path in files} == files
    assert hub.strangers == []


def test_the_storage_never_gets_a_token(hub, api):
    upload(api, "a.parquet", LARGE)
    download("a.parquet")
    visits = [record for record in hub.requests if hub.storage_url.endswith(record.host)]
    assert {record.method for record in visits} == {"PUT", "GET"}
    assert not any("Authorization" in record.headers or hub.token in record.query for record in visits)


def test_an_address_of_the_storage_needs_its_signature(hub, api, repo):
    upload(api, "a.parquet", LARGE)
    address = f"{hub.storage_url}/dataset/me/set/{repo.tree['a.parquet'].sha256}"
    assert get_session().get(address + "?signature=made-up").status_code == 403


def test_the_same_content_makes_no_second_commit_and_is_sent_once(hub, api, repo):
    for _ in range(2):
        upload(api, "a.parquet", LARGE)
        upload(api, "notes.md", b"text")
    assert len(repo.history()) == 3
    assert len(hub.sent("PUT")) == 1


def test_creating_a_repository_again_needs_exist_ok(api):
    assert api.create_repo(exist_ok=True, **SET).repo_id == "me/set"
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(**SET)


def test_files_folders_and_repositories_are_deleted(hub, api, repo):
    for path in ("a.txt", "old/a.txt", "old/deep/a.txt"):
        upload(api, path, path.encode())
    api.delete_file("a.txt", **SET)
    api.delete_folder("old", **SET)
    assert set(repo.tree) == {".gitattributes"}
    with pytest.raises(EntryNotFoundError, match="doesn't exist"):
        api.delete_file("a.txt", **SET)
    api.delete_repo(**SET)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info(**SET)


def test_a_commit_on_an_outdated_parent_is_refused(api, repo):
    parent = repo.head.oid
    upload(api, "a.txt", b"first", parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as refusal:
        upload(api, "a.txt", b"second", parent_commit=parent)
    assert refusal.value.response.status_code == 412
    assert repo.read("a.txt") == b"first"


def test_a_pull_request_leaves_main_alone_and_others_may_open_one(hub, api, repo):
    you = HfApi(token=hub.add_user("you"))
    commit = upload(you, "a.parquet", LARGE, create_pr=True)
    assert set(repo.tree) == {".gitattributes"}
    assert repo.read("a.parquet", "refs/pr/1") == LARGE
    assert download("a.parquet", revision="refs/pr/1") == LARGE
    refs = api.list_repo_refs(include_pull_requests=True, **SET)
    assert [ref.ref for ref in refs.pull_requests] == ["refs/pr/1"]
    assert repo.resolve("refs/pr/1").author == "you"
    assert (commit.pr_num, commit.pr_revision) == (1, "refs/pr/1")


def test_branches_and_tags_point_at_commits(api, repo):
    upload(api, "a.txt", b"first")
    api.create_branch(branch="work/next", **SET)
    api.create_tag(tag="v1", **SET)
    upload(api, "a.txt", b"second", revision="work/next")
    assert (download("a.txt"), download("a.txt", revision="work/next")) == (b"first", b"second")
    assert download("a.txt", revision="v1") == b"first"
    refs = api.list_repo_refs(**SET)
    assert {ref.name: ref.target_commit for ref in refs.branches} == {
        "main": repo.head.oid,
        "work/next": repo.resolve("work/next").oid,
    }
    api.delete_branch(branch="work/next", **SET)
    api.delete_tag(tag="v1", **SET)
    assert list(repo.refs) == ["refs/heads/main"]


def test_a_card_that_the_hub_would_refuse_is_refused(api, repo):
    with pytest.raises(ValueError, match='"license" must be an identifier'):
        upload(api, "README.md", b"---\nlicense: [Apache 2.0]\n---\n# Set\n")
    with pytest.raises(ValueError, match="must be a mapping"):
        upload(api, "README.md", b"---\n- a\n- b\n---\n")
    upload(api, "README.md", b"---\nlicense: apache-2.0\ntags: [vit]\n---\n# Set\n")
    info = api.dataset_info("me/set")
    assert (info.card_data.license, info.tags, info.sha) == ("apache-2.0", ["vit"], repo.head.oid)


# Reading


def test_ids_are_those_of_git(repo, tmp_path):
    git = shutil.which("git")
    if git is None:
        pytest.skip("needs git")
    contents = {"a": b"1", "a.b/c": b"2", "a-b/c/d": b"3", "z": b""}
    for name, content in contents.items():
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_bytes(content)

    def run(*command: str) -> str:
        settings = {"cwd": tmp_path / "work", "capture_output": True, "text": True, "check": True}
        return subprocess.run([git, "-c", "core.fileMode=false", *command], **settings).stdout.strip()

    run("init", "--quiet")
    run("add", ".")
    assert tree_oid({path: Entry.regular(content) for path, content in contents.items()}) == run("write-tree")


def test_trees_are_listed_in_pages_with_the_last_change_of_each_path(hub, api, repo):
    hub.routes.page_size = 2
    for path in ("data/a.parquet", "data/b.txt", "c.txt"):
        upload(api, path, path.encode() + b"\0", commit_message=f"Add {path}")
    listed = {item.path: item for item in api.list_repo_tree(recursive=True, expand=True, **SET)}
    assert set(listed) == {".gitattributes", "c.txt", "data", "data/a.parquet", "data/b.txt"}
    assert listed["data"].last_commit.title == "Add data/b.txt"
    assert listed["data/a.parquet"].last_commit.title == "Add data/a.parquet"
    assert listed["data/a.parquet"].lfs.sha256 == hashlib.sha256(b"data/a.parquet\0").hexdigest()
    assert listed["c.txt"].blob_id == repo.tree["c.txt"].oid
    assert len(hub.sent("GET", "/tree/")) == 3
    assert [item.path for item in api.list_repo_tree(**SET)] == [".gitattributes", "c.txt", "data"]
    assert [item.path for item in api.get_paths_info(paths=["data", "none"], **SET)] == ["data"]
    assert [commit.commit_id for commit in api.list_repo_commits(**SET)] == [c.oid for c in repo.history()]


@pytest.mark.parametrize("path", ["a.txt", "a.parquet"])
def test_a_range_of_a_file_is_a_range_of_its_bytes(hub, api, path):
    upload(api, path, b"0123456789")
    address = hf_hub_url(filename=path, **SET)

    def ask(asked: str):
        return get_session().get(address, headers={"Range": asked, "Authorization": f"Bearer {hub.token}"})

    answers = {asked: ask(asked) for asked in ("bytes=2-4", "bytes=7-", "bytes=-2", "bytes=8-99", "bytes=10-")}
    assert [answer.status_code for answer in answers.values()] == [206, 206, 206, 206, 416]
    assert [answer.content for answer in answers.values()][:4] == [b"234", b"789", b"89", b"89"]
    assert answers["bytes=2-4"].headers["Content-Range"] == "bytes 2-4/10"


READ = """
import hashlib, json
from datasets import load_dataset
def digest(rows):
    return [[hashlib.sha256(row["image"].tobytes()).hexdigest(), row["label"]] for row in rows]
print(json.dumps({
    "loaded": digest(load_dataset("me/set", split="test")),
    "streamed": digest(load_dataset("me/set", split="test", streaming=True)),
}))
"""


def test_a_process_loads_and_streams_the_rows_that_were_pushed(hub, api, photographs):
    import json

    from datasets import load_dataset

    api.upload_file(path_or_fileobj=photographs, path_in_repo="data/test-0.parquet", **SET)
    settings = {"env": hub.environment, "capture_output": True, "text": True, "timeout": 300}
    result = subprocess.run([sys.executable, "-c", READ], **settings)
    assert result.returncode == 0, result.stderr
    rows = load_dataset("parquet", data_files=str(photographs), split="train")
    pushed = [[hashlib.sha256(row["image"].tobytes()).hexdigest(), row["label"]] for row in rows]
    read = json.loads(result.stdout.splitlines()[-1])
    assert read["loaded"] == pushed
    assert read["streamed"] == pushed
    assert hub.strangers == []


def test_a_dataset_pushed_by_datasets_is_read_back(hub):
    from datasets import Dataset, load_dataset

    rows = {"number": list(range(5)), "word": list("abcde")}
    Dataset.from_dict(rows).push_to_hub("me/words", private=True)
    assert hub.repo("datasets", "me/words").private
    assert load_dataset("me/words", split="train").to_dict() == rows
    assert load_dataset("me/words", split="train", streaming=True).take(2).to_list() == [
        {"number": 0, "word": "a"},
        {"number": 1, "word": "b"},
    ]


def test_a_model_is_loaded_by_name(hub, tiny_checkpoint):
    from transformers import AutoImageProcessor, ViTForImageClassification

    api = HfApi()
    api.create_repo("me/vit")
    api.upload_folder(repo_id="me/vit", folder_path=tiny_checkpoint)
    here = ViTForImageClassification.from_pretrained(tiny_checkpoint).state_dict()
    there = ViTForImageClassification.from_pretrained("me/vit").state_dict()
    assert there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in here)
    assert AutoImageProcessor.from_pretrained("me/vit").size["height"] == 32
    assert hub.repo("models", "me/vit").tree["model.safetensors"].sha256
    assert hub.strangers == []


def test_a_client_that_transformers_made_before_is_not_used(hub, tmp_path):
    """What an earlier test left behind, a client of the real Hub, must not be asked here."""
    import transformers.utils.hub as transformers_hub
    from loopback.clients import point_this_process

    if not hasattr(transformers_hub, "hf_api"):
        pytest.skip("transformers 4.57 keeps no client")
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(transformers_hub, "_hf_api", HfApi(endpoint="https://huggingface.co"))
        point_this_process(patches, hub, tmp_path / "home")
        assert transformers_hub.hf_api().endpoint == hub.url


# Who may do what


def test_a_private_repository_does_not_exist_for_others(hub, api, tmp_path):
    upload(api, "a.txt", b"secret")
    api.update_repo_settings(private=True, **SET)
    assert download("a.txt") == b"secret"
    for token in (hub.add_user("you"), False):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).repo_info(**SET)
        with pytest.raises(RepositoryNotFoundError):
            download("a.txt", token=token, cache_dir=tmp_path / "of others")


def test_anyone_reads_a_public_repository(hub, api):
    upload(api, "a.parquet", LARGE)
    assert download("a.parquet", token=False) == LARGE
    assert "Authorization" not in hub.requests[-1].headers


def test_a_gated_repository_shows_its_name_but_not_its_files(hub, api, repo):
    upload(api, "a.txt", b"restricted")
    repo.gated = True
    you = hub.add_user("you")
    assert HfApi(token=you).repo_info(**SET).id == "me/set"
    with pytest.raises(GatedRepoError):
        download("a.txt", token=you)
    assert download("a.txt") == b"restricted"


def test_what_is_missing_is_named(api):
    with pytest.raises(EntryNotFoundError):
        download("none.txt")
    with pytest.raises(RevisionNotFoundError):
        download("none.txt", revision="none")
    with pytest.raises(RevisionNotFoundError):
        upload(api, "a.txt", b"", revision="none")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("me/none")
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("none")


@pytest.mark.parametrize(
    ("token", "status", "message"),
    [("hf_wrong", 401, "Invalid"), ("reader", 403, "have the rights"), ("stranger", 403, "have the rights")],
)
def test_a_token_that_may_not_write_changes_nothing(hub, api, repo, token, status, message):
    hub.add_user("me", role="read", token="reader")
    hub.add_user("you", token="stranger")
    other = HfApi(token=token)
    attempts = [
        lambda: upload(other, "a.txt", b"text"),
        lambda: other.create_repo("me/new"),
        lambda: other.create_branch(branch="new", **SET),
        lambda: other.delete_repo(**SET),
    ]
    for attempt in attempts:
        with pytest.raises(HfHubHTTPError, match=message) as refusal:
            attempt()
        assert refusal.value.response.status_code == status
    assert len(repo.history()) == 1
    assert list(repo.refs) == ["refs/heads/main"]


def test_names_and_kinds_that_the_hub_refuses_are_bad_requests(hub, api):
    headers = {"Authorization": f"Bearer {hub.token}"}
    for name in ("a--b", "-a", "a..b", "a b", "ä", "a" * 97, ""):
        answer = get_session().post(f"{hub.url}/api/repos/create", json={"name": name}, headers=headers)
        assert answer.status_code == 400, name
    with pytest.raises(BadRequestError, match="A Space needs an sdk"):
        hf_raise_for_status(
            get_session().post(f"{hub.url}/api/repos/create", json={"name": "app", "type": "space"}, headers=headers)
        )


def test_requests_that_would_leave_loopback_are_refused_and_logged(hub):
    assert get_session().get("http://elsewhere.invalid/path").status_code == 403
    assert [(record.host, record.path) for record in hub.strangers] == [("elsewhere.invalid", "/path")]


def test_a_route_that_is_not_served_says_so(hub):
    answer = get_session().get(f"{hub.url}/api/collections")
    assert (answer.status_code, "does not know GET /api/collections" in answer.text) == (501, True)


# Faults


@pytest.mark.parametrize("status", [401, 403, 409, 429, 500, 503])
def test_an_ordered_status_reaches_the_client_as_often_as_ordered(hub, api, status):
    fault = hub.faults.add(status=status, match="/me/set$", times=2, skip=1, retry_after=7)
    api.dataset_info("me/set")
    for _ in range(2):
        with pytest.raises(HfHubHTTPError) as error:
            api.dataset_info("me/set")
        assert error.value.response.status_code == status
        assert error.value.response.headers["Retry-After"] == "7"
    assert api.dataset_info("me/set").id == "me/set"
    assert fault.fired == 2
    assert [record.fault for record in hub.sent(match="/me/set")] == ["", str(status), str(status), ""]


def test_a_failed_upload_to_the_storage_is_tried_again(hub, api, repo):
    hub.faults.add(status=503, method="PUT")
    upload(api, "a.parquet", LARGE)
    assert repo.read("a.parquet") == LARGE
    assert [record.status for record in hub.sent("PUT")] == [503, 200]


def test_an_upload_that_breaks_off_has_sent_a_part_and_is_tried_again(hub, api, repo):
    hub.faults.add(broken="upload", method="PUT")
    upload(api, "a.parquet", LARGE)
    broken, whole = hub.sent("PUT")
    assert (broken.status, broken.bytes_received, broken.fault) == (None, len(LARGE) // 2, "upload")
    assert (whole.status, whole.bytes_received) == (200, len(LARGE))
    assert repo.read("a.parquet") == LARGE


def test_a_download_that_breaks_off_is_noticed(hub, api):
    upload(api, "a.txt", b"0123456789")
    hub.faults.add(broken="download", method="GET", match="/resolve/")
    # In the words of requests and of httpx.
    with pytest.raises(Exception, match=r"IncompleteRead|without sending complete message body"):
        get_session().get(hf_hub_url(filename="a.txt", **SET))
    assert [(record.status, record.bytes_sent) for record in hub.sent("GET", "/resolve/")] == [(200, 5)]
    assert download("a.txt") == b"0123456789"


def test_a_lost_answer_hides_a_commit_that_was_made(hub, api, repo):
    hub.faults.add(broken="answer", match="/commit/")
    with pytest.raises(Exception, match="without"):
        upload(api, "a.txt", b"text")
    assert repo.read("a.txt") == b"text"
    upload(api, "a.txt", b"text")
    assert len(repo.history()) == 2


def test_an_error_after_the_commit_hides_it_too(hub, api, repo):
    hub.faults.add(status=500, after=True, match="/commit/")
    with pytest.raises(HfHubHTTPError, match="a fault that the test ordered: 500 after"):
        upload(api, "a.txt", b"text")
    assert repo.read("a.txt") == b"text"
    assert hub.requests[-1].fault == "500 after"


def test_a_commit_with_an_error_before_it_is_not_made(hub, api, repo):
    hub.faults.add(status=500, match="/commit/")
    with pytest.raises(HfHubHTTPError):
        upload(api, "a.txt", b"text")
    assert set(repo.tree) == {".gitattributes"}


@pytest.mark.parametrize("order", [{"delay_s": 0.5}, {"body_delay_s": 0.5}])
def test_a_slow_answer_is_slow_and_whole(hub, api, order):
    upload(api, "a.txt", b"0123456789")
    hub.faults.add(method="GET", match="/resolve/", **order)
    start = time.monotonic()
    assert download("a.txt") == b"0123456789"
    assert time.monotonic() - start > 0.5
    assert hub.requests[-1].fault == "slow"


def test_random_faults_strike_the_same_requests_in_every_run():
    def struck(seed: int, order: list[int]) -> list[int]:
        faults = Faults()
        faults.add(status=500, rate=0.3, seed=seed)
        return sorted(number for number in order if faults.strike("GET", f"/{number}"))

    numbers = list(range(400))
    # Two standard deviations of a draw of 400 at 0.3 are 18.
    assert abs(len(struck(0, numbers)) - 120) <= 18
    assert struck(0, numbers) == struck(0, numbers[::-1])
    assert struck(0, numbers) != struck(1, numbers)


def test_random_faults_reach_the_client(hub, api):
    hub.faults.add(status=503, rate=0.5, seed=0)
    seen = [get_session().get(f"{hub.url}/api/datasets/me/set").status_code for _ in range(20)]
    assert set(seen) == {200, 503}
    hub.faults.clear()
    assert api.repo_info(**SET).id == "me/set"


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({}, "does nothing"),
        ({"broken": "half"}, "upload, download, answer"),
        ({"broken": "answer", "status": 500}, "has no status"),
        ({"after": True, "delay_s": 1}, "after goes with status"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(order, message):
    with pytest.raises(ValueError, match=message):
        Faults().add(**order)


# The server as a process


def test_the_server_runs_as_a_script(hub, tmp_path):
    command = [sys.executable, "-m", "loopback", "--token", "T=you:read"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            url, token = process.stdout.readline().split()
            assert HfApi(endpoint=url, token="T").whoami()["auth"]["accessToken"]["role"] == "read"
            assert HfApi(endpoint=url, token=token).create_repo("me/set").repo_id == "me/set"
        finally:
            process.terminate()
        assert process.wait(timeout=10) == 0
    assert hub.requests == []


def test_one_commit_may_add_and_delete(api, repo):
    upload(api, "old.txt", b"old")
    operations = [CommitOperationAdd("new.txt", b"new"), CommitOperationDelete("old.txt")]
    api.create_commit(operations=operations, commit_message="Replace", **SET)
    assert set(repo.tree) == {".gitattributes", "new.txt"}
    assert len(repo.history()) == 3
