"""`smi-hf push`, as a user meets it."""


def test_the_command_pushes_and_prints_the_address(hub, run_command, sparse_folder):
    done = run_command("smi-hf", "push", sparse_folder, "me/set", "--private", env=hub.environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(f"{hub.url}/datasets/me/set/commit/")
    assert hub.repo("datasets", "me/set").private
