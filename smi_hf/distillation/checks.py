"""Whether images, teacher and student of a lesson fit each other; each check raises a UsageError."""

from typing import Any

import torch
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from smi_hf.distillation.layer_maps import layer_map
from smi_hf.distillation.students import SparseStudent
from smi_hf.errors import UsageError
from smi_hf.files import one_line
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier, Teacher
from smi_hf.models.bare import embedding_of
from smi_hf.models.classification import is_headless
from smi_hf.models.dense import require_sparse
from smi_hf.models.for_a_while import evaluating
from smi_hf.models.lookup import why_dense
from smi_hf.models.preprocessing import preprocess


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
    """Checks that the tokens of each of the student's layers can be compared with those of one of the teacher's."""
    require_sparse(teacher.model, "hidden_state_weight")
    ours, theirs = (
        (model.shape.num_layers, model.shape.hidden_size, model.num_prefix_tokens)
        for model in (student.sparse, teacher.model)
    )
    if ours[0] > theirs[0] or ours[1:] != theirs[1:]:
        raise UsageError(
            f"hidden_state_weight compares every token of every layer with one of the teacher's, but the student has "
            f"{ours[0]} layers of {ours[1]} channels and {ours[2]} prefix tokens, its teacher {theirs[0]}, "
            f"{theirs[1]} and {theirs[2]}; it may have fewer layers, but no more, and only as many channels and "
            f"prefix tokens; or use feature_weight, which compares how tokens lie to each other"
        )
    layer_map(ours[0], theirs[0], student.layers)


def check_student(model: PreTrainedModel, teacher: Teacher) -> None:
    """Checks that a classifier can learn from a teacher at all."""
    if model is teacher.model.model:
        raise UsageError(
            "student and teacher are the same model, and the teacher is frozen; load the student once more"
        )
    if is_headless(model):
        if teacher.head is None:
            raise UsageError(
                f"the student ({type(model).__name__}) has no classification head, but its teacher is a classifier; "
                f"give an image classifier"
            )
        reading, size = embedding_of(SparseClassifier(model)) if why_dense(model) is None else (None, 0)
        if reading is not None and (reading, size) != (teacher.head.reading, teacher.head.size):
            raise UsageError(
                f"the student's embedding has {size} numbers, read off its {reading.output} ({reading.pooling}), and "
                f"the teacher's has {teacher.head.size}, read off its {teacher.head.reading.output} "
                f"({teacher.head.reading.pooling}), so they cannot be compared; give a student with embeddings like "
                f"the teacher's, such as some of its layers"
            )
    elif teacher.head is not None and not teacher.head.has_labels:
        raise UsageError(
            f"the student ({type(model).__name__}) is a classifier, but its teacher tells directions of embeddings "
            f"apart, which are no labels; give a student without a classification head, such as some of the teacher's "
            f"layers"
        )
    elif model.config.num_labels != teacher.model.num_labels:
        raise UsageError(
            f"the student has {model.config.num_labels} labels, but its teacher has "
            f"{teacher.model.num_labels}; give it a new head with smi_hf.distillation.load_student"
        )
    kinds = {weight.dtype for weight in model.parameters() if weight.is_floating_point()} - {torch.float32}
    if kinds:
        raise UsageError(
            f"the student's weights are {str(kinds.pop()).removeprefix('torch.')}, which training rounds away; load "
            f"it in float32, and choose --bf16 or --fp16 for what is computed from them"
        )


def check_last_batch(model: PreTrainedModel, num_views: int, batch_size: int) -> None:
    """Checks that the last batch is not one image where a student normalizes by the batch, whose variance it has not.

    Args:
        num_views: that an epoch shows.
    """
    has_one = min(batch_size, num_views) == 1 or num_views % batch_size == 1
    if has_one and any(isinstance(module, _BatchNorm) for module in model.modules()):
        raise UsageError(
            f"the student normalizes by the mean of a batch, but {num_views} views in batches of {batch_size} leave "
            f"one image to the last; give another per_device_train_batch_size"
        )


@torch.no_grad()
def size_made_for(model: PreTrainedModel, image_processor: Any) -> tuple[int, int] | None:
    """(height, width) in pixels that a student's image processor makes; None if it depends on the picture.

    Raises:
        UsageError: the student does not take what its image processor makes.
    """
    wide, tall = Image.new("RGB", (96, 64)), Image.new("RGB", (64, 96))
    batches = [torch.from_numpy(preprocess([picture], image_processor)) for picture in (wide, tall)]
    sizes = {tuple(pixels_BCHW.shape[2:]) for pixels_BCHW in batches}
    try:
        with evaluating(model):
            model(pixel_values=batches[0].to(model.device))
    # What models raise for sizes that they do not take.
    except (ValueError, RuntimeError) as error:
        height, width = batches[0].shape[2:]
        raise UsageError(
            f"the student's image processor makes images of {height}x{width} px, which the student does not take "
            f"({one_line(error)}); mend its preprocessor_config.json"
        ) from error
    return sizes.pop() if len(sizes) == 1 else None
