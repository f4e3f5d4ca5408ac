import json
import sys
import time

import pytest

from smi_hf.cli.main import COMMANDS, main


@pytest.fixture
def smi(capsys):
    """Runs `smi-hf` in this process: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit:
            code = exit.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


QUICK = ("--num_images", "2", "--num_steps", "4", "--disable_tqdm")


def test_invert_writes_a_dataset_and_says_where(smi, tiny_checkpoint, tmp_path):
    code, out, _ = smi("invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *QUICK)
    assert code == 0
    assert "2 images in" in out and "preview.png" in out
    assert (tmp_path / "out" / "smi.json").is_file()


def test_a_users_mistake_is_one_message_and_exit_code_2(smi, tiny_checkpoint, tmp_path):
    mistakes = {
        ("--prune_ratios", "1.5"): "prune ratio 1.5 is outside [0, 1)",
        ("--classes", "zebra"): "class 'zebra' does not exist",
        ("--policy", "smj"): "invalid choice: 'smj'",
        ("--num_image", "3"): "unrecognized arguments: --num_image 3 (did you mean '--num_images'?)",
        ("--num_steps", "many"): "argument --num_steps/--num-steps: invalid int value: 'many'",
        ("--prune_steps", "1", "--prune_ratios", "0.99"): "prune_ratios (0.99,) leave 16 -> 0 of 16 patches",
    }
    for options, message in mistakes.items():
        code, out, err = smi(
            "invert", "--model_name_or_path", tiny_checkpoint, "--output_dir", tmp_path / "out", *QUICK, *options
        )
        assert (code, out) == (2, ""), (options, out, err)
        assert message in err
        assert "Traceback" not in err
        assert not (tmp_path / "out").exists()


def test_a_failure_is_one_message_and_exit_code_1(smi, tiny_checkpoint, tmp_path):
    # Finite itself, but not times a total variation of hundreds.
    options = ("--output_dir", tmp_path / "out", "--tv_weight", "1e38")
    code, _, err = smi("invert", "--model_name_or_path", tiny_checkpoint, *options, *QUICK)
    assert code == 1
    assert "the loss became non-finite at step 1 for images 0, 1" in err
    assert "Traceback" not in err


def test_a_yaml_value_is_a_default_and_the_command_line_wins(tmp_path, tiny_checkpoint):
    from smi_hf.cli.invert import make_parser

    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"model_name_or_path: {tiny_checkpoint}\nlearning_rate: 1e-1\ntv_weight: 1e-4\nnum_steps: 20\n"
        "prune_steps: [5, 10]\nclasses: [no, 1]\ncompile: true\nrevision: null\nmixed_precision: no\n"
    )
    _, config = make_parser().parse(["--config", str(file), "--num_steps", "30", "--prune_steps", "7"])
    assert config.learning_rate == 0.1
    assert config.tv_weight == 1e-4
    assert config.num_steps == 30
    assert config.prune_steps == [7]
    assert config.classes == ["no", "1"]  # the label "no", not False
    assert config.compile is True
    assert config.mixed_precision == "no"


def test_a_preset_gives_way_to_a_recipe_and_to_the_command_line(tmp_path, tiny_checkpoint, smi):
    from smi_hf.cli.invert import make_parser

    file = tmp_path / "recipe.yaml"
    file.write_text(f"model_name_or_path: {tiny_checkpoint}\nnum_images: 8\n")
    _, preset = make_parser().parse(["--model_name_or_path", "m", "--preset", "calibrate"])
    _, config = make_parser().parse(["--preset", "calibrate", "--config", str(file), "--batch_size", "4"])
    assert (preset.num_images, preset.num_steps) == (32, config.num_steps)
    assert (config.num_images, config.batch_size) == (8, 4)
    code, _, err = smi("invert", "--model_name_or_path", "m", "--preset", "calibrat")
    assert code == 2
    assert "invalid choice: 'calibrat'" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_step: 3", "has an unknown option 'num_step' (did you mean 'num_steps'?)"),
        ("num_steps: {a: 1}", "num_steps must be one value or a list of values"),
        ("- num_steps", "must hold one 'option: value' a line"),
        ("num_steps: [", "is not valid YAML"),
        ("num_steps: many", "invalid int value: 'many' (options came from "),
    ],
)
def test_a_wrong_recipe_is_an_error_that_names_the_file(smi, tmp_path, tiny_checkpoint, text, message):
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    code, _, err = smi("invert", "--model_name_or_path", tiny_checkpoint, "--config", file)
    assert code == 2
    assert message in err
    assert str(file) in err


def test_a_missing_recipe_is_an_error(smi, tmp_path):
    code, _, err = smi("invert", "--config", tmp_path / "none.yaml")
    assert code == 2
    assert "cannot be read: No such file or directory" in err


def test_an_unknown_command_suggests_the_nearest(smi):
    code, _, err = smi("inver")
    assert code == 2
    assert "there is no command 'inver' (did you mean 'invert'?)" in err


def test_no_command_shows_the_overview(smi):
    code, out, _ = smi()
    assert code == 2
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize("command", [(), *((command,) for command in COMMANDS)])
def test_help_answers_in_under_two_seconds_and_describes_every_option(run_command, command):
    started = time.perf_counter()
    answer = run_command(sys.executable, "-m", "smi_hf.cli.main", *command, "--help")
    # distill lists every option of transformers.TrainingArguments, which cannot be had without torch.
    assert time.perf_counter() - started < (8 if command == ("distill",) else 2)
    assert answer.returncode == 0
    assert "usage: smi-hf" in answer.stdout
    if command == ("invert",):
        for option in ("--prune_steps", "--tv_weight", "--classes", "--overwrite_output_dir", "--report_to"):
            assert option in answer.stdout
        assert "%" not in answer.stdout.replace("100 %", "")  # no placeholder left


def test_importing_the_package_loads_nothing_heavy(run_command):
    code = "import sys, smi_hf; print(sorted({'torch', 'transformers', 'datasets', 'numpy'} & set(sys.modules)))"
    assert run_command(sys.executable, "-c", code).stdout == "[]\n"


def test_doctor_reports_lane_versions_and_extras_as_json(smi):
    code, out, _ = smi("doctor", "--json")
    findings = json.loads(out)
    assert code == 0
    assert findings["lane"] in ("full", "latest")
    assert findings["packages"]["torch"]
    assert findings["checks"]["extra quanto"]["works"]
    assert findings["checks"]["extra onnx"]["works"] == (findings["lane"] == "full")
    assert "vit" in findings["model_families"]


def test_doctor_names_the_lane_or_the_pip_command_of_what_is_missing(monkeypatch):
    from smi_hf.cli import doctor

    monkeypatch.setattr(doctor, "missing_packages", lambda extra: ["something"])
    works, note = doctor._extra("onnx", "latest")
    assert not works
    assert "needs the full lane (transformers 4.57), this is latest" in note
    works, note = doctor._extra("plots", "latest")
    assert not works
    assert 'pip install "smi-hf[plots]" (lacks something)' in note


def test_doctor_is_readable(smi):
    code, out, _ = smi("doctor")
    assert code == 0
    assert "Lane:" in out and "extra quanto" in out
