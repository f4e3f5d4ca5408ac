"""Disagreement: images on which a student does not answer as its teacher teach it most.

Legend: `B` images, `L` labels.
"""

import math

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, full_precision, register_loss


@register_loss(
    "disagreement", needs=("student_logits_BL",), source="Adaptive DeepInversion, arXiv 1912.08795, section 3.3"
)
def disagreement(inputs: LossInputs) -> Tensor:
    """1 - Jensen-Shannon divergence of the answers of teacher and student, in nats, in [1 - log 2, 1], (B,).

    Adaptive DeepInversion (arXiv 1912.08795, section 3.3, R_compete). The student stays as it is during a run; to
    compete with a student that learns, invert again with what it has become.
    """
    teacher_BL = full_precision(inputs.logits_BL).log_softmax(dim=1)
    student_BL = full_precision(inputs.student_logits_BL).log_softmax(dim=1)
    middle_BL = torch.logaddexp(teacher_BL, student_BL) - math.log(2)
    divergences = ((answer_BL.exp() * (answer_BL - middle_BL)).sum(dim=1) for answer_BL in (teacher_BL, student_BL))
    return 1 - sum(divergences) / 2
