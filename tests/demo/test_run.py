"""`smi-hf demo --with_hub`: everything that the demonstration makes is published, on this machine alone."""

from smi_hf.environment import missing_packages

SMALL = ["--num_images", "4", "--num_steps", "4", "--num_distillation_images", "4", "--num_epochs", "1"]


def test_the_demonstration_publishes_what_it_made_and_loads_it_back(hub, run_command, tmp_path):
    done = run_command("smi-hf", "demo", *SMALL, "--output_dir", tmp_path, "--with_hub", env=hub.environment)
    assert done.returncode == 0, done.stderr
    expected = {("dataset", "me/digits-smi"), ("dataset", "me/digits-dense")}
    if not missing_packages("onnx"):
        expected.add(("model", "me/digits-int8"))
    if not missing_packages("plots"):
        expected.add(("model", "me/digits-student"))
    assert set(hub.state.repositories) == expected
    assert "load_dataset('me/digits-smi') gives the same 4 rows" in done.stdout
    assert not hub.strangers
