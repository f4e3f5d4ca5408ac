"""BEiT's biases of relative positions go with the patches that stay."""

import torch
from family_cases import CASES

from smi_hf.models.families.beit import _gathered
from smi_hf.models.sparse import SparseClassifier


def test_the_bias_between_two_kept_patches_is_that_of_their_places():
    bias_1ATT = torch.arange(2 * 5 * 5.0).reshape(1, 2, 5, 5)
    found_BATT = _gathered(bias_1ATT, torch.tensor([[0, 3], [1, 2]]))
    assert found_BATT.shape == (2, 2, 3, 3)
    # Row and column 0 are the CLS token.
    for image, kept in enumerate(([0, 1, 4], [0, 2, 3])):
        for row, first in enumerate(kept):
            for column, second in enumerate(kept):
                assert torch.equal(found_BATT[image, :, row, column], bias_1ATT[0, :, first, second])


def test_what_an_answer_is_read_from_is_told_by_the_configuration():
    assert SparseClassifier(CASES["beit"].make()).reads_from == "patches"
    assert SparseClassifier(CASES["beit-shared-bias-cls"].make()).reads_from == "cls"
