"""What images are tried at: each task makes a compressed model of a teacher from nothing but a set of images.

A task is one function and one entry of `TASKS`. It is opened once, as some prepare the teacher first (an export), and
then called for every run of every set.
"""

import copy
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PrinterCallback

from smi_hf import QuantizationConfig, SparseClassifier, SparseDistillationConfig, SparseDistillationTrainer, Teacher
from smi_hf.distillation.loading import StudentModel, draw_head
from smi_hf.environment import how_to_install, missing_packages
from smi_hf.evaluation.predictors import Predictor, pytorch_predictor
from smi_hf.images.controls.filled import all_patches
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.models.blocks import BlockInputs, find_blocks, first_block_inputs
from smi_hf.pruning import prune_mlps
from smi_hf.quantization import Quantizer
from smi_hf.quantization.qat.gptq import round_with_feedback

_BATCH_SIZE = 16

# From images and the number of the run to a compressed model.
Make = Callable[[KeptImages, int], Predictor]


@dataclass(frozen=True)
class Task:
    """A use of images.

    Args:
        purpose: what is made, in words.
        open: prepares a teacher; also gets the images that models are judged on, which it may not learn from.
        settings: what decides the result besides images and teacher; with others, nothing is taken from a file.
        extra: of smi-hf that it needs, None if none.
    """

    purpose: str
    open: Callable[[Teacher, ImageSet], AbstractContextManager[Make]]
    settings: dict[str, Any] = field(default_factory=dict)
    extra: str | None = None

    @property
    def lack(self) -> str | None:
        """Why it cannot be measured here, None if it can."""
        missing = missing_packages(self.extra) if self.extra else []
        if not missing:
            return None
        return f"{', '.join(missing)} is not installed: {how_to_install(self.extra)}"

    def __str__(self) -> str:
        return json.dumps(self.settings, sort_keys=True)


@contextmanager
def _quantized(teacher: Teacher, judge: ImageSet, *, is_fixed: bool = False, **settings: Any) -> Iterator[Make]:
    """A back end of `smi-hf quantize`.

    Args:
        is_fixed: whether calibration sees every patch, pruned ones black, as a graph of fixed shape does.
    """
    config = QuantizationConfig(**settings, disable_tqdm=True)
    with _quiet(), Quantizer(teacher, config) as quantizer, tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
        folder = Path(work) / "model"

        def make(images: KeptImages, run: int) -> Predictor:
            shutil.rmtree(folder, ignore_errors=True)
            quantizer.quantize(all_patches(images, teacher.model) if is_fixed else images, folder)
            return quantizer.load(folder)

        yield make


@contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts, ONNX Runtime does not say of every layer norm that its weights have one axis alone."""
    root = logging.getLogger()

    def is_news(record: logging.LogRecord) -> bool:
        return "is out-of-range for weight" not in record.getMessage()

    root.addFilter(is_news)
    try:
        yield
    finally:
        root.removeFilter(is_news)


def _with_backend(purpose: str, extra: str | None, **settings: Any) -> Task:
    return Task(purpose, partial(_quantized, **settings), settings, extra)


_HALVING: dict[str, Any] = {"keep": 0.5}


@contextmanager
def _halving(teacher: Teacher, judge: ImageSet) -> Iterator[Make]:
    def make(images: KeptImages, run: int) -> Predictor:
        pruned = prune_mlps(teacher.model, images, **_HALVING, disable_tqdm=True)
        return pytorch_predictor(pruned, teacher.image_processor)

    yield make


_ERROR_FEEDBACK: dict[str, Any] = {"weights": 3, "groups": "rows", "layers": "of the blocks"}


@contextmanager
def _error_feedback(teacher: Teacher, judge: ImageSet) -> Iterator[Make]:
    """Every Linear layer of the blocks, a range for each row of weights; activations in floating point."""

    def make(images: KeptImages, run: int) -> Predictor:
        model = SparseClassifier(copy.deepcopy(teacher.model.model), teacher.model.grid.image_size)
        batches = list(first_block_inputs(model, images.batches(_BATCH_SIZE)))
        for block in find_blocks(model):
            _round_block(block, batches)
            for batch in batches:
                batch.advance(block)
        return pytorch_predictor(model, teacher.image_processor)

    yield make


def _round_block(block: nn.Module, batches: Sequence[BlockInputs]) -> None:
    """Rounds the layers of a block for what enters them while none of them is rounded.

    Differs from smi_hf.quantization.qat.gptq.round_layers, which looks at all images again after every layer: here
    once a block, which is what keeps the measure cheap.
    """
    layers = [module for module in block.modules() if isinstance(module, nn.Linear)]
    grams = {layer: torch.zeros(layer.in_features, layer.in_features) for layer in layers}

    def add(layer: nn.Linear, inputs: tuple[Tensor, ...]) -> None:
        tokens_TI = inputs[0].flatten(0, -2)
        grams[layer].addmm_(tokens_TI.T, tokens_TI)

    handles = [layer.register_forward_pre_hook(add) for layer in layers]
    for batch in batches:
        batch.through(block)
    for handle in handles:
        handle.remove()
    bits = _ERROR_FEEDBACK["weights"]
    for layer, gram_II in grams.items():
        found = round_with_feedback(layer.weight.detach(), gram_II, bits, None)
        layer.weight.data.copy_(found.values(bits))


_TRANSFER: dict[str, Any] = {
    "preset": "trainer",
    "max_steps": 200,
    "num_views": 8,
    "per_device_train_batch_size": 64,
    "learning_rate": 1e-2,
    "lr_scheduler_type": "cosine",
    "freeze_backbone": True,
}


@contextmanager
def _transfer(teacher: Teacher, judge: ImageSet) -> Iterator[Make]:
    """The teacher's knowledge into a new head on its own frozen backbone, which only these images are shown to."""

    def make(images: KeptImages, run: int) -> Predictor:
        model = copy.deepcopy(teacher.model.model)
        draw_head(model, run)
        with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
            args = SparseDistillationConfig(
                output_dir=work,
                **_TRANSFER,
                seed=run,
                use_cpu=True,
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            )
            student = StudentModel(model, teacher.image_processor)
            # With real images given, none of the others are held out; no step evaluates.
            trainer = SparseDistillationTrainer(student, teacher, args, images, judge)
            # Prints a line a training where there is no progress bar.
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        return pytorch_predictor(SparseClassifier(model, teacher.model.grid.image_size), teacher.image_processor)

    yield make


TASKS: dict[str, Task] = {
    "w8a8_outputs_onnx": _with_backend(
        "ONNX Runtime, 8 bits, outputs of layers too, kept patches", "onnx", backend="onnx", quantize_outputs=True
    ),
    "w8a8_fixed_onnx": _with_backend(
        "ONNX Runtime, 8 bits, every operator, fixed graph, pruned patches black",
        "onnx",
        backend="onnx",
        quantize_outputs=True,
        operators=["all"],
        is_fixed=True,
    ),
    "w4a8_simulated": _with_backend(
        "4-bit weights, 8-bit activations, PSAQ-ViT's quantizer", None, backend="simulated", weights=4, activations=8
    ),
    "halving": Task("half of every MLP cut in closed form", _halving, _HALVING),
    "w3_error_feedback": Task("3-bit weights rounded with error feedback (GPTQ)", _error_feedback, _ERROR_FEEDBACK),
    "transfer": Task("a new head taught by the teacher, 200 steps", _transfer, _TRANSFER),
}
