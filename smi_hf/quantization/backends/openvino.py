"""OpenVINO through NNCF: static int8, per-channel symmetric weights, min-max activations; or integer weights alone.

A classifier is converted in two halves, the embeddings and all that is behind them. The second half takes any number
of tokens, so it is calibrated on those of the kept patches; then the first is grafted before it. OpenVINO's converter
is called directly, as optimum-intel's exporter fails on DINOv2 (1.27), or knows it and ViT-MSN no more (2.2).

Legend: `B` images, `T` tokens, `D` hidden size, `C` channels, `H W` image pixels.
"""

import io
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from smi_hf.errors import RunError
from smi_hf.evaluation.predictors import Logits
from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.models.sparse import SparseClassifier, embeddings_bypassed
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig

MODEL_FILE = "openvino_model.xml"
# Types of operators that NNCF quantizes in a transformer; it leaves norms, GELU and residual sums alone.
_QUANTIZABLE = ("Convolution", "MatMul", "ScaledDotProductAttention")


@register_backend("openvino")
class OpenVINOBackend:
    """Writes what `OVModelForImageClassification.from_pretrained` reads."""

    extra = "openvino"
    widths = ((8, 8), (8, 32), (4, 32))
    operators = ("all",)
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = False
    is_dynamic_possible = False
    is_simulation = False
    runtime = Runtime("OpenVINO", "optimum", ("openvino", "nncf"))

    def prepare(self, teacher: Teacher, work: Path) -> "OpenVINOFloatModel":
        """Converts the teacher, in memory and on the CPU, for images of its grid's size and batches of any.

        Raises:
            RunError: OpenVINO cannot convert it.
        """
        return OpenVINOFloatModel(teacher, work / "float")

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / MODEL_FILE).is_file()

    def load(self, folder: Path) -> Logits:
        """Logits of the stock OpenVINO model; what is in floating point is computed in float32.

        Left to itself, OpenVINO takes bfloat16 on CPUs that have it: then float32 would not be what it is called, and
        its time would say nothing of other CPUs.
        """
        import_openvino()
        from optimum.intel import OVModelForImageClassification

        # Offline, optimum looks for every folder among the downloads of the Hub, and remarks that it is not there.
        with _quiet("optimum"):
            model = OVModelForImageClassification.from_pretrained(
                folder, ov_config={"INFERENCE_PRECISION_HINT": "f32"}, trust_remote_code=False
            )

        def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
            return np.asarray(model(pixel_values=pixels_BCHW).logits)

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
        self.layers = {name: kind for half in (self._embeddings, self._encoder) for name, kind in _layers(half)}
        self._save(_joined(self._embeddings, self._encoder), folder)

    def load(self) -> Logits:
        return OpenVINOBackend().load(self.folder)

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes a quantized model that `OVModelForImageClassification.from_pretrained` reads.

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
            whole = _joined(
                _quantized(self._embeddings, calibration.filled_images(model.grid), layers),
                _quantized(self._encoder, calibration.tokens(model), layers),
            )
        self._save(whole, folder)

    def _save(self, whole: Any, folder: Path) -> None:
        from optimum.intel import OVModelForImageClassification

        config = self.teacher.model.config
        OVModelForImageClassification(whole, config=config, compile=False).save_pretrained(folder)


def import_openvino() -> Any:
    """The openvino package, imported so that neither it nor NNCF reports to its makers that it was used."""
    # Both do so unasked, over the network, unless this package is missing: each has a stub for that.
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


@torch.no_grad()
def convert_halves(model: SparseClassifier) -> tuple[Any, Any]:
    """A classifier as two float32 OpenVINO models: embeddings (B, C, H, W) -> (B, T, D), encoder (B, T, D) -> logits.

    B and T are dynamic. Operators have the names that they would have in one conversion of the whole.

    Raises:
        RunError: it cannot be converted.
    """
    openvino = import_openvino()
    height, width = model.grid.image_size
    pixels_BCHW = torch.zeros(2, model.num_channels, height, width)
    tokens_BTD = model.embed(model.grid.cut(pixels_BCHW), model.grid.all_patches(2))
    module = _Embeddings(model).eval()
    with _positions_interpolated_once(model.embeddings):
        module(pixels_BCHW)
        embeddings = _convert(module, pixels_BCHW, [-1, model.num_channels, height, width], model)
    with embeddings_bypassed(model.embeddings):
        encoder = _convert(model.model, {"pixel_values": tokens_BTD}, [-1, -1, tokens_BTD.shape[-1]], model)
    # A tensor has several names after conversion, and optimum takes any one of them.
    embeddings.input(0).get_tensor().set_names({"pixel_values"})
    # DeiT with a distillation head gives the logits of each head as well.
    return embeddings, openvino.Model([encoder.output("logits").get_node()], encoder.get_parameters())


class _Embeddings(nn.Module):
    """The embeddings of a classifier at its grid's image size, at the same place in the tree of modules."""

    def __init__(self, model: SparseClassifier) -> None:
        super().__init__()
        self.backbone = model.family.backbone
        self.arguments = model.family.embeddings_arguments(model.config, model.grid.image_size)
        self.add_module(self.backbone, getattr(model.model, self.backbone))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return getattr(self, self.backbone).embeddings(pixel_values, **self.arguments)


@contextmanager
def _positions_interpolated_once(embeddings: nn.Module) -> Iterator[None]:
    """While it lasts, positions are interpolated at the first forward, and are a constant in one that is traced.

    DINOv2 would do it anew for each batch; and where OpenVINO folds that into a constant, it antialiases differently
    from PyTorch, which moves logits in the fourth digit.
    """
    interpolate = embeddings.interpolate_pos_encoding
    positions: list[Tensor] = []

    def remember(*args: Any) -> Tensor:
        if not positions:
            positions.append(interpolate(*args))
        return positions[0]

    embeddings.interpolate_pos_encoding = remember
    try:
        yield
    finally:
        del embeddings.interpolate_pos_encoding


def _convert(module: nn.Module, example: Any, shape: list[int], model: SparseClassifier) -> Any:
    openvino = import_openvino()
    from openvino.frontend import GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure

    failures = (GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure, RuntimeError)
    try:
        with _quiet("transformers"), warnings.catch_warnings():
            # The tracer's remarks on transformers' code.
            warnings.simplefilter("ignore")
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


def _joined(embeddings: Any, encoder: Any) -> Any:
    """One model of two halves, which stay as they are."""
    openvino = import_openvino()
    embeddings, encoder = embeddings.clone(), encoder.clone()
    tokens = embeddings.output(0).get_node().input_value(0)
    for reader in encoder.input(0).get_target_inputs():
        reader.replace_source_output(tokens)
    return openvino.Model(encoder.get_results(), embeddings.get_parameters())


def _quantized(half: Any, batches: Iterable[Tensor], layers: Sequence[str]) -> Any:
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
    with _quiet("nncf"):
        return nncf.quantize(
            half,
            nncf.Dataset(data),
            subset_size=len(data),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
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
    with _quiet("nncf"):
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


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """While it lasts, a package logs errors alone, and draws no progress bar on the standard output.

    To be imported before: NNCF takes hold of the standard output, and of a logger of its own class, at its import. The
    root logger is put back as it was: OpenVINO's converter raises its level, and leaves it so when it fails.
    """
    root = logging.getLogger()
    of_root = root.level, list(root.filters), list(root.handlers)
    package = logging.getLogger(name)
    before = package.level
    package.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        package.setLevel(before)
        level, root.filters, root.handlers = of_root
        root.setLevel(level)
