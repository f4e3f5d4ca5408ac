"""Selection policies: which patches each keeps, and what it may look at."""

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.patches import POLICIES, SelectionInputs, register_policy


def inputs_of(scores_BK: torch.Tensor | None, kept_BK: torch.Tensor, num_kept: int, seeds=(0, 1)) -> SelectionInputs:
    def cls_attention() -> torch.Tensor:
        assert scores_BK is not None, "this policy has no business with the scoring pass"
        return scores_BK

    return SelectionInputs(kept_BK, num_kept, cls_attention, [torch.Generator().manual_seed(seed) for seed in seeds])


KEPT_BK = torch.tensor([[0, 2, 3, 5, 7], [1, 2, 4, 6, 8]])


def test_smi_keeps_the_highest_scores_in_the_order_of_the_slots():
    scores_BK = torch.tensor([[0.1, 0.5, 0.2, 0.9, 0.3], [0.8, 0.1, 0.2, 0.3, 0.7]])
    assert POLICIES.get("smi")(inputs_of(scores_BK, KEPT_BK, 3)).tolist() == [[1, 3, 4], [0, 3, 4]]


def test_smi_keeps_no_patch_that_scores_below_one_that_it_drops():
    scores_BK = torch.rand(4, 50, generator=torch.Generator().manual_seed(0))
    kept_BK = torch.arange(50).expand(4, 50)
    slots_BM = POLICIES.get("smi")(inputs_of(scores_BK, kept_BK, 20))
    for scores, slots in zip(scores_BK.tolist(), slots_BM.tolist()):
        assert slots == sorted(set(slots))
        dropped = [score for slot, score in enumerate(scores) if slot not in slots]
        assert min(scores[slot] for slot in slots) > max(dropped)


def test_random_keeps_the_same_patches_for_the_same_stream():
    first, second = (POLICIES.get("random")(inputs_of(None, KEPT_BK, 3)) for _ in range(2))
    assert torch.equal(first, second)


def test_random_keeps_distinct_slots_in_increasing_order():
    slots_BM = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(2, 50), 20))
    assert slots_BM.shape == (2, 20)
    for slots in slots_BM.tolist():
        assert slots == sorted(set(slots))
        assert set(slots) <= set(range(50))


def test_random_keeps_what_an_images_own_stream_says_whatever_the_batch():
    together = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(3, 50), 20, seeds=(5, 6, 7)))
    for image, seed in enumerate((5, 6, 7)):
        alone = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(1, 50), 20, seeds=(seed,)))
        assert torch.equal(alone[0], together[image])
    assert not torch.equal(together[0], together[1])


def test_random_keeps_every_slot_equally_often():
    num_images = 2000
    slots_BM = POLICIES.get("random")(
        inputs_of(None, torch.arange(10).expand(num_images, 10), 4, seeds=range(num_images))
    )
    shares = torch.bincount(slots_BM.flatten(), minlength=10) / num_images
    # Five standard deviations of a share of 0.4 of 2000 draws: 5 * sqrt(0.4 * 0.6 / 2000).
    assert (shares - 0.4).abs().max() < 0.055


def test_dense_keeps_every_patch_without_a_scoring_pass():
    assert POLICIES.get("dense")(inputs_of(None, KEPT_BK, 3)).tolist() == [[0, 1, 2, 3, 4]] * 2


@pytest.mark.parametrize("name", ["smi", "random", "dense"])
def test_slots_are_integers_that_can_index(name):
    slots_BM = POLICIES.get(name)(inputs_of(torch.rand(2, 5), KEPT_BK, 2))
    assert slots_BM.dtype == torch.int64


def test_the_policies_are_these():
    assert POLICIES.names() == ["dense", "random", "smi"]


def test_an_unknown_policy_is_answered_with_the_nearest_one():
    with pytest.raises(
        UsageError, match=r"there is no policy 'rando' \(did you mean 'random'\?\); available: dense, random, smi"
    ):
        POLICIES.get("rando")


def test_a_policy_of_ones_own_is_found_by_its_name():
    try:

        @register_policy("first")
        def select(inputs: SelectionInputs) -> torch.Tensor:
            return torch.arange(inputs.num_kept).expand(len(inputs.kept_BK), -1)

        assert "first" in POLICIES
        assert POLICIES.get("first")(inputs_of(None, KEPT_BK, 2)).tolist() == [[0, 1], [0, 1]]
    finally:
        POLICIES._entries.pop("first", None)
