"""Attention priors: against sums written out; and what the priors are."""

from dataclasses import replace

import pytest
import torch
from loss_cases import check_gradient, small_inputs

from smi_hf.losses import LOSSES
from smi_hf.losses.attention_prior import draw_priors
from smi_hf.patches import PatchGrid

TERM = LOSSES.get("attention_prior")


def test_it_is_the_squared_distance_from_the_priors_of_the_kept_patches_in_the_later_blocks():
    inputs = small_inputs()
    blocks = inputs.attentions[1:]  # the later two of three
    priors = draw_priors(7, (10, 11), inputs.grid, 2, 3)
    expected = []
    for image in range(2):
        kept, total = inputs.kept_BK[image].tolist(), 0.0
        for block, attention in enumerate(blocks):
            for head in range(3):
                row = attention[image, head, 0, 2:].tolist()  # the CLS token's, without two prefix tokens
                prior = [float(priors[image, patch, block, head]) for patch in kept]
                wanted = [sum(row) * value / sum(prior) for value in prior]
                total += sum((found - value) ** 2 for found, value in zip(row, wanted, strict=True)) / 3 / 2
        expected.append(total)
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, attentions=inputs.attentions)


def test_attention_that_follows_the_priors_has_no_loss():
    inputs = small_inputs()
    priors = draw_priors(7, (10, 11), inputs.grid, 2, 3)
    attentions = [torch.rand(2, 3, 6, 6, dtype=torch.float64) for _ in range(3)]
    for block in range(2):
        for image in range(2):
            attentions[block + 1][image, :, 0, 2:] = 0.3 * priors[image, inputs.kept_BK[image], block].T
    assert TERM(replace(inputs, attentions=tuple(attentions))).tolist() == pytest.approx([0, 0], abs=1e-20)


def test_priors_belong_to_an_image_of_a_run_and_to_one_head_of_one_block():
    grid = PatchGrid(56, 56, 4, 4)
    together = draw_priors(0, (3, 4), grid, 2, 3)
    assert together.shape == (2, 196, 2, 3)
    assert torch.equal(draw_priors(0, (4,), grid, 2, 3)[0], together[1])
    assert not torch.equal(draw_priors(1, (4,), grid, 2, 3)[0], together[1])
    maps = together.permute(0, 2, 3, 1).flatten(0, 2)
    assert len({tuple(each.tolist()) for each in maps}) == 12
    assert (together > 0).all()


def test_priors_are_smooth_and_have_places_of_their_own():
    grid = PatchGrid(56, 56, 4, 4)
    maps = draw_priors(0, tuple(range(20)), grid, 1, 3).flatten(2).permute(0, 2, 1).reshape(60, 14, 14)
    maps = maps / maps.amax(dim=(1, 2), keepdim=True)
    # The smallest spot has a standard deviation of one patch: between neighbours it falls by 0.61 at the most.
    assert float((maps[:, 1:] - maps[:, :-1]).abs().max()) < 0.62
    # No map is flat: the place of its peak stands out.
    assert (maps.mean(dim=(1, 2)) < 0.8).all()
    peaks = maps.flatten(1).argmax(dim=1)
    assert len(set(peaks.tolist())) > 30
