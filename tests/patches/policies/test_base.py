"""What every policy does, and how one is found."""

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.patches import POLICIES, Selection, SelectionInputs, register_policy


@pytest.mark.parametrize("name", ["smi", "pri", "random", "dense"])
def test_slots_are_integers_that_can_index(name, inputs_of, kept_BK):
    selection = POLICIES.get(name)(inputs_of(torch.rand(2, 5), kept_BK, 2))
    assert selection.stay_BM.dtype == torch.int64
    assert selection.leave_BF is None or name == "pri"


def test_the_policies_are_these():
    assert POLICIES.names() == ["dense", "pri", "random", "smi"]


def test_an_unknown_policy_is_answered_with_the_nearest_one():
    with pytest.raises(
        UsageError, match=r"there is no policy 'rando' \(did you mean 'random'\?\); available: dense, pri, random, smi"
    ):
        POLICIES.get("rando")


def test_a_policy_of_ones_own_is_found_by_its_name(inputs_of, kept_BK):
    try:

        @register_policy("first")
        def select(inputs: SelectionInputs) -> Selection:
            return Selection(torch.arange(inputs.num_kept).expand(len(inputs.kept_BK), -1))

        assert "first" in POLICIES
        assert POLICIES.get("first")(inputs_of(None, kept_BK, 2)).stay_BM.tolist() == [[0, 1], [0, 1]]
    finally:
        POLICIES._entries.pop("first", None)
