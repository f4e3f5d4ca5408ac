"""`smi-hf push`, as a user meets it."""


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
