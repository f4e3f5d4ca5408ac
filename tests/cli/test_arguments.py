"""Options from a file and from the command line, and what a wrong file is told."""

import re

import pytest

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.help_text import asks_for_short_help, shown_actions
from smi_hf.cli.main import COMMANDS


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
    assert "invalid choice: 'calibrat' (did you mean 'calibrate'?); choose from calibrate, default, best," in err


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


def test_a_mistyped_recipe_is_told_the_one_beside_it(smi, tmp_path):
    (tmp_path / "recipe.yaml").touch()
    err = smi("invert", "--config", tmp_path / "recip.yaml").err
    assert f"No such file or directory (did you mean '{tmp_path / 'recipe.yaml'}'?)" in err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_options_that_matter_exist_and_each_stands_in_help_once(command, parser_of):
    parser = parser_of(command)
    actions = {action.dest: action for action in shown_actions(parser)}
    main = [name for names in parser.main_options.values() for name in names]
    assert len(set(main)) == len(main)
    assert set(main) <= actions.keys()
    assert 1 <= len(main) <= 15
    text = parser.format_full_help()
    for name, action in actions.items():
        option = action.option_strings[-1] if action.option_strings else name.upper()
        assert len(re.findall(rf"^  (?:-h, )?{re.escape(option)}(?= |$)", text, flags=re.MULTILINE)) == 1, option
        assert "-" not in option.removeprefix("--") or name == "help_all"


def test_the_other_spelling_of_an_option_is_taken_though_it_is_not_shown():
    from smi_hf.cli.distill_options import StudentArguments

    parser = ArgumentParser(StudentArguments)
    (student,) = parser.parse(["--student", "x", "--from-scratch", "--no-replace-head", "--student-revision=y"])
    assert (student.from_scratch, student.replace_head, student.student_revision) == (True, False, "y")
    assert "--from-scratch" not in parser.format_full_help()


def test_help_all_shows_what_help_leaves_out(capsys):
    from smi_hf.cli.prune import make_parser

    for option in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as exit:
            make_parser().parse([option])
        assert exit.value.code == 0
    short, full = make_parser().format_help(), make_parser().format_full_help()
    assert capsys.readouterr().out == short + full
    assert "--ridge" in full and "--ridge" not in short
    assert "\nsettings of prune:\n" in full


def test_help_is_asked_for_by_its_own_name_alone():
    assert asks_for_short_help(["--teacher", "x", "-h"]) and asks_for_short_help(["--help"])
    assert not asks_for_short_help(["--help-all"]) and not asks_for_short_help([])
