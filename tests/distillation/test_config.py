"""Settings of a distillation: defaults, names, and values that do not fit each other."""

from dataclasses import fields

import pytest
from transformers import TrainingArguments

from smi_hf import UsageError
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.presets import DEFAULTS


def test_all_weights_of_further_losses_may_be_0(make_args):
    args = make_args(hard_label_weight=0.0, feature_weight=0.0, hidden_state_weight=0.0, attention_weight=0.0)
    assert args.token_losses == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eval_strategy": "sometimes"}, "a setting of TrainingArguments does not fit: .*sometimes"),
        ({"fp16": True, "bf16": True}, "a setting of TrainingArguments does not fit: "),
        ({"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "steps"}, "does not fit: "),
        ({"report_to": "tensorbord"}, "report_to 'tensorbord' is no tracker"),
        ({"report_to": ["none", "x"]}, "report_to 'x' is no tracker"),
        ({"control_seeds": []}, "control_seeds is empty"),
        ({"control_seeds": [0, -1]}, "control_seeds must be from 0"),
        ({"learning_rate": "much"}, "learning_rate must be above 0, but much was given"),
    ],
)
def test_what_transformers_refuses_is_one_sentence(changes, message, make_args):
    with pytest.raises(UsageError, match=message) as error:
        make_args(**changes)
    assert "\n" not in str(error.value)


def test_a_tracker_that_is_not_installed_is_refused(make_args, monkeypatch):
    monkeypatch.setattr("transformers.integrations.get_available_reporting_integrations", list)
    with pytest.raises(UsageError, match="report_to 'tensorboard' needs a package that is not installed"):
        make_args(report_to="tensorboard")


def test_defaults_are_those_of_transformers_except_where_said():
    ours = {field.name: field.default for field in fields(SparseDistillationConfig)}
    theirs = {field.name: field.default for field in fields(TrainingArguments)}
    changed = {name for name, value in theirs.items() if ours[name] != value and ours[name] is not value}
    # Early stopping fills these in; without it they are filled in as transformers has them.
    left_open = {"eval_strategy", "save_strategy", "save_steps", "load_best_model_at_end"}
    assert changed - {"overwrite_output_dir"} <= {"remove_unused_columns", "report_to", *left_open, *DEFAULTS}
    settled = SparseDistillationConfig()
    assert {name: getattr(settled, name) for name in left_open} == {name: theirs[name] for name in left_open}
    of_trainer = {name: value for name, value in DEFAULTS.items() if name in theirs and name != "learning_rate"}
    assert of_trainer == {name: theirs[name] for name in of_trainer}


def test_dropping_columns_is_refused(make_args):
    with pytest.raises(UsageError, match="remove_unused_columns must be false: the kept patches would be dropped"):
        make_args(remove_unused_columns=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "heads"}, "there is no preset 'heads'.*did you mean 'head'.*available: auto, "),
        ({"preset": "recover", "freeze_backbone": True}, "preset recover teaches the backbone, but freeze_backbone"),
        ({"loss": "klr"}, "there is no loss 'klr'.*did you mean 'kl'.*available: jsd, kl, mse"),
        ({"augmentations": ["flop"]}, "there is no augmentation 'flop'.*did you mean 'flip'"),
        ({"temperature": 0.0}, "temperature must be above 0 and at most 10000, but 0.0 was given"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"hard_label_weight": -1.0}, "hard_label_weight must be at least 0, but -1.0 was given"),
        ({"num_views": -2}, "num_views must be from 0 to 100000, but -2 was given"),
        ({"held_out": 1.0}, "held_out must be above 0 and below 1, but 1.0 was given"),
        ({"num_views": 8, "augmentations": ["none"]}, "num_views is 8, but without augmentations all views are alike"),
        ({"augmentations": ["flip", "none"]}, "'none' stands alone"),
    ],
)
def test_a_wrong_setting_is_refused(changes, message, make_args):
    with pytest.raises(UsageError, match=message):
        make_args(**changes)
