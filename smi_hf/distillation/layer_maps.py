"""Which of its teacher's layers a student has, and which one's output each of its own should match."""

from collections.abc import Sequence
from typing import Any

from smi_hf.errors import UsageError
from smi_hf.evaluation.record import Step
from smi_hf.models import Teacher

# Where a record names the teacher's layers, by its kind.
_SETTINGS = {"pruned": "layers", "distilled": "student_layers"}


def layer_map(num_student: int, num_teacher: int, layers: Sequence[int] | None = None) -> tuple[int, ...]:
    """For each layer of a student, the number of the teacher's layer whose output it should match.

    A layer that is known to be the teacher's stands for itself and for the dropped ones that follow it, up to the
    next that the student has; the last stands for all that follow. If it is not known, layers stand for equal shares
    of the teacher's (TinyBERT, arXiv 1909.10351, the uniform mapping g(m)). The last always matches the last.

    Args:
        num_student, num_teacher: how many layers they have; the student no more than the teacher.
        layers: numbers from 0 of the teacher's layers that the student has, ascending; None if they are not known.

    Returns:
        Numbers from 0, ascending.

    Raises:
        UsageError: `layers` cannot be those of such a student.
    """
    if layers is None:
        return tuple(round((layer + 1) * num_teacher / num_student) - 1 for layer in range(num_student))
    if len(layers) != num_student or not _are_layers(layers, num_teacher):
        raise UsageError(
            f"the student's origin says that it has the layers {' '.join(map(str, layers)) or 'none'} of its teacher, "
            f"but it has {num_student} layers and its teacher {num_teacher}; give one number from 0 for each, "
            f"ascending, or None"
        )
    return tuple(number - 1 for number in (*layers[1:], num_teacher))


def recorded_layers(history: Sequence[Step], teacher: Teacher) -> tuple[int, ...] | None:
    """Numbers from 0 of the teacher's layers that a model has, as the last of the steps that made it says.

    Returns:
        None if it is not known: there is no step, or the last began with another teacher, or one whose layers cannot
        be told apart.
    """
    if not history or not teacher.model.is_sparse:
        return None
    if history[-1].teacher.weights_sha256 != teacher.weights_sha256():
        return None
    layers = history[-1].settings.get(_SETTINGS.get(history[-1].kind, ""))
    return tuple(layers) if _are_layers(layers, teacher.model.shape.num_layers) else None


def _are_layers(layers: Any, num_layers: int) -> bool:
    """Whether these are numbers of some of so many layers, ascending."""
    return (
        isinstance(layers, Sequence)
        and len(layers) > 0
        and all(type(number) is int for number in layers)
        and sorted(set(layers)) == list(layers)
        and 0 <= layers[0] <= layers[-1] < num_layers
    )
