"""Which label of a model a dataset's label is, by name or by number; and when neither is certain."""

import logging
import re

import pytest

from smi_hf import UsageError
from smi_hf.images.labels import match_names, same_names

NAMES = ["cat", "dog", "boat"]
IMAGENET = ["tench, Tinca tinca", "crane", "great grey owl, great gray owl, Strix nebulosa", "crane", "maillot"]
IMAGENET += ["maillot, tank suit"]


@pytest.mark.parametrize(
    ("names", "labels", "numbers"),
    [
        (["cat", "dog", "boat"], NAMES, [0, 1, 2]),
        (["Boat", "CAT", "Dog"], NAMES, [2, 0, 1]),
        (["boat", "cat"], NAMES, [2, 0]),
        (["golden_retriever"], ["poodle", "golden retriever"], [1]),
        (["tench"], IMAGENET, [0]),
        (["Tinca tinca"], IMAGENET, [0]),
        (["great gray owl"], IMAGENET, [2]),
        (["Strix nebulosa, owl of the north"], IMAGENET, [2]),
        (["tench, Tinca tinca"], ["goldfish", "tench"], [1]),
        # A name as a whole goes before a part of another.
        (["maillot"], IMAGENET, [4]),
        (["tank suit"], IMAGENET, [5]),
        # What ClassLabel makes of two labels of one name: ours, and that of imagenet-1k on the Hub.
        (["crane (3)", "crane (1)"], IMAGENET, [3, 1]),
        (["tench", "crane", "great grey owl", "crane2", "maillot", "tank suit"], IMAGENET, [0, 1, 2, 3, 4, 5]),
        (["0", "1"], ["0", "1", "2"], [0, 1]),
    ],
)
def test_names_are_matched_as_a_whole_or_by_a_synonym(names, labels, numbers):
    assert match_names(names, labels, "photos") == (numbers, "name")


def test_equal_lists_are_matched_although_names_come_twice():
    assert match_names(IMAGENET, IMAGENET, "photos") == ([0, 1, 2, 3, 4, 5], "name")
    ours = ["tench", "crane (1)", "crane (2)"]
    assert match_names(ours, ["tench", "crane", "crane"], "photos") == ([0, 1, 2], "name")


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (
            ["cat", "dgo", "boat"],
            NAMES,
            "2 of which are names of the model's labels and 1 are not clear: 'dgo' (did you mean 'dog'?); rename",
        ),
        (["chat", "dog"], NAMES, "1 are not clear: 'chat' (did you mean 'cat'?)"),
        (["Orange", "chien", "chat"], ["orange", "dog", "cat"], "2 are not clear: 'chien', 'chat'"),
        # In a part of ImageNet a place says nothing.
        (["crane", "tench"], IMAGENET, "1 are not clear: 'crane' (the model's labels 1, 3)"),
        (["\x1b[31mred", "dog"], NAMES, r"'\x1b[31mred'"),
        ([*"uvwxyz", "cat"], NAMES, "'u', 'v', 'w', 'x', ...;"),
    ],
)
def test_names_of_which_some_match_are_refused_with_the_others_and_the_nearest(names, labels, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        match_names(names, labels, "photos")


def test_as_many_names_of_which_none_matches_are_taken_by_number_with_a_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        assert match_names(["Katze", "Hund", "Schiff"], NAMES, "photos") == ([0, 1, 2], "number")
    (record,) = caplog.records
    assert "no label name of dataset photos is one of the model's, so its labels are taken by number" in record.message
    assert "'Katze' as 'cat', 'Hund' as 'dog', 'Schiff' as 'boat'" in record.message


@pytest.mark.parametrize("names", [["Katze", "Hund"], ["Katze", "Hund", "Schiff", "Baum"]])
def test_names_of_which_none_matches_and_that_are_not_as_many_are_refused(names):
    message = f"dataset photos has {len(names)} labels (such as 'Katze'), none of which is a name of the model's 3"
    with pytest.raises(UsageError, match=re.escape(message)):
        match_names(names, NAMES, "photos")


def test_names_that_are_numbers_are_those_numbers_in_whatever_order_folders_have(caplog):
    names = sorted(map(str, range(12)))
    assert names[:3] == ["0", "1", "10"]
    with caplog.at_level(logging.WARNING, logger="smi_hf"):
        numbers, matched_by = match_names(names, [f"kind of {letter}" for letter in "abcdefghijkl"], "photos")
    assert (numbers, matched_by) == ([int(name) for name in names], "number")
    assert not caplog.records


def test_a_number_that_the_model_does_not_have_is_refused():
    with pytest.raises(UsageError, match="none of which is a name of the model's 3"):
        match_names(["1", "2", "3"], NAMES, "photos")


def test_case_and_underscores_make_no_other_name():
    assert same_names(["Cat", "golden_retriever"], ["cat", "Golden  Retriever"])
    assert not same_names(["cat", "dog"], ["dog", "cat"])
    assert not same_names(["cat"], ["cat", "dog"])
