import pytest

from smi_hf import SparseInversionConfig, UsageError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prune_ratios": [1.0]}, r"prune ratio 1.0 is outside \[0, 1\)"),
        ({"prune_ratios": [-0.1]}, r"prune ratio -0.1 is outside \[0, 1\)"),
        ({"prune_steps": [100, 50]}, r"prune_steps must be positive and increase, but \(100, 50\)"),
        ({"prune_steps": [50, 50]}, "prune_steps must be positive and increase"),
        ({"prune_steps": [0, 50]}, "prune_steps must be positive and increase"),
        ({"prune_steps": [50, 400]}, "prune step 400 is not before the last of 400 steps"),
        ({"prune_steps": [50], "prune_ratios": [0.3, 0.3]}, "prune_ratios has 2 values .* but prune_steps has 1"),
        ({"num_images": 0}, "num_images must be at least 1, but 0 was given"),
        ({"num_steps": -1}, "num_steps must not be negative"),
        ({"num_steps": 0, "prune_steps": [1]}, "num_steps 0 keeps every patch, so prune_steps and prune_ratios must"),
        ({"num_steps": 0, "prune_ratios": [0.3]}, "num_steps 0 keeps every patch, so prune_steps and prune_ratios"),
        ({"start": "pinc"}, r"there is no start 'pinc' \(did you mean 'pink'\?\); available: dataset, dead_leaves"),
        ({"start": "dataset"}, "start 'dataset' must be written dataset=DATASET"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"tv_weight": -1.0}, "tv_weight must not be negative"),
        ({"max_shift": 1.0}, r"max_shift must be in \[0, 1\)"),
        ({"mixed_precision": "fp8"}, "mixed_precision must be one of no, bf16, but 'fp8' was given"),
        ({"policy": "smj"}, r"there is no policy 'smj' \(did you mean 'smi'\?\); available: dense, pri, random, smi"),
        ({"policy": "dense", "prune_steps": [5]}, "policy keeps every patch, so prune_steps .* must not be given"),
        ({"loss_weights": ["l22=1"]}, r"there is no loss term 'l22' \(did you mean 'l2'\?\)"),
        ({"loss_weights": ["l2"]}, "loss_weights takes NAME=WEIGHT"),
        ({"classes": []}, "classes must name"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807, but 9223372036854775808 was given"),
        ({"num_images": 10**12}, "num_images must be at most 10000000, but 1000000000000 was given"),
        ({"num_steps": 10**9}, "num_steps must be at most 1000000"),
        ({"num_images": 4.0}, "num_images must be an integer, but 4.0 was given"),
        ({"num_images": True}, "num_images must be an integer"),
        ({"num_preview_images": -1}, "num_preview_images must not be negative"),
        ({"output_dir": ""}, "output_dir must be a path, but '' was given"),
        ({"tv_weight": float("inf")}, "tv_weight must not be negative, and be finite"),
        ({"l2_weight": float("nan")}, "l2_weight must not be negative, and be finite"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive, and finite"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"adam_beta1": float("nan")}, r"adam_beta1 must be in \[0, 1\)"),
        ({"adam_beta2": 1.0}, r"adam_beta2 must be in \[0, 1\)"),
        ({"max_shift": -0.1}, r"max_shift must be in \[0, 1\)"),
        ({"flip_probability": float("nan")}, r"flip_probability must be in \[0, 1\]"),
        ({"flip_probability": 1.1}, r"flip_probability must be in \[0, 1\]"),
        ({"prune_ratios": [float("nan")]}, r"prune ratio nan is outside \[0, 1\)"),
        ({"loss_weights": ["l2=-1"]}, "loss_weights must not be negative, and be finite"),
        ({"loss_weights": ["l2=inf"]}, "loss_weights must not be negative, and be finite"),
        ({"loss_weights": ["cross_entropy=nan"]}, "loss_weights must not be negative, and be finite"),
        ({"loss_weights": ["cross_entropy=0"], "tv_weight": 0.0}, "the weight of every loss term is 0"),
        ({"loss_weights": [""]}, "there is no loss term ''"),
        ({"report_to": []}, "report_to must name at least one tracker"),
        ({"report_to": ["none", "wandb"]}, "report_to takes 'none' and 'all' alone"),
        ({"move": "pixel"}, r"there is no move 'pixel' \(did you mean 'pixels'\?\); available: frequency, growing"),
        ({"move_options": ["strength=0.1"]}, "the move 'pixels' has no option 'strength'; it takes no options"),
        ({"move": "low_pass", "move_options": ["strength=2"]}, "strength must be a number from 0 to 1"),
        (
            {"lr_schedule": "cosin"},
            r"no learning rate schedule 'cosin' \(did you mean 'cosine'\?\); available: constant",
        ),
        ({"num_views": 0}, "num_views must be at least 1, but 0 was given"),
        ({"num_views": 1001}, "num_views must be at most 1000"),
        ({"num_views": 2.0}, "num_views must be an integer"),
        ({"hub_dataset_id": "", "push_to_hub": True}, "hub_dataset_id must not be empty"),
    ],
)
def test_a_wrong_setting_is_refused_when_the_config_is_made(changes, message):
    with pytest.raises(UsageError, match=message):
        SparseInversionConfig(**changes)


def test_what_terms_borrow_is_not_recorded_by_its_path():
    options = {"batch_norm_model": "/home/me/r", "loss_weights": ["batch_norm=1"]}
    assert "/home/me/r" not in str(SparseInversionConfig(**options).image_settings())
    # So that a run from before there were such options is continued.
    assert not {"memory_images", "student_model"} & SparseInversionConfig().image_settings().keys()


def test_loss_weights_name_any_registered_term():
    config = SparseInversionConfig(loss_weights=["l2=1e-5", "cross_entropy=2"])
    assert config.term_weights == {"cross_entropy": 2.0, "total_variation": config.tv_weight, "l2": 1e-5}


def test_options_that_change_no_image_are_not_part_of_its_settings():
    first = SparseInversionConfig(output_dir="a", report_to=["tensorboard"], logging_steps=3, disable_tqdm=True)
    second = SparseInversionConfig(output_dir="b", batch_size=3, push_to_hub=True, hub_dataset_id="me/set")
    assert first.image_settings() == second.image_settings()
    assert set(first.image_settings()) == {
        *("num_images", "num_steps", "seed", "classes", "policy", "prune_steps", "prune_ratios", "learning_rate"),
        *("adam_beta1", "adam_beta2", "tv_weight", "l2_weight", "loss_weights", "max_shift", "flip_probability"),
        *("mixed_precision", "compile", "start", "move", "move_options", "lr_schedule", "num_views"),
    }


def test_a_move_has_the_options_that_are_given_and_the_defaults_of_the_others():
    config = SparseInversionConfig(move="low_pass", move_options="width=2")
    assert config.move_values == {"strength": 0.1, "width": 2.0}
    assert SparseInversionConfig().move_values == {}


def test_help_names_every_option_of_every_move_with_its_default():
    from dataclasses import fields

    from smi_hf.inversion.moves.base import MOVES

    (text,) = (field.metadata["help"] for field in fields(SparseInversionConfig) if field.name == "move_options")
    for name in MOVES.names():
        for option, known in MOVES.get(name).options.items():
            assert f"{option} ({known.default:g})" in text, (name, option)


def test_the_learning_rate_of_a_step_is_the_one_given_times_the_schedules_factor():
    config = SparseInversionConfig(learning_rate=0.2, num_steps=10, lr_schedule="linear")
    assert [config.learning_rate_at(step) for step in (0, 5, 9)] == pytest.approx([0.2, 0.1, 0.02])
    assert SparseInversionConfig(learning_rate=0.3).learning_rate_at(7) == 0.3


def test_one_word_is_a_list_of_one():
    config = SparseInversionConfig(classes="balanced", report_to="tensorboard", loss_weights="l2=1")
    assert (config.classes, config.report_to, config.loss_weights) == (["balanced"], ["tensorboard"], ["l2=1"])


def test_a_default_schedule_and_the_same_schedule_written_out_are_equal_settings():
    written = SparseInversionConfig(prune_steps=[50, 100, 200, 300], prune_ratios=[0.3])
    assert written.image_settings() == SparseInversionConfig().image_settings()


def test_no_path_of_a_start_is_recorded():
    settings = SparseInversionConfig(start="dataset=/home/me/photos:train").image_settings()
    assert settings["start"] == "dataset=photos:train"
    assert SparseInversionConfig().image_settings()["start"] == "noise"


def test_without_steps_every_patch_is_kept_whatever_the_policy():
    every = [SparseInversionConfig(num_steps=0, policy=policy) for policy in ("smi", "dense", "random")]
    assert all(config.prune_schedule.keep_counts(196) == (196,) for config in every)
    assert {config.image_settings()["policy"] for config in every} == {"dense"}


def test_hf_argument_parser_reads_the_config():
    from transformers import HfArgumentParser

    arguments = ["--num_steps", "20", "--prune_steps", "5", "10", "--compile", "--classes", "1", "2"]
    (config,) = HfArgumentParser(SparseInversionConfig).parse_args_into_dataclasses(arguments)
    assert (config.num_steps, config.prune_steps, config.compile, config.classes) == (20, [5, 10], True, ["1", "2"])


def test_every_option_has_a_help_text():
    from dataclasses import fields

    assert [field.name for field in fields(SparseInversionConfig) if len(field.metadata.get("help", "")) < 15] == []


def test_pri_divides_steps_and_says_so_in_its_settings():
    config = SparseInversionConfig(policy="pri", num_steps=100)
    assert config.num_stages == 4
    assert config.prune_schedule.steps == (25, 50, 75)
    settings = config.image_settings()
    assert (settings["images_per_trajectory"], settings["prune_steps"]) == (4, [25, 50, 75])


def test_other_policies_know_nothing_of_trajectories():
    config = SparseInversionConfig()
    assert config.num_stages == 1
    assert "images_per_trajectory" not in config.image_settings()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"policy": "smi", "images_per_trajectory": 4},
            "images_per_trajectory is for policy pri alone, but 4 was given",
        ),
        ({"images_per_trajectory": 1}, "images_per_trajectory must be an integer of at least 2"),
        ({"images_per_trajectory": 2.0}, "images_per_trajectory must be an integer of at least 2"),
        ({"images_per_trajectory": True}, "images_per_trajectory must be an integer of at least 2"),
        ({"prune_steps": [5]}, "prune_steps must not be given with policy pri"),
        ({"prune_ratios": [0.5]}, "prune_ratios must not be given with policy pri"),
        ({"num_images": 30}, r"num_images is 30, but policy pri makes 4 images a trajectory .* use 28 or 32"),
        ({"num_images": 3}, r"num_images is 3, but policy pri makes 4 images a trajectory .* use 4$"),
        ({"num_steps": 3}, "num_steps is 3, but a trajectory of 4 images"),
    ],
)
def test_what_pri_cannot_do_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        SparseInversionConfig(**({"policy": "pri"} | changes))
