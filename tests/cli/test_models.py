"""Options that several commands have: which model, and which images judge it."""

import pytest

from smi_hf import UsageError
from smi_hf.cli.models import JudgeArguments, ModelArguments


def test_a_teacher_is_loaded_as_it_was_asked_for(tiny_checkpoint):
    assert ModelArguments(model_name_or_path=str(tiny_checkpoint)).load_teacher().model.grid.image_size == (32, 32)
    assert ModelArguments(
        model_name_or_path=str(tiny_checkpoint), image_size=[48]
    ).load_teacher().model.grid.image_size == (48, 48)


def test_without_images_nobody_is_judged(teacher):
    assert JudgeArguments().load_images(teacher) is None


def test_as_many_images_are_loaded_as_were_asked_for(teacher, photographs):
    assert len(JudgeArguments(str(photographs)).load_images(teacher)) == 20
    images = JudgeArguments(str(photographs), max_images=7).load_images(teacher)
    assert len(images) == 7 and images.matched_by == "name"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_split": "test"}, "eval_split says which images of eval_dataset, which was not given; give both"),
        ({"max_images": 3}, "max_images says which images of eval_dataset, which was not given"),
        ({"eval_dataset": "cifar10", "max_images": 0}, "max_images must be at least 1, but 0 was given"),
    ],
)
def test_options_that_would_be_ignored_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        JudgeArguments(**options)
