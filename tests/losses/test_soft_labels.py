"""Soft labels: against the cross entropy written out; and what the labels are."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import check_gradient, one_image, small_inputs

from smi_hf.losses import LOSSES

TERM = LOSSES.get("soft_labels")


def label_of(inputs) -> torch.Tensor:
    """The soft labels that a term pulls towards: where its gradient in the logits vanishes, (B, L)."""
    logits = inputs.logits_BL.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(TERM(replace(inputs, logits_BL=logits)).sum(), logits)
    return logits.detach().softmax(dim=1) - gradient


def test_labels_are_distributions_in_which_the_target_stands_out_as_the_paper_has_it():
    inputs = small_inputs()
    labels_BL = label_of(inputs)
    assert labels_BL.sum(dim=1).tolist() == pytest.approx([1, 1])
    for label, target in zip(labels_BL, inputs.targets_B):
        others = torch.cat([label[:target], label[target + 1 :]]).log()
        assert float(others.max() - others.min()) <= 1
        assert 4 <= float(label[target].log() - others.max()) <= 10


def test_it_is_the_cross_entropy_with_the_label():
    inputs = small_inputs()
    expected = []
    for logits, label in zip(inputs.logits_BL.tolist(), label_of(inputs).tolist()):
        whole = math.log(sum(map(math.exp, logits)))
        expected.append(-sum(share * (logit - whole) for share, logit in zip(label, logits)))
    assert TERM(inputs).tolist() == pytest.approx(expected, rel=1e-9)


def test_its_gradient_is_that_of_finite_differences():
    inputs = small_inputs()
    check_gradient(TERM, inputs, logits_BL=inputs.logits_BL)


def test_a_label_belongs_to_an_image_of_a_run_whatever_its_batch_and_step():
    inputs = small_inputs()
    labels = label_of(inputs)
    assert torch.equal(label_of(replace(inputs, step=5)), labels)
    torch.testing.assert_close(label_of(one_image(inputs, 1)), labels[1:], rtol=1e-12, atol=0)
    assert not torch.allclose(label_of(replace(inputs, seed=8)), labels)
    assert not torch.allclose(label_of(replace(inputs, image_indices=(12, 13))), labels)
