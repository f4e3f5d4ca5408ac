"""Quantization-aware training: a student that computes as its quantized self will, while its weights still learn.

`SparseDistillationTrainer` trains it with the full-precision model as its teacher, so no data is needed. What quanto
does not do by itself and is done here: ranges of the weights that fit few bits, and a saved folder.

Gradients are quanto's own. Rounding is passed straight through, to the float weights behind the integers and to what
enters a layer, also where a value is clipped.

Legend: `G` groups of weights that share a scale, `S` weights of a group.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from smi_hf.data.patch_sets import PatchSet
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends.base import BACKENDS, QuantizationSettings, check_settings, choose_layers
from smi_hf.quantization.backends.quanto import linear_layers, quantized_layers, save_model, unfrozen_copy

# Where the search for a group's range starts: from, to, as shares of the way from its smallest to its largest weight.
_REACHES = [(left / 20, 1 - right / 20) for left in range(9) for right in range(9)]
_NUM_TURNS = 10


def quantize_for_training(
    model: SparseClassifier, images: PatchSet | None, settings: QuantizationSettings
) -> PreTrainedModel:
    """A float32 copy of a classifier that quanto has quantized and not frozen: the student of that classifier.

    Scales of activations are calibrated as by the back end "quanto", and stay. So do the ranges of weights of 4 and 2
    bits, in each group those of the smallest squared error: quanto's own reach from a group's smallest to its largest
    weight, which at 2 bits leaves three weights in four on the two middle values.

    Args:
        model: the teacher's (`teacher.model`), on any device; left as it is.
        images: calibration set, kept patches alone; not looked at if activations stay in floating point.
        settings: widths and exclusions of the back end "quanto".

    Returns:
        A model on the CPU, every parameter of which requires a gradient. `Trainer` saves it as any other, its state
        dict under the names of the modules, but `from_pretrained` reads no quantized model: `freeze_and_save` it.

    Raises:
        UsageError: the back end cannot do what the settings ask, or there is no calibration set.
    """
    check_settings("quanto", settings)
    teacher = SparseClassifier(copy.deepcopy(model.model).to("cpu", torch.float32).eval(), model.grid.image_size)
    layers = choose_layers(linear_layers(teacher), BACKENDS.get("quanto"), settings)
    student = unfrozen_copy(teacher, images, settings, layers).model
    if settings.weights < 8:
        for layer in quantized_layers(student).values():
            layer.optimizer = WeightRange(layer.weight, settings.weights, layer.weight_group_size)
    # Has transformers 5 save checkpoints under the names of the modules; else it takes those of transformers 4, which
    # only its from_pretrained turns back.
    student._weight_conversions = []
    return student.requires_grad_(True)


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
        weight: of a Linear layer.
        bits: 2 or 4.
        group_size: weights of a group; None if every row is one.
    """

    def __init__(self, weight: Tensor, bits: int, group_size: int | None) -> None:
        super().__init__()
        scale_G1, shift_G1 = least_squares_range(weight.detach().reshape(-1, group_size or weight.shape[1]), bits)
        self.register_buffer("scale", scale_G1)
        self.register_buffer("shift", shift_G1)

    def forward(self, base: Tensor, **format: Any) -> tuple[Tensor, Tensor]:
        return self.scale, self.shift


def least_squares_range(weights_GS: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Scale and shift, (G, 1) each, of the smallest squared error when a group's weights are rounded to a few values.

    Those values are `scale * code - shift` for codes from 0 to `2**bits - 1`. The best of many reaches is improved by
    turns: the nearest code of each weight, then the line through (code, weight), by least squares.
    """
    last = 2**bits - 1
    low_G1, high_G1 = weights_GS.aminmax(dim=1, keepdim=True)
    mean_G1 = weights_GS.mean(dim=1, keepdim=True)
    # A group of equal weights has no reach: its shift alone represents it, whatever the scale.
    smallest = torch.finfo(weights_GS.dtype).tiny ** 0.5
    best: tuple[Tensor, Tensor] = (torch.full_like(mean_G1, smallest), -mean_G1)
    error_G1 = _error(weights_GS, *best, last)
    for left, right in _REACHES:
        least_G1 = low_G1 + left * (high_G1 - low_G1)
        scale_G1 = ((right - left) * (high_G1 - low_G1) / last).clamp_min(smallest)
        best, error_G1 = _better(weights_GS, best, error_G1, (scale_G1, -least_G1), last)
    for _ in range(_NUM_TURNS):
        codes_GS = _codes(weights_GS, *best, last)
        middle_G1 = codes_GS.mean(dim=1, keepdim=True)
        away_GS = codes_GS - middle_G1
        slope_G1 = (away_GS * weights_GS).sum(dim=1, keepdim=True) / away_GS.square().sum(dim=1, keepdim=True)
        # All weights at one code have no line through them.
        scale_G1 = torch.where(slope_G1.isfinite(), slope_G1, best[0]).clamp_min(smallest)
        best, error_G1 = _better(weights_GS, best, error_G1, (scale_G1, scale_G1 * middle_G1 - mean_G1), last)
    return best


def _better(
    weights_GS: Tensor, best: tuple[Tensor, Tensor], error_G1: Tensor, new: tuple[Tensor, Tensor], last: int
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Of two ranges, for each group the one of the smaller error, and that error."""
    new_error_G1 = _error(weights_GS, *new, last)
    is_better_G1 = new_error_G1 < error_G1
    scale_G1, shift_G1 = (torch.where(is_better_G1, after, before) for after, before in zip(new, best))
    return (scale_G1, shift_G1), torch.minimum(new_error_G1, error_G1)


def _error(weights_GS: Tensor, scale_G1: Tensor, shift_G1: Tensor, last: int) -> Tensor:
    rounded_GS = scale_G1 * _codes(weights_GS, scale_G1, shift_G1, last) - shift_G1
    return (rounded_GS - weights_GS).square().sum(dim=1, keepdim=True)


def _codes(weights_GS: Tensor, scale_G1: Tensor, shift_G1: Tensor, last: int) -> Tensor:
    return ((weights_GS + shift_G1) / scale_G1).round().clamp(0, last)
