"""Simulated quantization at any width, as PSAQ-ViT and its successors measure it: for comparison with papers.

A measuring device, not a deployable model: values are rounded to integer grids and computed with in float32, so size
and speed are those of the float model. Rounding stands in none of the saved weights: stock transformers loads the
folder as the float model that it was made of, and `load` here rounds again, from `fake_quantization.json`.

Legend: `B` images, `C H W` pixels, `K` kept patches, `L` labels.
"""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Answer
from smi_hf.evaluation.record import Runtime
from smi_hf.files import replaced_atomically
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier, Teacher, load_teacher
from smi_hf.models.attention import attention_implementation
from smi_hf.models.dense import require_sparse
from smi_hf.quantization.backends.base import register_backend
from smi_hf.quantization.config import ALL_OPERATORS, FLOAT_BITS, WIDE_BITS, QuantizationConfig
from smi_hf.quantization.psaq import QuantizedTensors, fake_quantize_activations, fake_quantize_weights

QUANTIZATION_FILE = "fake_quantization.json"
# Version 1 had no wide layers.
SCHEMA_VERSION = 2
_WEIGHTED_TYPES = ("Linear", "Convolution")


@dataclass(frozen=True)
class Layer:
    """What is quantized as one.

    Args:
        kind: its type, of the table at `QuantizedTensors`.
        range: smallest and largest value of its output on the calibration set; None where weights alone are quantized.
    """

    kind: str
    range: tuple[float, float] | None


@dataclass(frozen=True)
class Simulation:
    """Everything that makes a simulated model of a float one; the contents of `fake_quantization.json`.

    Args:
        weights, activations: bits; 32 leaves them in floating point.
        image_size: (height, width) in pixels.
        layers: every layer of the model, by name, in the order of the forward pass.
        quantized: names of those that are quantized.
        wide: names of those whose activations have 16 bits instead.
    """

    weights: int
    activations: int
    image_size: tuple[int, int]
    layers: Mapping[str, Layer]
    quantized: Collection[str]
    wide: Collection[str] = ()

    def save(self, folder: Path) -> None:
        """Writes the file into a folder that exists."""
        layers = {
            name: {
                "type": layer.kind,
                "quantized": name in self.quantized,
                "wide": name in self.wide,
                "range": layer.range,
            }
            for name, layer in self.layers.items()
        }
        contents = {
            "schema_version": SCHEMA_VERSION,
            "weights": self.weights,
            "activations": self.activations,
            "image_size": self.image_size,
            "layers": layers,
        }
        with replaced_atomically(folder / QUANTIZATION_FILE) as temporary:
            temporary.write_text(json.dumps(contents, indent=1) + "\n")

    @classmethod
    def from_folder(cls, folder: Path) -> "Simulation":
        """Reads the file.

        Raises:
            UsageError: it is not valid, or of another schema version.
        """
        path = folder / QUANTIZATION_FILE
        try:
            contents = json.loads(path.read_text())
            if contents["schema_version"] not in (1, SCHEMA_VERSION):
                raise UsageError(
                    f"{path} has schema version {contents['schema_version']}, but this smi_hf reads "
                    f"1 to {SCHEMA_VERSION}; quantize again"
                )
            rows = contents["layers"]
            return cls(
                weights=contents["weights"],
                activations=contents["activations"],
                image_size=tuple(contents["image_size"]),
                layers={
                    name: Layer(row["type"], None if row["range"] is None else tuple(row["range"]))
                    for name, row in rows.items()
                },
                quantized=[name for name, row in rows.items() if row["quantized"]],
                wide=[name for name, row in rows.items() if row.get("wide", False)],
            )
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(
                f"{path} is damaged ({type(error).__name__}: {error}); quantize the model again"
            ) from error


def observe(classifier: SparseClassifier, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, Layer]:
    """Every layer of a model, with its range over the kept patches of images.

    Position embeddings are known without images: their range is that of the whole grid, kept or not.

    Args:
        classifier: in evaluation mode.
        batches: normalized pixels (B, C, H, W) and places of the patches to look at, int64 (B, K).
    """
    kinds: dict[str, str] = {}
    ranges: dict[str, tuple[float, float]] = {}

    def widen(name: str, kind: str, values: Tensor, *, is_position: bool) -> Tensor:
        kinds.setdefault(name, kind)
        if (kind == "Positions") == is_position:
            found = values.aminmax()
            low, high = ranges.get(name, (float("inf"), -float("inf")))
            ranges[name] = min(low, float(found.min)), max(high, float(found.max))
        return values

    grid = classifier.grid
    every_1N = grid.all_patches(1)
    black_1NCPQ = grid.cut(torch.zeros(1, classifier.num_channels, *grid.image_size))
    with torch.no_grad(), QuantizedTensors(classifier, partial(widen, is_position=True)):
        classifier.embed(black_1NCPQ, every_1N)
    tensors = QuantizedTensors(classifier, partial(widen, is_position=False))
    for pixels_BCHW, kept_BK in batches:
        _forward(classifier, grid.cut(pixels_BCHW, kept_BK), kept_BK, tensors)
    # query, key and value are one Linear layer in PSAQ-ViT, with one range.
    shared: dict[str, tuple[float, float]] = {}
    measured = [name for name in ranges if name not in tensors.feeds_activation]
    for name in measured:
        first = tensors.reads_same.get(name, name)
        low, high = shared.get(first, ranges[name])
        shared[first] = min(low, ranges[name][0]), max(high, ranges[name][1])
    return {
        name: Layer(kind, shared[tensors.reads_same.get(name, name)] if name in measured else None)
        for name, kind in kinds.items()
    }


def layer_types(classifier: SparseClassifier) -> dict[str, str]:
    """Type of each layer, by name, in the order of the forward pass.

    Raises:
        UsageError: the forward is not one of blocks with two matrix products and two residual sums.
    """
    grid = classifier.grid
    black_1CHW = torch.zeros(1, classifier.num_channels, *grid.image_size)
    types = {name: layer.kind for name, layer in observe(classifier, [(black_1CHW, grid.all_patches(1))]).items()}
    num_blocks, counts = classifier.shape.num_layers, Counter(types.values())
    # More than those of the blocks are those of a query that pools.
    if counts["MatMul"] < 2 * num_blocks or counts["Add"] < 2 * num_blocks + 1:
        raise UsageError(
            f"back end 'simulated' cannot follow the forward of model type {classifier.config.model_type!r}: in "
            f"{num_blocks} blocks it found {counts['MatMul']} matrix products of attention and {counts['Add']} sums, "
            f"instead of {2 * num_blocks} and {2 * num_blocks + 1}; use another back end"
        )
    return types


def simulate(classifier: SparseClassifier, simulation: Simulation) -> Answer:
    """The answer of a float model, shown every patch, with what the simulation names rounded to integer grids.

    Args:
        classifier: in evaluation mode; used, not changed. Its layers are those of the simulation.
    """
    weights: dict[str, Tensor] = {}
    quantizers: dict[str, partial[Tensor]] = {}
    for name in simulation.quantized:
        layer = simulation.layers[name]
        if layer.kind in _WEIGHTED_TYPES and simulation.weights != FLOAT_BITS:
            weight = classifier.model.get_submodule(name).weight.detach()
            weights[name] = fake_quantize_weights(weight, simulation.weights)
        if layer.range is not None and simulation.activations != FLOAT_BITS:
            low, high = layer.range
            bits = WIDE_BITS if name in simulation.wide else simulation.activations
            quantizers[name] = partial(fake_quantize_activations, low=low, high=high, bits=bits)

    def visit(name: str, kind: str, values: Tensor) -> Tensor:
        return quantizers[name](values) if name in quantizers else values

    tensors = QuantizedTensors(classifier, visit, weights=weights)

    def predict(pixels_BCHW: np.ndarray) -> np.ndarray:
        every_BN = classifier.grid.all_patches(len(pixels_BCHW))
        patches_BNCPQ = classifier.grid.cut(torch.from_numpy(pixels_BCHW), every_BN)
        return _forward(classifier, patches_BNCPQ, every_BN, tensors).numpy()

    return predict


@torch.no_grad()
def _forward(
    classifier: SparseClassifier, patches_BKCPQ: Tensor, kept_BK: Tensor, tensors: QuantizedTensors
) -> Tensor:
    """The answer, under the one attention implementation whose scores can be seen."""
    with attention_implementation(classifier.model, "eager"), tensors:
        return classifier.patches_answer(patches_BKCPQ, kept_BK)


class SimulatedFloatModel:
    """A teacher in floating point, in memory of its own, that remembers the ranges of its last calibration set."""

    def __init__(self, classifier: SparseClassifier, folder: Path) -> None:
        self.folder = folder
        self.layers = layer_types(classifier)
        self._classifier = classifier
        self._without_ranges = {name: Layer(kind, None) for name, kind in self.layers.items()}
        self._last: tuple[KeptImages, dict[str, Layer]] | None = None

    def load(self) -> Answer:
        """Its answer in floating point, under eager attention as all simulated models."""
        return simulate(
            self._classifier,
            Simulation(FLOAT_BITS, FLOAT_BITS, self._classifier.grid.image_size, self._without_ranges, ()),
        )

    def quantize(
        self,
        calibration: KeptImages | None,
        settings: QuantizationConfig,
        layers: Sequence[str],
        folder: Path,
    ) -> None:
        """Writes the float checkpoint and, last, `fake_quantization.json`.

        Args:
            calibration: may be None if activations stay in floating point.
        """
        assert calibration is not None or settings.activations == FLOAT_BITS, "the back end is not dynamic"
        if calibration is None or settings.activations == FLOAT_BITS:
            known = self._without_ranges
        else:
            known = self._observed(calibration)
        size = self._classifier.grid.image_size
        shutil.copytree(self.folder, folder)
        Simulation(settings.weights, settings.activations, size, known, layers, settings.wide_layers).save(folder)

    def _observed(self, calibration: KeptImages) -> dict[str, Layer]:
        """Ranges on a calibration set; a sensitivity report asks for the same one for every layer."""
        if self._last is None or self._last[0] is not calibration:
            self._last = calibration, observe(self._classifier, calibration.batches())
        return self._last[1]


@register_backend("simulated")
class SimulatedBackend:
    """PSAQ-ViT's quantizer (arXiv 2203.02250), on every family and at any width."""

    extra = None
    widths = None
    operators = ALL_OPERATORS
    targets = ()
    has_quantized_outputs = False
    has_wide_layers = True
    is_dynamic_possible = False
    is_simulation = True
    runtime = Runtime("simulated", "smi_hf", ("simulated-quantization",))

    def prepare(self, teacher: Teacher, work: Path) -> SimulatedFloatModel:
        """Saves the teacher and reads it back: what is measured is what the folder holds."""
        require_sparse(teacher.model, "back end 'simulated'")
        folder = work / "float32"
        teacher.model.model.save_pretrained(folder)
        teacher.image_processor.save_pretrained(folder)
        if teacher.head is not None:
            teacher.head.save(folder)
        return SimulatedFloatModel(_load_classifier(folder, teacher.model.grid.image_size), folder)

    def is_saved_in(self, folder: Path) -> bool:
        return (folder / QUANTIZATION_FILE).is_file()

    def load(self, folder: Path) -> Answer:
        """The simulated model of a folder.

        Raises:
            UsageError: `fake_quantization.json` is damaged, or does not fit the model or this version.
        """
        simulation = Simulation.from_folder(folder)
        classifier = _load_classifier(folder, simulation.image_size)
        saved = {name: layer.kind for name, layer in simulation.layers.items()}
        if different := saved.items() ^ layer_types(classifier).items():
            raise UsageError(
                f"the layers of {folder / QUANTIZATION_FILE} are not those of the model beside it (such as "
                f"{min(different)[0]!r}); transformers 4 and 5 name them differently, so load it with the version "
                f"that quantized it, or quantize again"
            )
        return simulate(classifier, simulation)


def _load_classifier(folder: Path, image_size: tuple[int, int]) -> SparseClassifier:
    return load_teacher(str(folder), image_size=image_size).model
