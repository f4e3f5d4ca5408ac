"""Patch Rebirth: what is attended most leaves as an image, the rest goes on."""

import torch

from smi_hf.patches import POLICIES, SelectionInputs


def select(scores_BK, num_kept, num_leaving):
    generators = [torch.Generator() for _ in scores_BK]
    kept_BK = torch.arange(scores_BK.shape[1]).expand_as(scores_BK)
    return POLICIES.get("pri")(
        SelectionInputs(kept_BK, num_kept, lambda: scores_BK, generators, num_leaving=num_leaving)
    )


def test_the_most_attended_patches_leave_and_the_others_stay_in_the_order_of_the_slots():
    scores_BK = torch.tensor([[0.1, 0.5, 0.2, 0.9, 0.3], [0.8, 0.1, 0.2, 0.3, 0.7]])
    selection = select(scores_BK, 3, 2)
    assert selection.leave_BF.tolist() == [[1, 3], [0, 4]]
    assert selection.stay_BM.tolist() == [[0, 2, 4], [1, 2, 3]]


def test_what_cannot_be_shared_is_of_the_lowest_attention():
    selection = select(torch.tensor([[0.1, 0.5, 0.2, 0.9, 0.3]]), 2, 2)
    assert selection.leave_BF.tolist() == [[1, 3]]
    assert selection.stay_BM.tolist() == [[2, 4]]


def test_of_equal_scores_each_patch_is_taken_once():
    selection = select(torch.zeros(3, 12), 8, 4)
    together = torch.cat([selection.leave_BF, selection.stay_BM], dim=1).sort(dim=1).values
    assert together.tolist() == [list(range(12))] * 3
