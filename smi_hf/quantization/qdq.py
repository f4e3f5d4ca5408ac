"""What ONNX Runtime's QDQ quantizer can do and optimum does not pass on: float outputs, and activations of 16 bits."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# The first version whose own QuantizeLinear has 16 bits. Before it they are operators of Microsoft's, which few
# runtimes but ONNX Runtime read.
_OPSET_OF_16_BITS = 21

# ONNX Runtime then fuses each with the rescaling of its result. A quantized result is written in 8 bits, read back
# and widened instead, breaks the fusions with bias and GELU, and drags the softmax into a slow 8-bit kernel: the
# static model of DeiT-Tiny takes 243 ms for 32 images so, 172 with outputs in float, float32 290 (README.md).
FLOAT_OUTPUTS = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}


def wide(kind: Any) -> Any:
    """The 16-bit type of ONNX Runtime that is signed, or not, as an 8-bit one is."""
    from onnxruntime.quantization import QuantType

    return {QuantType.QInt8: QuantType.QInt16, QuantType.QUInt8: QuantType.QUInt16}[kind]


def wide_tensors(exported: Path, layers: Iterable[str], kind: Any) -> dict[str, Any]:
    """Options of a quantizer that give the activations of some nodes another type.

    A tensor has one type for all nodes that read it: where one of them is named, the others get what it gets.

    Args:
        exported: the float32 graph.
        layers: names of nodes. What they read gets that type, and what they write where outputs are quantized.
        kind: type of ONNX Runtime for their activations.
    """
    import onnx

    if not (named := set(layers)):
        return {}
    graph = onnx.load(str(exported), load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    constants |= {name for node in graph.node if node.op_type in ("Constant", "Identity") for name in node.output}
    tensors = {
        name
        for node in graph.node
        if node.name in named
        for name in (*node.input, *node.output)
        if name and name not in constants
    }
    return {"TensorQuantOverrides": {name: [{"quant_type": kind}] for name in sorted(tensors)}}


def with_standard_16_bits(exported: Path, folder: Path) -> Path:
    """A float32 graph in the first opset that has 16-bit QDQ: `exported` itself, or a copy in a new folder.

    Nodes and tensors keep their names.
    """
    import onnx

    model = onnx.load(str(exported))
    if any(entry.version >= _OPSET_OF_16_BITS for entry in model.opset_import if not entry.domain):
        return exported
    folder.mkdir()
    onnx.save(onnx.version_converter.convert_version(model, _OPSET_OF_16_BITS), str(folder / exported.name))
    return folder / exported.name


@contextmanager
def quantizer_told(options: Mapping[str, Any]) -> Iterator[None]:
    """While it lasts, optimum's QDQ quantizer has further options (`extra_options` of ONNX Runtime's)."""
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from optimum.onnxruntime import quantization

    class Told(QDQQuantizer):
        def __init__(self, *args: Any, extra_options: dict[str, Any], **kwargs: Any) -> None:
            super().__init__(*args, extra_options=extra_options | dict(options), **kwargs)

    before = quantization.QDQQuantizer
    quantization.QDQQuantizer = Told
    try:
        yield
    finally:
        quantization.QDQQuantizer = before
