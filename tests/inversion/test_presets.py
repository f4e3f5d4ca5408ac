"""Presets: options that exist, settings that are accepted, and the same in Python and on the command line."""

import pytest

from smi_hf import SparseInversionConfig
from smi_hf.errors import UsageError
from smi_hf.inversion.presets import PRESETS, preset_options


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_the_same_in_python_and_on_the_command_line(name):
    from smi_hf.cli.invert import make_parser

    _, parsed = make_parser().parse(["--model_name_or_path", "m", "--preset", name])
    config = SparseInversionConfig.from_preset(name)
    assert parsed == config
    assert config != SparseInversionConfig()


def test_without_a_preset_it_is_the_papers_method():
    config = SparseInversionConfig()
    assert (config.start, config.move, config.policy, config.learning_rate) == ("noise", "pixels", "smi", 0.25)
    assert config.prune_schedule.steps == (50, 100, 200, 300)


def test_what_is_given_wins_over_a_preset():
    config = SparseInversionConfig.from_preset("calibrate", num_images=3)
    assert config.num_images == 3
    assert config.num_steps == preset_options("calibrate")["num_steps"] != SparseInversionConfig().num_steps


def test_a_wrong_preset_is_told_the_right_ones():
    with pytest.raises(UsageError, match=r"no preset 'calibrat' \(did you mean 'calibrate'\?\); available: "):
        SparseInversionConfig.from_preset("calibrat")


def test_help_says_what_a_preset_sets(capsys):
    from smi_hf.cli.invert import make_parser

    with pytest.raises(SystemExit):
        make_parser().parse(["--help-all"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, preset in PRESETS.items():
        assert f" {name} {preset.purpose}" in shown


@pytest.mark.parametrize("policy", ["dense", "pri"])
def test_a_policy_that_has_no_schedule_takes_none_from_a_preset(policy):
    from smi_hf.cli.invert import make_parser

    config = SparseInversionConfig.from_preset("calibrate", policy=policy)
    assert config.prune_steps is None and config.num_steps == preset_options("calibrate")["num_steps"]
    for words in (["--policy", policy], [f"--policy={policy}"]):
        _, parsed = make_parser().parse(["--model_name_or_path", "m", "--preset", "calibrate", *words])
        assert parsed == config
