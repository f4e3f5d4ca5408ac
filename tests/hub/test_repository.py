"""Repositories on the Hub: found, made and written to; driven over HTTP against a Hub on loopback."""

import pytest
from huggingface_hub import HfApi

from smi_hf import RunError, UsageError
from smi_hf.data.schema import RECORD_FILE
from smi_hf.hub import push, save_model_record
from smi_hf.hub.publish import DATASET, open_for


def commits(hub, repo_id: str = "me/set", kind: str = "datasets") -> int:
    """Beside the first, which makes the repository."""
    return len(hub.repo(kind, repo_id).commits) - 1


def test_a_branch_is_made_and_main_left_alone(hub, folder):
    push(folder, "me/set", revision="v2")
    assert hub.repo("datasets", "me/set").refs.keys() == {"refs/heads/main", "refs/heads/v2"}
    assert RECORD_FILE in HfApi().list_repo_files("me/set", repo_type="dataset", revision="v2")
    assert HfApi().list_repo_files("me/set", repo_type="dataset") == [".gitattributes"]


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


def test_offline_is_said_at_once(folder):
    # The test suite runs with HF_HUB_OFFLINE=1.
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set; unset it"):
        push(folder, "me/set")


def test_opening_a_repository_looks_and_leaves_it_alone(hub):
    open_for(DATASET, "me/set")
    assert commits(hub) == 0 and not hub.sent("PUT")


def test_a_hub_that_cannot_be_reached_is_said_in_one_plain_sentence(hub, folder):
    hub.faults.add(broken="answer", match="whoami", times=100)
    with pytest.raises(RunError, match=r"whose token it is, in 6 attempts \(no connection, \w+\)\. What was there"):
        push(folder, "me/set")


def test_a_lost_answer_to_a_pull_request_is_told_as_it_is(hub, model_folder, model_record):
    push(model_folder, "me/student")
    save_model_record(model_record, model_folder)
    fault = hub.faults.add(broken="answer", method="POST", match="/commit/", times=100)
    with pytest.raises(
        RunError,
        match=r"the files, in 1 attempt \(no connection, \w+\)\. It may have been done all the",
    ):
        push(model_folder, "me/student", create_pr=True)
    assert fault.fired == 1


def test_a_refused_pull_request_was_not_opened_and_the_attempts_are_counted(hub, model_folder, model_record):
    push(model_folder, "me/student")
    save_model_record(model_record, model_folder)
    hub.faults.add(status=429, retry_after=0, match="/commit/", times=100)
    with pytest.raises(RunError, match=r"in 6 attempts .*\. What was there before is still there; the same push"):
        push(model_folder, "me/student", create_pr=True)
