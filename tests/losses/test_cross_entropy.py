"""Cross entropy: against its formula, whatever the precision of the logits."""

import math
from dataclasses import replace

import pytest
import torch
from loss_cases import loss_inputs

from smi_hf.losses import LOSSES, LossInputs
from smi_hf.patches import PatchGrid


def test_cross_entropy_is_minus_the_log_probability_of_the_target():
    logits_BL = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    inputs = LossInputs(
        logits_BL, torch.tensor([0, 2]), torch.zeros(2, 1, 3, 2, 2), torch.zeros(2, 1).long(), PatchGrid(2, 2, 2, 2)
    )
    expected = [-math.log(math.exp(2) / (math.exp(2) + 1 + math.exp(-1))), math.log(3)]
    assert LOSSES.get("cross_entropy")(inputs).tolist() == pytest.approx(expected)


def test_cross_entropy_of_half_precision_logits_is_computed_in_float32():
    inputs = loss_inputs(PatchGrid(8, 8, 4, 4), torch.zeros(2, 3, 8, 8))
    half = replace(inputs, logits_BL=inputs.logits_BL.bfloat16())
    found_B = LOSSES.get("cross_entropy")(half)
    assert found_B.dtype == torch.float32
    again_B = LOSSES.get("cross_entropy")(replace(inputs, logits_BL=half.logits_BL.float()))
    assert torch.equal(found_B, again_B)
