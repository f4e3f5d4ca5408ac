"""What a student is taught: its teacher's answer, softened, and optionally what stands behind it.

Legend: `B` images, `L` labels, `T` tokens, `D` hidden size, `K` kept patches.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# From the student's and the teacher's logits, (B, L), and a temperature to one value.
AnswerLoss = Callable[[Tensor, Tensor, float], Tensor]


def kl_divergence(student_BL: Tensor, teacher_BL: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the answers at a temperature, mean over images, times its square; >= 0.

    The square keeps gradients of one size whatever the temperature (Hinton et al., arXiv 1503.02531, section 2).
    """
    student = F.log_softmax(student_BL / temperature, dim=-1)
    teacher = F.log_softmax(teacher_BL / temperature, dim=-1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def jensen_shannon(student_BL: Tensor, teacher_BL: Tensor, temperature: float) -> Tensor:
    """Jensen-Shannon divergence of the answers at a temperature, mean over images, times its square; >= 0."""
    student = F.log_softmax(student_BL / temperature, dim=-1)
    teacher = F.log_softmax(teacher_BL / temperature, dim=-1)
    middle = torch.logaddexp(student, teacher) - math.log(2)
    both = (F.kl_div(middle, answer, reduction="batchmean", log_target=True) for answer in (student, teacher))
    return temperature**2 * sum(both) / 2


def logit_error(student_BL: Tensor, teacher_BL: Tensor, temperature: float) -> Tensor:
    """Mean squared error of the logits, each image's centred, as adding a constant to them changes no answer; >= 0.

    Args:
        temperature: not used: this is the limit of `kl_divergence` at a high one, up to a factor.
    """
    student, teacher = (logits - logits.mean(dim=-1, keepdim=True) for logits in (student_BL, teacher_BL))
    return F.mse_loss(student, teacher)


ANSWER_LOSSES: dict[str, AnswerLoss] = {"kl": kl_divergence, "jsd": jensen_shannon, "mse": logit_error}


def feature_error(student_BTD: Tensor, teacher_BTD: Tensor) -> Tensor:
    """Mean squared difference of the cosines between an image's tokens in the last layer; in [0, 4].

    Compares how similar tokens are to each other, so that student and teacher may differ in hidden size D, not in T
    (similarity-preserving distillation, arXiv 1907.09682, within an image).
    """
    student_BTD, teacher_BTD = F.normalize(student_BTD, dim=-1), F.normalize(teacher_BTD, dim=-1)
    student_BTT, teacher_BTT = (tokens @ tokens.transpose(1, 2) for tokens in (student_BTD, teacher_BTD))
    return F.mse_loss(student_BTT, teacher_BTT)


def hidden_state_error(student: Sequence[Tensor], teacher: Sequence[Tensor], layers: Sequence[int]) -> Tensor:
    """Squared error of every layer's tokens, as a share of the teacher's mean square; mean over layers, >= 0.

    For a student of the teacher's hidden size, above all its own quantized or shallower self: an error is seen where
    it arises.
    Source: TinyBERT (arXiv 1909.10351, equation 8), without its projection.

    Args:
        student, teacher: `hidden_states` of equal shapes (B, T, D), the embeddings first, which are left out.
        layers: for each layer of the student, the number from 0 of the teacher's layer that it should match.
    """
    pairs = [(mine.float(), its.float()) for mine, its in zip(student[1:], (teacher[1 + layer] for layer in layers))]
    return torch.stack([F.mse_loss(mine, its) / its.square().mean() for mine, its in pairs]).mean()


def attention_divergence(student_BK: Tensor, teacher_BK: Tensor) -> Tensor:
    """KL(teacher || student) of the CLS token's attention over the kept patches, mean over images; >= 0.

    Args:
        student_BK, teacher_BK: attention of the last block, mean over heads, >= 0; normalized here.
    """
    student, teacher = (
        (row / row.sum(dim=-1, keepdim=True)).clamp_min(1e-8).log() for row in (student_BK, teacher_BK)
    )
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
