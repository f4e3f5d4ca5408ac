"""A student of the teacher's own layers."""

import copy
from collections.abc import Sequence

from smi_hf.distillation.loading import StudentModel, StudentOrigin
from smi_hf.models import Teacher
from smi_hf.models.depth import with_layers


def student_of_layers(teacher: Teacher, layers: Sequence[int]) -> StudentModel:
    """A student that begins as its teacher without some of its layers, with its labels, head and image processor.

    `smi_hf.pruning.choose_layers` finds the layers that the teacher can least do without.

    Args:
        teacher: left as it is.
        layers: numbers of the teacher's layers that the student gets, from 0, ascending, none twice.

    Raises:
        UsageError: `layers` is empty, not ascending, or names one that there is not.
    """
    model = with_layers(teacher.model, layers).model
    # The teacher is frozen, and maybe of lower precision; a student is neither.
    model.float().requires_grad_(True)
    origin = StudentOrigin(name=teacher.name, revision=teacher.revision, license=teacher.license, layers=tuple(layers))
    return StudentModel(model, copy.deepcopy(teacher.image_processor), origin)
