"""A model as a program of torch.export, its Linear layers quantized by torchao's PT2E, in the *latest* lane.

The part behind the embeddings is exported for any number of tokens, so that its observers see those of the kept
patches; then the embeddings are put before it, and the whole is exported.

Legend: `B` images, `T` tokens, `D` hidden size, `C` channels, `H W` image pixels.
"""

import importlib
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx import GraphModule, Node
from transformers.utils import ModelOutput

from smi_hf.errors import RunError
from smi_hf.files import one_line
from smi_hf.models import SparseClassifier, Teacher, VisionClassifier
from smi_hf.quantization.exports.halves import examples, ready_to_trace, unmasked_attention
from smi_hf.quantization.exports.manifest import answer_of
from smi_hf.quantization.exports.quiet import quiet

LINEAR = "Linear"


def import_pt2e(module: str = "quantize_pt2e") -> Any:
    """A module of torchao's PT2E, imported without a remark; that makes the operators known that round."""
    with quiet("torchao", "torch"):
        return importlib.import_module(f"torchao.quantization.pt2e.{module}")


@torch.no_grad()
def export_encoder(teacher: Teacher) -> ExportedProgram:
    """What is behind the embeddings, from tokens (B, T, D) of any B and T to the teacher's answer.

    Of a model without such halves the whole, from images (B, C, H, W) of any B.

    Raises:
        RunError: it cannot be exported.
    """
    from transformers.exporters import DynamoConfig, DynamoExporter

    model = teacher.model
    pixels_BCHW, tokens_BTD = examples(model)
    dimensions: dict[int, Any] = {0: Dim("batch_size")}
    if tokens_BTD is None:
        inputs, bypassed = pixels_BCHW, nullcontext()
    else:
        inputs, bypassed = model.family.packed(tokens_BTD), model.embeddings_bypassed()
        # At least two patches: DINOv2 means over them, which is another graph for one.
        dimensions[1] = Dim("num_tokens", min=model.num_prefix_tokens + 2)
    try:
        with quiet("transformers", "torch"), unmasked_attention(model), ready_to_trace(model), bypassed:
            if tokens_BTD is None:
                model.dense_answer(pixels_BCHW)
            exported = DynamoExporter().export(
                model.model, {"pixel_values": inputs}, DynamoConfig(dynamic_shapes={"pixel_values": dimensions})
            )
    except Exception as error:  # of torch.export or transformers, of no common base
        raise RunError(
            f"{model.config.model_type!r} could not be exported by torch.export: {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
    return exported.program


def linear_layers(encoder: ExportedProgram) -> dict[str, str]:
    """`LINEAR` by name of each module that is one, in the order of the calls."""
    calls = [node for node in encoder.graph.nodes if node.target is torch.ops.aten.linear.default]
    return {module_of(node): LINEAR for node in calls}


def module_of(node: Node) -> str:
    """Name of the innermost module that a node of an encoder was called in."""
    return list(node.meta["nn_module_stack"].values())[-1][0]


def min_max(activations: Any) -> Any:
    """A PT2E `QuantizationSpec` with ranges from minimum to maximum, and all else as it is."""
    observer = import_pt2e("observer").MinMaxObserver.with_args(eps=2**-12)
    return replace(activations, observer_or_fake_quant_ctr=observer)


def quantized(encoder: ExportedProgram, batches: Iterable[Tensor], quantizer: Any) -> GraphModule:
    """An encoder with operators that round, and integer weights in place of those in floating point.

    Args:
        encoder: of `export_encoder`; not changed.
        batches: tokens (B, T, D) that its observers see.
        quantizer: of torchao's PT2E.
    """
    pt2e = import_pt2e()
    with quiet("torchao", "torch"):
        observed = pt2e.prepare_pt2e(encoder.module(), quantizer)
        with torch.no_grad():
            for tokens_BTD in batches:
                observed(pixel_values=tokens_BTD)
        return pt2e.convert_pt2e(observed)


@torch.no_grad()
def whole_program(teacher: Teacher, encoder: GraphModule, batch: Any) -> ExportedProgram:
    """The teacher's embeddings with an encoder behind them, from `pixel_values` (B, C, H, W) to its answer.

    Args:
        encoder: `ExportedProgram.module` of one, or of `quantized`; weights that it does not read are removed from it.
        batch: a `torch.export.Dim` for the number of images; None for one at a time.
    """
    model = teacher.model
    pixels_BCHW, _ = examples(model, 1 if batch is None else 2)
    _drop_unused(encoder)
    whole = _Whole(model, encoder)
    with quiet("torch"), ready_to_trace(model):
        whole(pixels_BCHW)
        program = torch.export.export(
            whole, (), {"pixel_values": pixels_BCHW}, dynamic_shapes={"pixel_values": {0: batch}}
        )
    # They would be saved as well: a megabyte of black images.
    program.example_inputs = None
    return program


class _Whole(nn.Module):
    """Embeddings, then an encoder; or an encoder that has its embeddings inside."""

    def __init__(self, model: VisionClassifier, encoder: nn.Module) -> None:
        super().__init__()
        self.answer_name = model.answer_name
        self.embeddings = model.embeddings if isinstance(model, SparseClassifier) and model.takes_any_tokens else None
        self.arguments = {} if self.embeddings is None else model.stock_arguments
        self.encoder = encoder

    def forward(self, pixel_values: Tensor) -> ModelOutput:
        inputs = pixel_values if self.embeddings is None else self.embeddings(pixel_values, **self.arguments)
        # DeiT with a distillation head gives the logits of each head as well.
        return answer_of(self.answer_name, getattr(self.encoder(pixel_values=inputs), self.answer_name))


def _drop_unused(module: GraphModule) -> None:
    """Removes weights that nothing reads, in place: of the embeddings, and those of which there are integers."""
    reads = [node for node in module.graph.nodes if node.op == "get_attr"]
    used = {node.target for node in reads if node.users}
    for node in reads:
        if not node.users:
            module.graph.erase_node(node)
    module.recompile()
    tensors = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for path in {path for path, _ in tensors} - used:
        parent, _, name = path.rpartition(".")
        delattr(module.get_submodule(parent), name)
