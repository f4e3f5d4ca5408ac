"""What loss terms borrow: a network with batch normalization, a student, and the images of another dataset.

Legend: `B` images, `K` kept patches, `L` labels, `M` remembered images, `D` hidden size, `C` channels, `H W` pixels,
`P Q` patch pixels.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from smi_hf.data import load_sparse_dataset
from smi_hf.errors import UsageError
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.losses import ChannelStatistics, needs_of
from smi_hf.models import Classifier, SparseClassifier, Teacher, load_classifier
from smi_hf.models.lookup import find_family, why_dense
from smi_hf.models.preprocessing import normalization_of
from smi_hf.models.watching import forward_watched
from smi_hf.patches import Normalization, PatchGrid
from smi_hf.patches.grid import both_sides

# From augmented patches in the teacher's units and their places to what a helper says of them.
BatchStatistics = Callable[[Tensor, Tensor], tuple[ChannelStatistics, ...]]
Logits = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Helpers:
    """What the loss terms of a run borrow; nothing where none asks.

    Args:
        batch_statistics: of the batch normalizations of the helper model.
        student_logits: the student's answer, (B, L).
        memory_MD: the teacher's features of remembered images.
        settings: what the record says of them, by the name of the option.
    """

    batch_statistics: BatchStatistics | None = None
    student_logits: Logits | None = None
    memory_MD: Tensor | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def load_helpers(config: SparseInversionConfig, teacher: Teacher, *, device: torch.device | str = "cpu") -> Helpers:
    """Loads what the loss terms in use ask for.

    Args:
        teacher: on `device`.

    Raises:
        UsageError: a helper cannot be loaded, or does not fit the teacher.
    """
    needs = needs_of(config.term_weights)
    parts: dict[str, Any] = {"settings": {}}
    if "batch_statistics" in needs:
        classifier = _load(config, "batch_norm_model")
        parts["batch_statistics"] = watch_batch_norms(classifier, teacher, device)
        parts["settings"]["batch_norm_model"] = _named(classifier)
    if "student_logits_BL" in needs:
        classifier = _load(config, "student_model")
        parts["student_logits"] = ask_student(classifier, teacher, device)
        parts["settings"]["student_model"] = _named(classifier)
    if "memory_MD" in needs:
        parts["memory_MD"], parts["settings"]["memory_dataset"] = _remember(config, teacher)
        parts["settings"]["memory_images"] = len(parts["memory_MD"])
    return Helpers(**parts)


def _load(config: SparseInversionConfig, option: str) -> Classifier:
    try:
        return load_classifier(
            getattr(config, option), allow_pickle=config.helper_allow_pickle, pickle_option="--helper_allow_pickle"
        )
    except UsageError as error:
        raise UsageError(f"{option}: {error}") from error


def _named(classifier: Classifier) -> dict[str, Any]:
    reference = classifier.reference()
    license = reference.license.id if reference.license else None
    return {
        "name": reference.name,
        "revision": reference.revision,
        "sha256": reference.weights_sha256,
        "license": " and ".join(license) if isinstance(license, list) else license,
    }


def watch_batch_norms(classifier: Classifier, teacher: Teacher, device: torch.device | str) -> BatchStatistics:
    """A function that shows images to a classifier and gives what its batch normalizations see of each.

    Raises:
        UsageError: the classifier has none.
    """
    layers = [module for module in classifier.model.modules() if isinstance(module, nn.BatchNorm2d)]
    if not layers or any(layer.running_mean is None for layer in layers):
        raise UsageError(
            f"batch_norm_model {classifier.name!r} is a {classifier.model.config.model_type!r} model without batch "
            f"normalization that remembers its statistics; give a convolutional classifier such as a ResNet"
        )
    show = _filled_view(classifier, teacher.model.grid, teacher.normalization, device)

    def observe(patches_BKCPQ: Tensor, places_BK: Tensor) -> tuple[ChannelStatistics, ...]:
        found: list[ChannelStatistics] = []
        with ExitStack() as stack:
            for layer in layers:
                stack.callback(layer.register_forward_pre_hook(lambda *call: found.append(_statistics(*call))).remove)
            show(patches_BKCPQ, places_BK)
        return tuple(found)

    return observe


def _statistics(layer: nn.BatchNorm2d, arguments: tuple[Tensor, ...]) -> ChannelStatistics:
    channels_BCHW = arguments[0].float()
    variance_BC, mean_BC = torch.var_mean(channels_BCHW, dim=(2, 3), correction=0)
    return ChannelStatistics(mean_BC, variance_BC, layer.running_mean, layer.running_var)


def ask_student(classifier: Classifier, teacher: Teacher, device: torch.device | str) -> Logits:
    """A function that gives a classifier's answer to kept patches: to them alone if it can, else to filled images.

    Raises:
        UsageError: it has another number of labels than the teacher.
    """
    if classifier.model.config.num_labels != len(teacher.label_names):
        raise UsageError(
            f"student_model {classifier.name!r} has {classifier.model.config.num_labels} labels, but the teacher has "
            f"{len(teacher.label_names)}; give a classifier of the same labels"
        )
    grid = teacher.model.grid
    if not _sees_patches(classifier.model, grid):
        return _filled_view(classifier, grid, teacher.normalization, device)
    wanted = normalization_of(classifier.image_processor, classifier.model.config)
    student = SparseClassifier(classifier.model, grid.image_size).freeze()
    student.verify()
    student.to(device).freeze()

    def answer(patches_BKCPQ: Tensor, places_BK: Tensor) -> Tensor:
        return student.forward_patches(teacher.normalization.converted(patches_BKCPQ, wanted), places_BK).logits

    return answer


def _sees_patches(model: PreTrainedModel, grid: PatchGrid) -> bool:
    if why_dense(model) is not None:
        return False
    family = find_family(model)
    own = family.native_grid(model)
    return (own.image_size == grid.image_size or family.interpolates_by_itself) and own.patch_size == grid.patch_size


def _filled_view(classifier: Classifier, grid: PatchGrid, given: Normalization, device: torch.device | str) -> Logits:
    """A function that shows whole images to a classifier, pruned patches in the mean color, and gives its logits.

    They are resized to the size that its configuration names; a convolutional one names none.
    """
    model = classifier.model.to(device).eval().requires_grad_(False)
    wanted = normalization_of(classifier.image_processor, model.config)
    size = both_sides(getattr(model.config, "image_size", None) or grid.image_size)

    def answer(patches_BKCPQ: Tensor, places_BK: Tensor) -> Tensor:
        images_BCHW = grid.paste(given.converted(patches_BKCPQ, wanted), places_BK, fill=0)
        if size != grid.image_size:
            images_BCHW = nn.functional.interpolate(images_BCHW, size, mode="bilinear", antialias=True)
        return model(pixel_values=images_BCHW).logits

    return answer


@torch.no_grad()
def _remember(config: SparseInversionConfig, teacher: Teacher) -> tuple[Tensor, dict[str, Any]]:
    """The teacher's features of the first images of a dataset, (M, D), and what the record says of it."""
    try:
        dataset = load_sparse_dataset(config.memory_dataset, teacher=teacher)
    except UsageError as error:
        raise UsageError(f"memory_dataset: {error}") from error
    num_images = min(config.memory_images, len(dataset))
    device = next(teacher.model.parameters()).device
    features = []
    # One at a time: the rounding of a batch depends on its size, and what is remembered must not.
    for number in range(num_images):
        batch = dataset.batch([number])
        pixels_1CHW, kept_1K = batch["pixel_values"].to(device), batch["kept_patches"].to(device)
        patches_1KCPQ = teacher.model.grid.cut(pixels_1CHW, kept_1K)
        _, seen = forward_watched(teacher.model, patches_1KCPQ, kept_1K, ("features_BD",))
        features.append(seen["features_BD"])
    digest = dataset.record.results["content_sha256"]
    return torch.cat(features), {"name": dataset.name, "revision": dataset.revision, "sha256": digest}
