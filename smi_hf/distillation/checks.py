"""Whether images, teacher and student of a lesson fit each other; each check raises a UsageError."""

from smi_hf.data import SparseDataset
from smi_hf.data.validation import check_fits
from smi_hf.distillation.students import SparseStudent
from smi_hf.errors import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher


def check_made_from(dataset: SparseDataset, teacher: Teacher, weights_sha256: str, other_teacher: bool) -> None:
    """Checks that images fit a teacher, and that they were inverted from it unless another one is meant.

    Args:
        weights_sha256: the teacher's.
    """
    check_fits(dataset.record, teacher.model)
    made_from = dataset.record.teacher
    if not other_teacher and made_from.weights_sha256 != weights_sha256:
        raise UsageError(
            f"the dataset was inverted from {made_from.name!r} (revision {made_from.revision}), whose weights "
            f"are not those of teacher {teacher.name!r} (revision {teacher.revision}); use that teacher, or say "
            f"--other_teacher true if this is meant"
        )


def check_grid(images: KeptImages, teacher: Teacher) -> None:
    """Checks that images in memory are on a teacher's grid."""
    grid = teacher.model.grid
    grid.cut(images.pixels_BCHW[:1])
    first, last = int(images.kept_BK.min()), int(images.kept_BK.max())
    if first < 0 or last >= grid.num_patches:
        raise UsageError(
            f"the images keep patch {first if first < 0 else last}, but the teacher's grid has patches 0 to "
            f"{grid.num_patches - 1}"
        )


def check_same_shape(student: SparseStudent, teacher: Teacher) -> None:
    """Checks that the tokens of each layer can be compared one by one."""
    ours, theirs = (
        (model.config.num_hidden_layers, model.config.hidden_size, model.num_prefix_tokens)
        for model in (student.sparse, teacher.model)
    )
    if ours != theirs:
        raise UsageError(
            f"hidden_state_weight compares every token of every layer, but the student has {ours[0]} layers of "
            f"{ours[1]} channels and {ours[2]} prefix tokens, its teacher {theirs[0]}, {theirs[1]} and {theirs[2]}; "
            f"use feature_weight, which compares how tokens lie to each other"
        )
