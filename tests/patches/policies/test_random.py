"""Random patches: each image's own stream decides, and every patch alike."""

import torch

from smi_hf.patches import POLICIES


def test_random_keeps_the_same_patches_for_the_same_stream(inputs_of, kept_BK):
    first, second = (POLICIES.get("random")(inputs_of(None, kept_BK, 3)).stay_BM for _ in range(2))
    assert torch.equal(first, second)


def test_random_keeps_distinct_slots_in_increasing_order(inputs_of):
    slots_BM = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(2, 50), 20)).stay_BM
    assert slots_BM.shape == (2, 20)
    for slots in slots_BM.tolist():
        assert slots == sorted(set(slots))
        assert set(slots) <= set(range(50))


def test_random_keeps_what_an_images_own_stream_says_whatever_the_batch(inputs_of):
    together = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(3, 50), 20, seeds=(5, 6, 7))).stay_BM
    for image, seed in enumerate((5, 6, 7)):
        alone = POLICIES.get("random")(inputs_of(None, torch.arange(50).expand(1, 50), 20, seeds=(seed,))).stay_BM
        assert torch.equal(alone[0], together[image])
    assert not torch.equal(together[0], together[1])


def test_random_keeps_every_slot_equally_often(inputs_of):
    num_images = 2000
    slots_BM = POLICIES.get("random")(
        inputs_of(None, torch.arange(10).expand(num_images, 10), 4, seeds=range(num_images))
    ).stay_BM
    shares = torch.bincount(slots_BM.flatten(), minlength=10) / num_images
    # Five standard deviations of a share of 0.4 of 2000 draws: 5 * sqrt(0.4 * 0.6 / 2000).
    assert (shares - 0.4).abs().max() < 0.055
