"""Quantization-aware training: a student that computes as its quantized self will, while its weights still learn.

`SparseDistillationTrainer` trains it with the full-precision model as its teacher, so no data is needed. What quanto
does not do by itself and is done here: where weights of few bits start, and a saved folder.

Gradients are quanto's own. Rounding is passed straight through, to the float weights behind the integers and to what
enters a layer, also where a value is clipped.

Legend: `G` groups of weights that share a scale and a shift, `S` weights of a group.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends.base import BACKENDS, check_settings, choose_layers
from smi_hf.quantization.backends.quanto import linear_layers, quantized_layers, save_model, unfrozen_copy
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.qat.gptq import RoundedWeights, round_layers
from smi_hf.quantization.qat.weight_grids import least_squares_range


def quantize_for_training(
    model: SparseClassifier,
    images: KeptImages | None,
    settings: QuantizationConfig,
    *,
    disable_tqdm: bool = False,
) -> PreTrainedModel:
    """A float32 copy of a classifier that quanto has quantized and not frozen: the student of that classifier.

    Scales of activations are calibrated as by the back end "quanto", and stay. Weights of 4 and 2 bits start where
    `round_layers` puts them, their ranges too, which stay. quanto's own ranges reach from a group's smallest to its
    largest weight, which at 2 bits leaves three weights in four on the two middle values.

    Args:
        model: the teacher's (`teacher.model`), on any device; left as it is.
        images: calibration set, kept patches alone. If None, activations must stay in floating point, and weights are
            rounded to the nearest value of the range of the smallest squared error.
        settings: widths and exclusions of the back end "quanto".

    Returns:
        A model on the CPU, every parameter of which requires a gradient. `Trainer` saves it as any other, its state
        dict under the names of the modules, but `from_pretrained` reads no quantized model: `freeze_and_save` it.

    Raises:
        UsageError: the back end cannot do what the settings ask, or there is no calibration set.
    """
    check_settings("quanto", settings)
    teacher = model.around(copy.deepcopy(model.model).to("cpu", torch.float32).eval())
    layers = choose_layers(linear_layers(teacher), BACKENDS.get("quanto"), settings)
    student = unfrozen_copy(teacher, images, settings, layers).model
    if settings.weights < 8:
        _set_starting_weights(student, teacher, images, settings.weights, disable_tqdm)
    # Has transformers 5 save checkpoints under the names of the modules; else it takes those of transformers 4, which
    # only its from_pretrained turns back.
    student._weight_conversions = []
    return student.requires_grad_(True)


def _set_starting_weights(
    student: PreTrainedModel, model: SparseClassifier, images: KeptImages | None, bits: int, disable_tqdm: bool
) -> None:
    """Gives each quantized layer its weights and their range; `model`, a copy in float32, is used up."""
    layers = quantized_layers(student)
    group_sizes = {name: layers[name].weight_group_size for name in linear_layers(model) if name in layers}
    found: dict[str, RoundedWeights] = {}
    if images is not None:
        found = round_layers(model, group_sizes, bits, images, disable_tqdm=disable_tqdm)
    for name, layer in layers.items():
        if images is None:
            weights_GS = layer.weight.detach().reshape(-1, group_sizes[name] or layer.in_features)
            layer.optimizer = WeightRange(*least_squares_range(weights_GS, bits))
        else:
            layer.weight.data.copy_(found[name].weights_OI)
            layer.optimizer = WeightRange(found[name].scale_G1, found[name].shift_G1)


def freeze_and_save(model: PreTrainedModel, folder: Path) -> None:
    """Writes a student in the format of the back end "quanto", for `load_model` and `smi-hf evaluate`.

    Its logits are those of the student in evaluation mode on the CPU, bit by bit. The student is left as it is, and
    can be trained on.

    Args:
        model: what `quantize_for_training` returned, on any device.
        folder: does not exist yet.
    """
    from optimum.quanto import freeze

    frozen = copy.deepcopy(model).to("cpu", torch.float32).eval()
    freeze(frozen)
    for layer in quantized_layers(frozen).values():
        # It has been asked for the last time, and its state is no part of the format.
        del layer.optimizer
    save_model(frozen, folder)


class WeightRange(nn.Module):
    """Scale and shift of every group of a layer's weights, for quanto to ask at each forward.

    quanto's `optimizer`, in its words: what a layer calls for them. As a module its state moves with the layer's, and
    is in its checkpoint.

    Args:
        scale_G1, shift_G1: values are `scale * code - shift`; groups are consecutive weights of a row.
    """

    def __init__(self, scale_G1: Tensor, shift_G1: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale_G1)
        self.register_buffer("shift", shift_G1)

    def forward(self, base: Tensor, **format: Any) -> tuple[Tensor, Tensor]:
        return self.scale, self.shift
