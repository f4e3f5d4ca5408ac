"""Which of Trainer's own settings are refused, and what is settled by student and judge."""

import math
from dataclasses import fields

import pytest

from smi_hf import UsageError
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.trainer_settings import _RANGES, _REFUSED, _REFUSED_VALUES

KNOWN = {field.name: field for field in fields(SparseDistillationConfig)}
WITHOUT_EFFECT = {
    "label_smoothing_factor": 0.1,
    "group_by_length": True,
    "include_num_input_tokens_seen": True,
    "neftune_noise_alpha": 0.1,
    "use_liger_kernel": True,
    "batch_eval_metrics": True,
    "eval_do_concat_batches": False,
    "include_for_metrics": ["inputs"],
    "include_inputs_for_metrics": True,
    "label_names": ["labels"],
    "prediction_loss_only": True,
    "do_predict": True,
    "save_safetensors": False,
    "hub_always_push": True,
    "train_sampling_strategy": "group_by_length",
    "hub_strategy": "checkpoint",
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, value in WITHOUT_EFFECT.items() if name in KNOWN]
)  # fmt: skip
def test_a_setting_that_would_be_ignored_is_refused(name, value, make_args):
    with pytest.raises(UsageError, match=f"{name}.* has no effect in a distillation: .*; leave it out"):
        make_args(**{name: value})


def test_every_setting_that_is_refused_or_has_a_range_exists_in_one_transformers_or_the_other():
    of_4 = {"group_by_length", "include_inputs_for_metrics", "include_tokens_per_second", "past_index", "warmup_ratio"}
    of_5 = {"train_sampling_strategy"}
    named = {*_REFUSED_VALUES, *(name for names in _REFUSED.values() for name in names)}
    named |= {name for _, _, names in _RANGES for name in names}
    assert named - set(KNOWN) <= of_4 | of_5 | {"save_safetensors"}


NUMBERS = [name for _, _, names in _RANGES for name in names if name in KNOWN]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -7], ids=str)
@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_out_of_range_is_one_sentence(name, value, make_args):
    with pytest.raises(UsageError, match=f"{name} must be .*, but {value} was given") as error:
        make_args(**{name: value})
    assert "\n" not in str(error.value)


def test_every_numeric_option_has_a_range_or_a_reason_to_have_none():
    numeric = {field.name for field in KNOWN.values() if field.type in (int, float, int | None, float | None)}
    # Numbers of other kinds: ranks, or refused unless they are the default.
    others = {"local_rank", "_n_gpu", "past_index", "label_smoothing_factor", "neftune_noise_alpha"}
    others |= {"ddp_bucket_cap_mb", "tpu_num_cores", "fsdp_min_num_params", "per_gpu_train_batch_size"}
    others |= {"per_gpu_eval_batch_size"}
    assert numeric - set(NUMBERS) <= others


@pytest.mark.parametrize("name", ["learning_rate", "num_train_epochs", "per_device_train_batch_size", "temperature"])
def test_zero_is_refused_where_nothing_would_be_learned(name, make_args):
    with pytest.raises(UsageError, match=f"{name} must be .*, but 0 was given"):
        make_args(**{name: 0})


# What student and judge settle

BEST = {"eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}


def test_the_best_student_is_that_of_the_best_accuracy_or_else_agreement(
    make_trainer, real_images, image_processor
):  # fmt: skip
    judged = make_trainer(eval_dataset=real_images, image_processor=image_processor, num_train_epochs=3, **BEST)
    judged.train()
    tops = [entry["eval_top1"] for entry in judged.state.log_history if "eval_top1" in entry]
    assert (judged.args.metric_for_best_model, judged.args.greater_is_better) == ("top1", True)
    assert judged.state.best_metric == max(tops) == judged.evaluate()["eval_top1"]
    assert make_trainer(**BEST).args.metric_for_best_model == "agreement"
    loss = make_trainer(metric_for_best_model="eval_loss", **BEST).args
    assert (loss.metric_for_best_model, loss.greater_is_better) == ("eval_loss", False)


def test_a_figure_that_the_judge_does_not_give_is_refused_before_anything_is_taught(
    make_trainer, real_images, image_processor
):
    for name in ("loss", "top2"):
        with pytest.raises(UsageError, match=f"is '{name}'.* judge this student by top1 and top5"):
            make_trainer(eval_dataset=real_images, image_processor=image_processor, metric_for_best_model=name, **BEST)
    with pytest.raises(UsageError, match=r"is 'agrement' \(did you mean 'agreement'\?\)"):
        make_trainer(metric_for_best_model="agrement", **BEST)


def test_an_optimizer_that_is_not_installed_is_refused(make_trainer):
    with pytest.raises(UsageError, match=r"optim 'adamw_8bit' cannot be used: .*bitsandbytes"):
        make_trainer(optim="adamw_8bit")


def test_a_plateau_is_one_of_the_figure_that_judges(make_trainer, real_images, image_processor):
    trainer = make_trainer(
        eval_dataset=real_images, image_processor=image_processor, lr_scheduler_type="reduce_lr_on_plateau",
        eval_strategy="epoch",
    )  # fmt: skip
    trainer.train()
    assert trainer.args.metric_for_best_model == "top1"
