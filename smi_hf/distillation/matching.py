"""How far a student's output is from its teacher's, for one batch: every weighted part of the loss.

Legend: `B` images, `K` kept patches, `L` labels, `C` channels, `P Q` patch pixels.
"""

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import ImageClassifierOutput

from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.layer_maps import layer_map
from smi_hf.distillation.losses import ANSWER_LOSSES, attention_divergence, feature_error, hidden_state_error
from smi_hf.distillation.students import Student
from smi_hf.models import Teacher
from smi_hf.models.attention import attention_implementation


def compare(
    args: SparseDistillationConfig,
    student: Student,
    teacher: Teacher,
    through: nn.Module,
    patches_BKCPQ: Tensor,
    kept_BK: Tensor,
    inputs: dict[str, Tensor],
) -> tuple[ImageClassifierOutput, dict[str, Tensor]]:
    """The student's output, and the parts of its loss by name.

    Args:
        args: weights and temperature.
        through: the student's model as `Trainer` wrapped it.
        patches_BKCPQ, kept_BK: what both are shown, normalized for the teacher.
        inputs: `labels` int64 (B,), and `teacher_logits` (B, L) if they were computed before.
    """
    wanted = {"output_hidden_states": True} if args.feature_weight or args.hidden_state_weight else {}
    with ExitStack() as stack:
        if args.attention_weight:
            wanted |= {"output_attentions": True}
            for each in (student.model, teacher.model.model):
                stack.enter_context(attention_implementation(each, "eager"))
        output = student.forward(through, patches_BKCPQ, kept_BK, **wanted)
        teacher_BL = inputs.get("teacher_logits")
        if teacher_BL is None or wanted:
            with torch.no_grad():
                taught = teacher.model.forward_patches(patches_BKCPQ, kept_BK, **wanted)
            teacher_BL = taught.logits
    parts = answer_losses(args, output.logits, teacher_BL, inputs["labels"])
    K = kept_BK.shape[1]
    if args.feature_weight:
        features = (each.hidden_states[-1][:, -K:].float() for each in (output, taught))
        parts["features"] = args.feature_weight * feature_error(*features)
    if args.hidden_state_weight:
        states = [each.hidden_states for each in (output, taught)]
        layers = layer_map(*(len(each) - 1 for each in states), student.layers)
        parts["hidden_states"] = args.hidden_state_weight * hidden_state_error(*states, layers)
    if args.attention_weight:
        rows = (each.attentions[-1][:, :, 0, -K:].float().mean(dim=1) for each in (output, taught))
        parts["attention"] = args.attention_weight * attention_divergence(*rows)
    return output, parts


def answer_losses(
    args: SparseDistillationConfig, student_BL: Tensor, teacher_BL: Tensor, labels_B: Tensor
) -> dict[str, Tensor]:
    """The parts of the loss that need logits alone; `args.loss`, always with weight 1, is the first."""
    parts = {args.loss: ANSWER_LOSSES[args.loss](student_BL.float(), teacher_BL.float(), args.temperature)}
    if args.hard_label_weight:
        # Without a mean of none, which is NaN: images such as noise have no labels (-100).
        summed = F.cross_entropy(student_BL.float(), labels_B, reduction="sum")
        parts["hard_labels"] = args.hard_label_weight * summed / (labels_B >= 0).sum().clamp_min(1)
    return parts
