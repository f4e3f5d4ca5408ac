"""OpenVINO through NNCF: static int8, per-channel symmetric weights, min-max activations; or integer weights alone.

A model is converted in two halves, the embeddings and all that is behind them. The second half takes any number of
tokens, so it is calibrated on those of the kept patches; then the first is grafted before it. One without such halves
is converted whole.

OpenVINO's converter is called directly in both lanes: optimum-intel's exporter fails on DINOv2 (1.27), or knows it and
ViT-MSN no more (2.2, for transformers below 5.6); that of transformers takes many times as long, and gives operators
numbers for names. What is written is laid out as the lane's own exporter does.

Legend: `B` images, `T` tokens, `D` hidden size, `C` channels, `H W` image pixels.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smi_hf.environment import dependency_lane
from smi_hf.errors import RunError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher, VisionClassifier
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig
from smi_hf.quantization.exports.halves import (
    Embeddings,
    calibration_inputs,
    examples,
    ready_to_trace,
    unmasked_attention,
)
from smi_hf.quantization.exports.quiet import quiet

MODEL_FILE = "openvino_model.xml"
# Types of operators that NNCF quantizes in a transformer; it leaves norms, GELU and residual sums alone.
_QUANTIZABLE = ("Convolution", "MatMul", "ScaledDotProductAttention")


@register_backend("openvino")
class OpenVINOBackend:
    """Writes what the lane's own loader reads: Optimum's `OVModelForImageClassification`, or transformers 5's
    `ExportedModel`.
    """

    extra = "openvino"
    widths = ((8, 8), (8, 32), (4, 32))
    operators = ("all",)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("OpenVINO", "optimum" if dependency_lane() == "full" else "transformers", ("openvino", "nncf"))

    def prepare(self, teacher: Teacher, work: Path) -> "OpenVINOFloatModel":
        """Converts the teacher, in memory and on the CPU, for images of its grid's size and batches of any.

        Raises:
            RunError: OpenVINO cannot convert it.
        """
        return OpenVINOFloatModel(teacher, work / "float")

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The answer of the model of either lane; what is in floating point is computed in float32.

        Left to itself, OpenVINO takes bfloat16 on CPUs that have it: then float32 would not be what it is called, and
        its time would say nothing of other CPUs.
        """
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        model = openvino_core().compile_model(folder / MODEL_FILE, "CPU", options)

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return model({"pixel_values": pixels_BCHW})[0].copy()

        return predict


class OpenVINOFloatModel:
    """The two halves in float32, in memory, and the whole on disk.

    Args:
        teacher: what is converted.
        folder: where to write it; does not exist yet.

    Raises:
        RunError: OpenVINO cannot convert it.
    """

    def __init__(self, teacher: Teacher, folder: Path) -> None:
        self.teacher = teacher
        self.folder = folder
        self._embeddings, self._encoder = convert_halves(teacher.model)
        halves = (half for half in (self._embeddings, self._encoder) if half is not None)
        self.layers = {name: kind for half in halves for name, kind in _layers(half)}
        self._save(_joined(self._embeddings, self._encoder), folder)

    def load(self) -> Answer:
        return OpenVINOBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a quantized model.

        Args:
            calibration: needed where activations are quantized; integer weights alone don't look at it.
            settings: 8/8, or weights of 8 or 4 bits with activations of 32. NNCF has no 4-bit convolutions, and makes
                one 8 bits wide; in 8/8 it keeps one within 7 bits, which cannot overflow on CPUs without VNNI.
            layers: names of the layers to quantize; one without weights stays as it is where activations do.
            folder: does not exist yet.
        """
        if settings.activations == FLOAT_BITS:
            whole = _with_integer_weights(_joined(self._embeddings, self._encoder), settings.weights, layers)
        else:
            assert calibration is not None, "back end 'openvino' has no dynamic quantization"
            model = self.teacher.model
            embeddings = self._embeddings
            if embeddings is not None:
                embeddings = _quantized(embeddings, calibration.filled_images(model.grid), layers, model)
            whole = _joined(
                embeddings, _quantized(self._encoder, calibration_inputs(calibration, model), layers, model)
            )
        self._save(whole, folder)

    def _save(self, whole: Any, folder: Path) -> None:
        if dependency_lane() == "full":
            from optimum.intel import OVModelForCustomTasks, OVModelForImageClassification

            model = self.teacher.model
            model_class = OVModelForImageClassification if model.head is None else OVModelForCustomTasks
            model_class(whole, config=model.config, compile=False).save_pretrained(folder)
        else:
            from transformers.exporters import ExportFormat

            from smi_hf.quantization.exports.manifest import exported_model

            exported_model(self.teacher, whole, ExportFormat.OPENVINO, ("openvino",)).save_pretrained(folder)


def import_openvino() -> Any:
    """The openvino package, imported so that neither it nor NNCF reports to its makers that it was used."""
    # Both do so unasked, over the network, unless this package is missing: each has a stub for that.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """The one `openvino.Core` of this process.

    A Core gives the thread a stack for signals, and takes it away when it ends. If two end in another order than they
    began (each lives as long as its models), that stack is gone: the next signal, as of Ctrl-C, would end the process.
    """
    return import_openvino().Core()


@torch.no_grad()
def convert_halves(model: VisionClassifier) -> tuple[Any | None, Any]:
    """A model as two float32 OpenVINO models: embeddings (B, C, H, W) -> (B, T, D), encoder (B, T, D) -> answer.

    B and T are dynamic. Operators have the names that they would have in one conversion of the whole. Of a model
    without such halves the second one is the whole, (B, C, H, W) -> answer, and there is no first.

    Raises:
        RunError: it cannot be converted.
    """
    openvino = import_openvino()
    pixels_BCHW, tokens_BTD = examples(model)
    unmasked = nullcontext() if dependency_lane() == "full" else unmasked_attention(model)
    of_images = [-1, *pixels_BCHW.shape[1:]]
    embeddings = None
    with unmasked, ready_to_trace(model):
        if tokens_BTD is None:
            model.dense_answer(pixels_BCHW)
            encoder = _convert(model.model, {"pixel_values": pixels_BCHW}, of_images, model)
        else:
            module = Embeddings(model).eval()
            module(pixels_BCHW)
            embeddings = _convert(module, pixels_BCHW, of_images, model)
            packed = model.family.packed(tokens_BTD)
            with model.embeddings_bypassed():
                encoder = _convert(model.model, {"pixel_values": packed}, [-1, -1, *packed.shape[2:]], model)
    # A tensor has several names after conversion, and optimum takes any one of them.
    (encoder if embeddings is None else embeddings).input(0).get_tensor().set_names({"pixel_values"})
    # DeiT with a distillation head gives the logits of each head as well, and a backbone all tokens.
    return embeddings, openvino.Model([encoder.output(model.answer_name).get_node()], encoder.get_parameters())


def _convert(module: nn.Module, example: Any, shape: list[int], model: VisionClassifier) -> Any:
    openvino = import_openvino()
    from openvino.frontend import GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure

    failures = (GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure, RuntimeError)
    try:
        with quiet("transformers"):
            return openvino.convert_model(module, example_input=example, input=shape)
    except failures as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise RunError(
            f"{model.config.model_type!r} could not be converted to OpenVINO: {type(error).__name__}: {reason}"
        ) from error


def _layers(half: Any) -> Iterator[tuple[str, str]]:
    for operator in half.get_ordered_ops():
        if operator.get_type_name() in _QUANTIZABLE:
            yield operator.get_friendly_name(), operator.get_type_name()


def _joined(embeddings: Any | None, encoder: Any) -> Any:
    """One model of two halves, which stay as they are; a copy of the second where there is no first."""
    openvino = import_openvino()
    if embeddings is None:
        return encoder.clone()
    embeddings, encoder = embeddings.clone(), encoder.clone()
    tokens = embeddings.output(0).get_node().input_value(0)
    for reader in encoder.input(0).get_target_inputs():
        reader.replace_source_output(tokens)
    return openvino.Model(encoder.get_results(), embeddings.get_parameters())


def _quantized(half: Any, batches: Iterable[Tensor], layers: Sequence[str], model: VisionClassifier) -> Any:
    """A half in int8 where it holds some of the layers; else itself, and nothing is calibrated.

    Activations range from minimum to maximum over all batches; NNCF then moves one end outwards, for zero to have an
    integer, and makes queries and keys, both factors of one product, symmetric. So no SmoothQuant, which rescales
    channels before they are measured, and takes DeiT-Tiny calibrated on sparse images from 85.0 to 82.2 % of 1000
    photographs; and no bias correction, which takes it to 84.8.
    """
    names = {name for name, _ in _layers(half)}
    if not names & set(layers):
        return half
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    data = [batch.numpy() for batch in batches]
    with quiet("nncf"):
        return nncf.quantize(
            half,
            nncf.Dataset(data),
            subset_size=len(data),
            preset=nncf.QuantizationPreset.MIXED,
            # NNCF knows transformers, and everything else.
            model_type=nncf.ModelType.TRANSFORMER if model.is_sparse else None,
            ignored_scope=nncf.IgnoredScope(names=sorted(names - set(layers))),
            advanced_parameters=AdvancedQuantizationParameters(
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
                smooth_quant_alphas=AdvancedSmoothQuantParameters(convolution=-1, matmul=-1),
                disable_bias_correction=True,
            ),
        )


def _with_integer_weights(whole: Any, bits: int, layers: Sequence[str]) -> Any:
    """A model whose weights are integers with a scale for each channel; changes and returns the one that is given."""
    import nncf

    skipped = nncf.IgnoredScope(names=sorted({name for name, _ in _layers(whole)} - set(layers)))
    with quiet("nncf"):
        if bits == 8:
            return nncf.compress_weights(whole, mode=nncf.CompressWeightsMode.INT8_SYM, ignored_scope=skipped)
        return nncf.compress_weights(
            whole,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            ratio=1.0,
            group_size=-1,
            all_layers=True,
            ignored_scope=skipped,
        )
