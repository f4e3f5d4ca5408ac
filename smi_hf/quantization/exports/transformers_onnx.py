"""A teacher as ONNX by the exporter of transformers 5, and quantized by ONNX Runtime, in the *latest* lane.

That exporter writes the number of tokens into the graph. So the two halves of the teacher are exported apart, the
second one for any number of them, and joined: in the whole the number follows from the image size again. A teacher
without such halves is exported whole.

Legend: `B` images, `T` tokens, `D` hidden size, `C` channels, `H W` image pixels.
"""

import re
import shutil
from ast import literal_eval
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.export import Dim

from smi_hf.errors import RunError
from smi_hf.files import one_line
from smi_hf.models import SparseClassifier, Teacher, VisionClassifier
from smi_hf.quantization.exports.halves import (
    Embeddings,
    examples,
    ready_to_trace,
    unmasked_attention,
)
from smi_hf.quantization.exports.manifest import output_structure
from smi_hf.quantization.exports.quiet import quiet
from smi_hf.quantization.qdq import QdqRequest, quantized_graph

MODEL_FILE = "model.onnx"
# Beside the graph: its weights, and what transformers must know to run it.
WEIGHTS_FILE = MODEL_FILE + ".data"
MANIFEST_FILE = "export.json"


def export(teacher: Teacher, folder: Path) -> Path:
    """The teacher as float32 ONNX in a new folder, as `ExportedModel.from_pretrained` reads it; returns its path.

    For batches of any size and images of the size of the teacher's grid. Nodes are named after their modules, as those
    of Optimum's exporter are: `/vit/layers.0/attention/q_proj/MatMul`.

    Raises:
        RunError: the exporter cannot.
    """
    import onnx_ir
    from transformers.exporters import ExportedModel

    model = teacher.model
    pixels_BCHW, _ = examples(model)
    exported, whole = _in_halves(model) if model.takes_any_tokens else _in_one(model)
    component = exported.components["model"]
    inputs = {"pixel_values": {"rank": 4, "shape": list(pixels_BCHW.shape), "dtype": "float32"}}
    component.program = onnx_ir.from_proto(whole)
    component.metadata = replace(component.metadata, kwargs=inputs, out_spec=output_structure(model.answer_name))
    ExportedModel({"model": component}, exported.export_format, config=model.config).save_pretrained(folder)
    return folder / MODEL_FILE


def _in_halves(model: SparseClassifier) -> tuple[Any, Any]:
    """The `ExportedModel` of the second half, and the graph of the whole as a protocol buffer."""
    import onnx
    import onnx_ir

    pixels_BCHW, tokens_BTD = examples(model)
    embeddings = Embeddings(model).eval()
    # At least two patches: DINOv2 means over them, which is another graph for one.
    batch, tokens = Dim("batch_size"), Dim("num_tokens", min=model.num_prefix_tokens + 2)
    with unmasked_attention(model), ready_to_trace(model):
        embeddings(pixels_BCHW)
        first = _exported(model, embeddings, pixels_BCHW, (batch,))
        with model.embeddings_bypassed():
            second = _exported(model, model.model, model.family.packed(tokens_BTD), (batch, tokens))
    front, back = onnx_ir.to_proto(first.program), onnx_ir.to_proto(second.program)
    _name_after_modules(front, f"/{model.embeddings_path.replace('.', '/')}", kept=("pixel_values",))
    _name_after_modules(back, "", kept=(model.answer_name,))
    joint = [(front.graph.output[0].name, back.graph.input[0].name)]
    return second, onnx.compose.merge_models(front, back, io_map=joint, outputs=[model.answer_name])


def _in_one(model: VisionClassifier) -> tuple[Any, Any]:
    """The `ExportedModel` of the whole, and its graph as a protocol buffer."""
    import onnx
    import onnx_ir

    pixels_BCHW, _ = examples(model)
    with unmasked_attention(model), ready_to_trace(model):
        model.dense_answer(pixels_BCHW)
        exported = _exported(model, model.model, pixels_BCHW, (Dim("batch_size"),))
    graph = onnx_ir.to_proto(exported.program)
    _name_after_modules(graph, "", kept=("pixel_values", model.answer_name))
    if [output.name for output in graph.graph.output] != [model.answer_name]:
        graph = onnx.utils.Extractor(graph).extract_model(["pixel_values"], [model.answer_name])
    return exported, graph


def save_quantized(exported: Path, request: QdqRequest, config: Any, folder: Path) -> None:
    """Writes a quantized graph into a new folder, as `ExportedModel.from_pretrained` reads it.

    Args:
        exported: path of what `export` wrote.
        config: of the model.
    """
    import onnx_ir

    folder.mkdir()
    config.save_pretrained(folder)
    graph = onnx_ir.from_proto(quantized_graph(request))
    onnx_ir.save(graph, folder / MODEL_FILE, external_data=WEIGHTS_FILE)
    # Inputs and outputs are those of the graph that was exported.
    shutil.copy(exported.with_name(MANIFEST_FILE), folder)


def _exported(model: VisionClassifier, half: nn.Module, example: Tensor, dynamic: tuple[Any, ...]) -> Any:
    """An `ExportedModel` of a half; `dynamic` are its first dimensions, each a `torch.export.Dim`."""
    from transformers.exporters import OnnxConfig, OnnxExporter

    shapes = {"pixel_values": dict(enumerate(dynamic))}
    try:
        with quiet("transformers", "torch.onnx", "torch.export"):
            return OnnxExporter().export(half, {"pixel_values": example}, OnnxConfig(dynamic_shapes=shapes))
    except Exception as error:  # of torch.export, onnxscript or transformers, of no common base
        raise RunError(
            f"{model.config.model_type!r} could not be exported to ONNX: {type(error).__name__}: {one_line(error)}"
        ) from error


def _name_after_modules(proto: Any, scope: str, kept: tuple[str, ...]) -> None:
    """Renames nodes and tensors of a graph by the modules that they come from, in place.

    What the exporter noted at the nodes is removed: it holds paths of this machine.

    Args:
        scope: in which all nodes are, as a prefix of their names.
        kept: tensors that keep their names.
    """
    names = {name: name for name in kept}
    counts: Counter[str] = Counter()
    # Weights that the exporter transposed have numbers for names, which both halves use.
    for tensor in proto.graph.initializer:
        names[tensor.name] = tensor.name if "." in tensor.name else f"{scope}/{tensor.name}"
    for value in proto.graph.input:
        names.setdefault(value.name, f"{scope}/{value.name}")
    for node in proto.graph.node:
        notes = {note.key: note.value for note in node.metadata_props}
        modules = literal_eval(notes.get("pkg.torch.onnx.name_scopes", "['']"))[:-1]
        path = "/" + re.sub(r"\.(?=[a-z])", "/", modules[-1] if modules else "")
        path = path.rstrip("/") if path.startswith(scope) and not path.startswith("/_") else scope
        number = counts[path, node.op_type]
        counts[path, node.op_type] += 1
        node.name = f"{path}/{node.op_type}" + (f"_{number}" if number else "")
        for place, output in enumerate(node.output):
            names.setdefault(output, f"{node.name}_output_{place}")
        del node.metadata_props[:]
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for values in (proto.graph.initializer, proto.graph.input, proto.graph.output):
        for value in values:
            value.name = names[value.name]
            del value.metadata_props[:]
    del proto.graph.value_info[:]
    del proto.graph.metadata_props[:], proto.metadata_props[:]
