import re

import pytest

from smi_hf import SparseInversionConfig, UsageError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_weights": ["batch_norm=1"]}, "the loss term batch_norm needs batch_norm_model, but it was not given"),
        ({"loss_weights": ["disagreement=1"]}, "the loss term disagreement needs student_model, but it was not given"),
        ({"loss_weights": ["contrast=1"]}, "the loss term contrast needs memory_dataset, but it was not given"),
        ({"batch_norm_model": "x"}, "batch_norm_model was given, but no loss term uses it; give one a weight, for "),
        ({"student_model": "x"}, "instance --loss_weights disagreement=1"),
        (
            {"memory_dataset": "x", "loss_weights": ["contrast=0"]},
            "memory_dataset was given, but no loss term uses it",
        ),
        ({"student_model": " ", "loss_weights": ["disagreement=1"]}, "student_model must name a Hub id or a folder"),
        ({"memory_images": 5}, "memory_images was given, but memory_dataset was not; give both, or neither"),
        ({"memory_images": 0}, "memory_images must be at least 1, but 0 was given"),
        ({"helper_allow_pickle": True}, "helper_allow_pickle was given, but neither batch_norm_model nor student_mod"),
        (
            {"compile": True, "loss_weights": ["psaq_entropy=1", "l2=1", "attention_prior=1"]},
            "compile was given, but psaq_entropy and attention_prior look into the teacher, which a compiled one does",
        ),
    ],
)
def test_loss_terms_and_what_they_borrow_must_fit(changes, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        SparseInversionConfig(**changes)


def test_terms_that_look_at_pixels_and_answers_alone_can_be_compiled():
    config = SparseInversionConfig(compile=True, loss_weights=["tv_l1=1", "soft_labels=1", "psaq_entropy=0"])
    assert config.compile
