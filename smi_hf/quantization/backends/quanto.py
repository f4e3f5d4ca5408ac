"""optimum-quanto: integer weights and inputs of Linear layers, in PyTorch.

Linear layers alone. The patch embedding, a convolution, stays in floating point: quanto computes convolutions in
floating point whatever their widths, a plain ViT has one, of 1 to 3 % of its weights, and the sparse forward reads its
weight as a matrix.

Inputs are quantized and outputs are not. No operator between two Linear layers of a ViT computes in integers, so a
quantized output is turned back into floating point at once: rounding (and clipping, of the logits too) for nothing.

Two int8 operands are multiplied in int8. Any other mixture is computed in floating point: weights of 4 and 2 bits (in
groups of 128, 96, 64 or 32 inputs, the most that divides a layer's, or in whole rows) are smaller on disk and in
memory, and are unpacked at each forward, which costs time.

Legend: `B` images, `C H W` image pixels, `L` labels.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedModel

from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher, VisionClassifier
from smi_hf.models.bare import model_from_config
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig
from smi_hf.quantization.stock import stock_answer

# What quanto's own QuantizedTransformersModel calls them.
QUANTIZATION_MAP_FILE = "quanto_qmap.json"
WEIGHTS_FILE = "model.safetensors"


@register_backend("quanto")
class QuantoBackend:
    """Writes quanto's own format; `load_model` reads it as a PyTorch classifier."""

    extra = "quanto"
    widths = ((8, 8), (4, 8), (2, 8), (8, 32), (4, 32), (2, 32))
    operators = ("Linear",)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("quanto", "optimum-quanto", ("quanto",))

    def prepare(self, teacher: Teacher, work: Path) -> "QuantoFloatModel":
        """A float32 copy of the teacher on the CPU; the teacher itself is left as it is."""
        model = copy.deepcopy(teacher.model.model).to("cpu", torch.float32).eval()
        folder = work / "float"
        # A copy, as save_pretrained writes to the configuration that it saves.
        copy.deepcopy(model).save_pretrained(folder)
        vision = teacher.model.around(model)
        return QuantoFloatModel(vision, folder, linear_layers(vision))

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / QUANTIZATION_MAP_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The answer to images (B, C, H, W) of any size that the model takes.

        Raises:
            UsageError: as `load_model`.
        """
        return stock_answer(load_model(folder), folder)


@dataclass(frozen=True)
class QuantoFloatModel:
    """A teacher in float32, ready to be quantized; see `FloatModel`.

    Args:
        model: a copy of the teacher that no quantization changes.
        folder: float checkpoint.
        layers: "Linear" by name of module, in the order of the forward pass.
    """

    model: VisionClassifier
    folder: Path
    layers: Mapping[str, str]

    def load(self) -> Answer:
        return stock_answer(self.model.model, self.model.head)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a quantized copy; `calibration` is not looked at if activations stay in floating point.

        Raises:
            UsageError: activations are to be quantized and there is no calibration set.
        """
        save_model(quantized_copy(self.model, calibration, settings, layers).model, folder)


def linear_layers(model: VisionClassifier) -> dict[str, str]:
    """Type by name of every Linear layer that a forward calls, in the order of the calls."""
    called: dict[str, str] = {}
    with linear_layers_watched(model, lambda name, inputs, outputs: called.setdefault(name, "Linear")):
        model(torch.zeros(1, model.num_channels, *model.grid.image_size))
    return called


def activation_maxima(model: VisionClassifier, calibration: KeptImages) -> dict[str, tuple[Tensor, Tensor]]:
    """Absolute maximum of what enters and what leaves each Linear layer, by name: scalars, over all images.

    Kept patches alone, in floating point, so neither the order of the images nor the size of a batch matters.
    """
    maxima: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, inputs: Tensor, outputs: Tensor) -> None:
        seen = inputs.abs().amax(), outputs.abs().amax()
        before = maxima.get(name, seen)
        maxima[name] = torch.maximum(before[0], seen[0]), torch.maximum(before[1], seen[1])

    with linear_layers_watched(model, note):
        for pixels_BCHW, kept_BK in calibration.batches():
            model(pixels_BCHW, kept_BK)
    return maxima


def quantized_copy(
    model: VisionClassifier, calibration: KeptImages | None, settings: QuantizationConfig, layers: Sequence[str]
) -> VisionClassifier:
    """A copy of a float32 classifier with the named Linear layers quantized and frozen.

    Raises:
        UsageError: activations are to be quantized and there is no calibration set.
    """
    from optimum.quanto import freeze

    quantized = unfrozen_copy(model, calibration, settings, layers)
    freeze(quantized.model)
    return quantized


def unfrozen_copy(
    model: VisionClassifier, calibration: KeptImages | None, settings: QuantizationConfig, layers: Sequence[str]
) -> VisionClassifier:
    """As `quantized_copy`, but weights are kept in floating point and quantized anew at each forward.

    Not by quanto's `Calibration`: that averages over batches with a momentum, so scales depend on the order and number
    of batches (the argument that would change it is not applied to inputs), and what exceeds the average is clipped.
    Scales here are those of min-max calibration, and no less accurate.

    Raises:
        UsageError: activations are to be quantized and there is no calibration set.
    """
    from optimum.quanto import quantize

    is_calibrated = settings.activations != FLOAT_BITS
    if is_calibrated and calibration is None:
        raise UsageError(
            f"back end 'quanto' has no dynamic quantization: give it calibration images for activations of "
            f"{settings.activations} bits, or leave activations in floating point ({FLOAT_BITS})"
        )
    _unpack_without_compiler()
    quantized = model.around(copy.deepcopy(model.model))
    quantize(
        quantized.model,
        weights=f"qint{settings.weights}",
        activations=f"qint{settings.activations}" if is_calibrated else None,
        include=list(layers),
    )
    _keep_outputs_in_float(quantized.model)
    if is_calibrated:
        maxima = activation_maxima(model, calibration)
        for name, layer in quantized_layers(quantized.model).items():
            # Outputs' too, for those who load the model by quanto's own class: see load_model.
            layer.input_scale, layer.output_scale = (_scale(maximum, settings.activations) for maximum in maxima[name])
    return quantized


def _scale(maximum: Tensor, bits: int) -> Tensor:
    # A layer that was shown nothing but zeros must not divide by zero.
    return (maximum / (2 ** (bits - 1) - 1)).clamp_min(torch.finfo(maximum.dtype).tiny)


@contextmanager
def linear_layers_watched(model: VisionClassifier, note: Callable[[str, Tensor, Tensor], object]) -> Iterator[None]:
    """While it lasts, `note` gets name, inputs and outputs of each call of a Linear layer; no gradients are kept."""
    names = {module: name for name, module in model.model.named_modules() if isinstance(module, nn.Linear)}

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], outputs: Tensor) -> None:
        note(names[module], inputs[0], outputs)

    hooks = [module.register_forward_hook(hook) for module in names]
    try:
        with torch.no_grad():
            yield
    finally:
        for handle in hooks:
            handle.remove()


def save_model(model: PreTrainedModel, folder: Path) -> None:
    """Writes what a subclass of `optimum.quanto.QuantizedTransformersModel` for images reads.

    Not by its `save_pretrained`: that calls the model's, which under transformers 5 gives weights the names of a
    transformers 4 checkpoint, while its `from_pretrained` wants the names of the modules. It then finds no weight,
    says nothing, and returns a model of uninitialized memory. `load_model` refuses such a folder.
    """
    from optimum.quanto import quantization_map
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    config = copy.deepcopy(model.config)
    # Which of a configuration's classifiers it is: DeiT has two.
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / QUANTIZATION_MAP_FILE).write_text(json.dumps(quantization_map(model), indent=2) + "\n")


def load_model(folder: Path) -> PreTrainedModel:
    """The quantized classifier of a folder, in evaluation mode on the CPU; its sparse forward works as any other's.

    quanto's own class loads the folder too, but then every layer quantizes its output, as its format does not say that
    they stayed in floating point. Where images are unlike the calibration set, logits are clipped and accuracy is
    lost: call `disable_output_quantization()` on each `QModuleMixin` of the model, as is done here.

    Raises:
        UsageError: its weights are not those of its configuration, under this version of transformers.
    """
    from accelerate import init_empty_weights
    from optimum.quanto import requantize
    from safetensors.torch import load_file

    _unpack_without_compiler()
    # Buffers are made for real: those that are no part of a checkpoint would be uninitialized memory.
    with init_empty_weights(include_buffers=False):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = model_from_config(config)
    weights: dict[str, Tensor] = load_file(folder / WEIGHTS_FILE)
    expected = set(weights)
    requantize(model, weights, json.loads((folder / QUANTIZATION_MAP_FILE).read_text()))
    # requantize takes what it finds and says nothing of the rest.
    if strange := sorted(set(model.state_dict()) ^ expected):
        raise UsageError(
            f"the quantized weights in {folder} are not those of its configuration ({strange[0]!r} is in one of them "
            f"alone); modules have other names under transformers 4 and 5, so load it under the version that wrote it"
        )
    _keep_outputs_in_float(model)
    return model.eval()


def quantized_layers(model: PreTrainedModel) -> dict[str, Any]:
    """The layers that quanto computes, a `QModuleMixin` each, by name."""
    from optimum.quanto import QModuleMixin

    return {name: module for name, module in model.named_modules() if isinstance(module, QModuleMixin)}


def _keep_outputs_in_float(model: PreTrainedModel) -> None:
    for layer in quantized_layers(model).values():
        layer.disable_output_quantization()


def _unpack(packed: Tensor, bits: int) -> Tensor:
    """Integers of 4 or 2 bits from bytes, uint8: the lowest bits of every row first, as quanto packs them."""
    return torch.cat([packed >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)])


def _unpack_without_compiler() -> None:
    """Has weights of 4 and 2 bits unpacked on the CPU by three tensor operations of Python.

    quanto has the same in C++, no faster, and would compile it into site-packages at the first forward: a minute or
    two of silence, or an error where there is no compiler, no ninja or no right to write. Its own Python version is
    hidden behind it.
    """
    from optimum.quanto.library import get_extension

    extension = get_extension("quanto_cpp")
    if extension._lib is None:
        extension._lib = SimpleNamespace(unpack=_unpack)
