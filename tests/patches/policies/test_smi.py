"""The policy of Sparse Model Inversion: the highest CLS attention stays."""

import torch

from smi_hf.patches import POLICIES


def test_smi_keeps_the_highest_scores_in_the_order_of_the_slots(inputs_of, kept_BK):
    scores_BK = torch.tensor([[0.1, 0.5, 0.2, 0.9, 0.3], [0.8, 0.1, 0.2, 0.3, 0.7]])
    assert POLICIES.get("smi")(inputs_of(scores_BK, kept_BK, 3)).stay_BM.tolist() == [[1, 3, 4], [0, 3, 4]]


def test_smi_keeps_no_patch_that_scores_below_one_that_it_drops(inputs_of):
    scores_BK = torch.rand(4, 50, generator=torch.Generator().manual_seed(0))
    kept_BK = torch.arange(50).expand(4, 50)
    slots_BM = POLICIES.get("smi")(inputs_of(scores_BK, kept_BK, 20)).stay_BM
    for scores, slots in zip(scores_BK.tolist(), slots_BM.tolist()):
        assert slots == sorted(set(slots))
        dropped = [score for slot, score in enumerate(scores) if slot not in slots]
        assert min(scores[slot] for slot in slots) > max(dropped)
