"""`smi-hf prune` in this process."""

from smi_hf.evaluation.record import ModelRecord


def test_it_says_what_was_made_and_what_can_be_done_next(tiny_checkpoint, sparse_folder, photographs, smi, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "small"]
    answer = smi("prune", *given, "--eval_dataset", photographs, "--controls", "gaussian", "--disable_tqdm")
    assert answer.code == 0
    for words in ("pruned, judged on 20 images", "(whole model)", "inverted, kept patches", "Gaussian noise"):
        assert words in answer.out
    assert "50 % of the MLPs' hidden units" in answer.out and "M parameters" in answer.out
    commands = [line.strip() for line in answer.out.splitlines() if line.startswith("  smi-hf ")]
    assert [command.split()[1] for command in commands] == ["distill", "quantize", "push"]
    record = ModelRecord.load(tmp_path / "small")
    assert (record.kind, record.datasets[0].is_from_teacher) == ("pruned", True)


def test_the_commands_that_it_names_work(tiny_checkpoint, sparse_folder, smi, tmp_path):
    import shlex

    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "small"]
    answer = smi("prune", *given, "--disable_tqdm", "--other_teacher", "true")
    commands = [line.removeprefix("  smi-hf ") for line in answer.out.splitlines() if line.startswith("  smi-hf ")]
    quick = {
        "distill": ["--num_train_epochs", "1", "--report_to", "none", "--disable_tqdm", "true"],
        "quantize": ["--backend", "simulated", "--dataset", str(sparse_folder), "--other_teacher", "true"],
    }
    assert "--other_teacher true" in commands[0]
    for command in map(shlex.split, commands[:2]):
        assert smi(*command, *quick[command[0]]).code == 0, command
    recovered = ModelRecord.load(tmp_path / "small-recovered")
    assert (recovered.kind, recovered.student.name) == ("distilled", "small")
    assert ModelRecord.load(tmp_path / "small-int8").teacher.name == "small"


def test_a_budget_chooses_the_width_and_the_command_says_so(tiny_checkpoint, sparse_folder, smi, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "small"]
    answer = smi("prune", *given, "--max_parameters", "0.0125", "--num_epochs", "0", "--disable_tqdm")
    assert answer.code == 0
    settings = ModelRecord.load(tmp_path / "small").settings
    assert settings["max_parameters"] == 0.0125 and settings["parameters"] <= 12_500
    share = settings["keep_mlp"]
    assert f"max_parameters is 0.0125: {48 * share:.0f} of 48 hidden units of each MLP stay" in answer.err
    assert f"{100 * share:g} % of the MLPs' hidden units" in answer.out


def test_a_mistake_is_one_sentence_and_writes_nothing(tiny_checkpoint, sparse_folder, smi, tmp_path):
    given = ["--model_name_or_path", tiny_checkpoint, "--dataset", sparse_folder, "--output_dir", tmp_path / "small"]
    for mistake, message in (
        (["--keep_mlp", "0"], "keep_mlp must be above 0 and at most 1"),
        (["--max_parameters", "1e-6"], "give at least that, or leave fewer layers (--num_layers)"),
        (["--max_gmacs", "5"], "which the whole model meets"),
        (["--max_ms", "9", "--keep_mlp", "0.5"], "keep_mlp says how many hidden units stay, but max_ms chooses it"),
        (["--num_layers", "99"], "num_layers is 99, but the model has"),
        (["--controls", "gaussian"], "give --eval_dataset as well"),
    ):
        answer = smi("prune", *given, *mistake)
        assert (answer.code, message in answer.sentence) == (2, True), answer
    assert list(tmp_path.iterdir()) == []
