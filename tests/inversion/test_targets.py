from collections import Counter

import pytest

from smi_hf import UsageError
from smi_hf.inversion.targets import choose_targets

NAMES = ["cat", "dog", "crane", "boat", "7"]


def test_random_targets_are_reproducible_cover_the_labels_and_do_not_depend_on_how_many_there_are():
    targets = choose_targets(200, ["random"], NAMES, seed=3)
    assert targets[:50] == choose_targets(50, ["random"], NAMES, seed=3)
    assert set(targets) == set(range(5))
    assert targets != choose_targets(200, ["random"], NAMES, seed=4)


@pytest.mark.parametrize("num_images", [3, 5, 12])
def test_balanced_targets_differ_in_number_by_at_most_one(num_images):
    counts = Counter(choose_targets(num_images, ["balanced"], NAMES, seed=0))
    numbers = [counts[label] for label in range(5)]
    assert max(numbers) - min(numbers) <= 1


def test_a_list_of_classes_is_repeated_in_turn_by_number_or_name():
    assert choose_targets(5, ["dog", "0", "4"], NAMES, seed=0) == [1, 0, 4, 1, 0]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["5"], "class 5 does not exist: the model has labels 0 to 4"),
        (["-1"], "class -1 does not exist"),
        (["dogg"], r"class 'dogg' does not exist \(did you mean 'dog'\?\)"),
        (["random", "1"], "classes takes 'random' alone"),
        (["balanced", "random"], "classes takes 'balanced' or 'random' alone"),
    ],
)
def test_a_class_that_does_not_exist_is_refused(classes, message):
    with pytest.raises(UsageError, match=message):
        choose_targets(4, classes, NAMES, seed=0)
