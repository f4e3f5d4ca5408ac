"""Several models on the same images in one pass."""

from dataclasses import replace

import pytest

from smi_hf import UsageError
from smi_hf.evaluation.accuracy import check_judges, rank_labels


def test_every_model_sees_every_image_once_and_in_order(images, make_predictor):
    seen = []
    right, wrong = make_predictor(seen=seen), make_predictor(1)
    choices = rank_labels(images, {"right": right, "wrong": wrong}, batch_size=5, disable_tqdm=True)
    assert seen == list(range(12))
    assert choices["right"].accuracy() == {"top1": 1.0, "top5": 1.0}
    # The right label is its last choice.
    assert choices["wrong"].accuracy() == {"top1": 0.0, "top5": 0.0}
    assert choices["wrong"].agreement(choices["right"]) == 0.0
    assert choices["right"].seconds > 0


def test_a_label_among_five_choices_counts_for_top5_alone(images, make_predictor):
    choices = rank_labels(images, {"near": make_predictor(-4), "far": make_predictor(-5)}, disable_tqdm=True)
    assert choices["near"].accuracy() == {"top1": 0.0, "top5": 1.0}
    assert choices["far"].accuracy() == {"top1": 0.0, "top5": 0.0}


def test_models_of_different_preprocessing_are_each_shown_their_own(images, make_predictor):
    models = {"plain": make_predictor(), "loud": make_predictor(scale=3.0), "large": make_predictor(side=8)}
    choices = rank_labels(images, models, disable_tqdm=True)
    assert all(ranked.accuracy()["top1"] == 1.0 for ranked in choices.values())
    # With another's preprocessing it would be wrong, so that the above says something.
    mixed = replace(models["loud"], image_processor=models["plain"].image_processor)
    assert rank_labels(images, {"mixed": mixed}, disable_tqdm=True)["mixed"].accuracy()["top1"] < 0.5


def test_models_that_preprocess_alike_share_it(images, make_predictor, monkeypatch):
    calls = []
    first, second = make_predictor(), make_predictor(1)
    kind = type(first.image_processor)
    original = kind.__call__
    monkeypatch.setattr(
        kind, "__call__", lambda self, *args, **kwargs: calls.append(1) or original(self, *args, **kwargs)
    )
    rank_labels(images, {"first": first, "second": second}, disable_tqdm=True)
    assert sum(calls) == 12


@pytest.mark.parametrize("batch_size", [0, -1])
def test_no_batch_is_not_a_size_of_batches(images, make_predictor, batch_size):
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}, but must be at least 1"):
        rank_labels(images, {"model": make_predictor()}, batch_size=batch_size, disable_tqdm=True)


def test_an_empty_set_is_refused(images, make_predictor):
    with pytest.raises(UsageError, match="is empty"):
        rank_labels(images.select([]), {"model": make_predictor()}, disable_tqdm=True)


@pytest.mark.parametrize("names", [["cat", "dog"], [f"label {number}" for number in reversed(range(12))]])
def test_a_model_of_other_labels_than_the_images_were_matched_with_is_refused(images, make_predictor, names):
    other = replace(make_predictor(), label_names=names)
    with pytest.raises(UsageError, match=r"were matched with 12 labels \('label 0', \.\.\.\) that are not the"):
        rank_labels(images, {"right": make_predictor(), "other": other}, disable_tqdm=True)


def test_a_model_without_labels_needs_three_images_to_be_judged_by_neighbors(images, backbone_teacher):
    check_judges(images.select([0, 1, 2]), backbone_teacher)
    check_judges(None, backbone_teacher)
    with pytest.raises(UsageError, match="takes at least 3 images, and there are 2; give more"):
        check_judges(images.select([0, 1]), backbone_teacher)
