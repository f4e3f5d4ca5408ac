import shlex
from dataclasses import replace

import pytest

from smi_hf.reports.commands import after_dataset, after_model, broken, invert_command, model_commands


def test_the_command_of_a_dataset_makes_a_run_of_the_same_settings(images_subject, parse_command):
    record = images_subject.record
    _, config = parse_command(shlex.join(invert_command(record, "set")))
    wanted = {name: value for name, value in record.settings.items() if name in config.image_settings()}
    assert config.image_settings() == wanted
    assert config.output_dir == "set"


@pytest.mark.parametrize("changes", [{"policy": "dense"}, {"num_steps": 0}, {"start": "pink"}], ids=str)
def test_settings_that_decide_nothing_are_left_out(images_subject, parse_command, changes):
    from smi_hf import SparseInversionConfig

    settings = SparseInversionConfig(**changes).image_settings() | {"mixed_precision": "no"}
    command = invert_command(replace(images_subject.record, settings=settings), "set")
    _, config = parse_command(shlex.join(command))
    assert config.image_settings() == settings


def test_the_commands_of_a_chain_are_those_of_its_steps(chain_record, parse_command):
    prune, distill, quantize = model_commands(chain_record, "int8")
    parsed = [parse_command(shlex.join(command)) for command in (prune, distill, quantize)]
    assert [each[-1].output_dir for each in parsed] == ["pruned", "recovered", "int8"]
    model, data, judge, config = parsed[0]
    assert (model.model_name_or_path, data.dataset, judge.eval_dataset) == ("tiny-vit", ["set"], "photographs.parquet")
    assert (config.keep_mlp, config.layers, data.controls) == (0.5, [0, 1], ["gaussian", "real=a"])
    source, learner, *_, config = parsed[1]
    assert (source.teacher, learner.student, config.augmentations) == ("tiny-vit", "pruned", [])
    model, *_, config = parsed[2]
    assert model.model_name_or_path == "recovered"
    assert config.model_settings().items() <= chain_record.settings.items()


def test_what_comes_next_are_commands(images_subject, quantized_record, chain_record, parse_command):
    pruned = replace(quantized_record, kind="pruned", settings=chain_record.history[0].settings)
    unjudged = replace(quantized_record, rows=(), measured=None)
    following = [*after_dataset(images_subject.record, "set"), *after_model(pruned, "p"), *after_model(unjudged, "q")]
    for words, command in following:
        assert words
        if command[1] != "push":
            parse_command(shlex.join(command))
    assert [command[1] for _, command in following].count("push") == 3


def test_a_command_is_broken_before_its_options():
    text = broken(["smi-hf", "invert", "--classes", "a b", "c", "--seed", "0"])
    assert text == "smi-hf invert \\\n  --classes 'a b' c \\\n  --seed 0"
    assert shlex.split(text.replace("\\\n", "")) == ["smi-hf", "invert", "--classes", "a b", "c", "--seed", "0"]
