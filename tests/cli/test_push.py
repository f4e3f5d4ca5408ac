"""`smi-hf push`, as a user meets it."""

import pytest

from smi_hf import UsageError
from smi_hf.cli.push import PushArguments


def test_the_command_pushes_and_prints_the_address(hub, run_command, sparse_folder):
    done = run_command("smi-hf", "push", sparse_folder, "me/set", "--private", env=hub.environment)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert said.startswith("made dataset me/set on the Hub quality the teacher sees the target label in")
    assert f"where {hub.url}/datasets/me/set/commit/" in said and "--dataset me/set" in said
    assert hub.repo("datasets", "me/set").private


def test_quietly_it_prints_the_address_alone(hub, run_command, sparse_folder):
    done = run_command("smi-hf", "push", sparse_folder, "me/other", "--quiet", env=hub.environment)
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{hub.url}/datasets/me/other/commit/") and done.stderr == ""


def test_a_space_is_pushed_along_and_its_address_printed(hub, run_command, sparse_folder):
    done = run_command("smi-hf", "push", sparse_folder, "me/set", "--space", "me/demo", env=hub.environment)
    assert done.returncode == 0, done.stderr
    assert f"{hub.url}/datasets/me/set/commit/" in done.stdout and f"{hub.url}/spaces/me/demo/commit/" in done.stdout
    assert "app.py" in hub.repo("spaces", "me/demo").tree


def test_a_dry_run_writes_what_would_be_published_and_needs_no_hub(run_command, sparse_folder, tmp_path):
    words = ["smi-hf", "push", sparse_folder, "me/set", "--space", "me/demo", "--dry_run", tmp_path / "look"]
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    places = [tmp_path / "look" / "datasets" / "me" / "set", tmp_path / "look" / "spaces" / "me" / "demo"]
    assert all(str(place) in done.stdout and (place / "README.md").is_file() for place in places)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space_dataset": "me/set"}, "space_dataset is 'me/set', but there is no Space: give --space, too"),
        ({"space": "me/demo", "create_pr": True}, "a Space cannot show what a pull request would bring"),
        ({"dry_run": "look", "private": True}, "dry_run publishes nothing, so create_pr and private say nothing"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        PushArguments(**options)
