"""What ONNX Runtime's quantizer is asked for: which nodes, float outputs, activations of 16 bits."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# The first version whose own QuantizeLinear has 16 bits. Before it they are operators of Microsoft's, which few
# runtimes but ONNX Runtime read.
_OPSET_OF_16_BITS = 21

# Of ONNX Runtime: unsigned, as activations of 8 bits are for every target that has 16.
WIDE_TYPE = "QUInt16"

# How much wider than what calibration saw the range of 16 bits is. Photographs go beyond the range of a few images,
# most of all in the sums of the residual stream, and one bit of 16 costs nothing
# (recipes/deit_tiny_imagenet/README.md#16-bits).
WIDE_ROOM = 2.0

# What a MatMul or Gemm writes stays in floating point. ONNX Runtime then fuses each with the rescaling of its result.
# A quantized result is written in 8 bits, read back and widened instead, breaks the fusions with bias and GELU, and
# drags the softmax into a slow 8-bit kernel: the static model of DeiT-Tiny takes 243 ms for 32 images so, 172 with
# outputs in float, float32 290 (README.md).
FLOAT_OUTPUTS = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}


def wide_tensors(exported: Path, layers: Iterable[str]) -> list[str]:
    """Names of the activations of some nodes, which are to get 16 bits.

    A tensor has one type for all nodes that read it: where one of them is named, the others get what it gets.

    Args:
        exported: the float32 graph.
        layers: names of nodes. What they read gets 16 bits, and what they write where outputs are quantized.
    """
    import onnx

    if not (named := set(layers)):
        return []
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
    return sorted(tensors)


def of_16_bits(tensors: Iterable[str]) -> dict[str, Any]:
    """Options of a quantizer that give some tensors 16 bits, and leave the others what they have."""
    from onnxruntime.quantization import QuantType

    return {"TensorQuantOverrides": {name: [{"quant_type": QuantType[WIDE_TYPE]}] for name in tensors}}


def with_room(ranges: Any, tensors: Iterable[str]) -> Any:
    """Ranges, those of some tensors `WIDE_ROOM` times as wide as calibration found them.

    Args:
        ranges: `onnxruntime.quantization.calibrate.TensorsData`; is left as it is.
        tensors: names. What has no range, as it is no tensor of floating point, is passed over.
    """
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    found = {name: data.range_value for name, data in ranges.items()}
    for name in found.keys() & set(tensors):
        found[name] = tuple(np.float32(WIDE_ROOM) * end for end in found[name])
    return TensorsData(CalibrationMethod.MinMax, found)


def with_standard_16_bits(exported: Path, folder: Path) -> Path:
    """A float32 graph in the first opset that has 16-bit QDQ: `exported` itself, or a copy in a folder.

    Nodes and tensors keep their names.
    """
    import onnx

    model = onnx.load(str(exported))
    if any(entry.version >= _OPSET_OF_16_BITS for entry in model.opset_import if not entry.domain):
        return exported
    folder.mkdir(exist_ok=True)
    onnx.save(onnx.version_converter.convert_version(model, _OPSET_OF_16_BITS), str(folder / exported.name))
    return folder / exported.name


@dataclass(frozen=True)
class QdqRequest:
    """What is to be quantized, and how.

    Args:
        graph: path of the float32 graph.
        target: one of `OnnxBackend.targets`.
        layers, types: names and types of the nodes.
        ranges: of activations, `onnxruntime.quantization.calibrate.TensorsData`; None takes them at run time.
        options: further `extra_options` of ONNX Runtime's quantizer.
        is_wide: whether all activations get 16 bits.
    """

    graph: Path
    target: str
    layers: tuple[str, ...]
    types: tuple[str, ...]
    ranges: Any
    options: Mapping[str, Any]
    is_wide: bool = False


def quantized_graph(request: QdqRequest) -> Any:
    """The quantized graph, an `onnx.ModelProto`, by ONNX Runtime's own quantizers.

    The types of weights and activations, and what else a runtime needs, are those that Optimum's
    `AutoQuantizationConfig` has for the target.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    model = onnx.load(str(request.graph))
    # Dynamic quantization transposes weights and then finds these shapes wrong.
    weights = {tensor.name for tensor in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    is_tensorrt = request.target == "tensorrt"
    activations = WIDE_TYPE if request.is_wide else "QInt8" if is_tensorrt else "QUInt8"
    of_target = {
        "WeightSymmetric": True,
        "ActivationSymmetric": is_tensorrt,
        # TensorRT wants a pair of its own at each reader, and at weights too.
        "DedicatedQDQPair": is_tensorrt,
        "AddQDQPairToWeight": is_tensorrt,
    }
    arguments = {
        "model": model,
        "per_channel": True,
        "reduce_range": False,
        "weight_qType": QuantType.QUInt8 if request.target == "avx2" else QuantType.QInt8,
        "activation_qType": QuantType[activations],
        "tensors_range": request.ranges,
        "nodes_to_quantize": list(request.layers),
        "nodes_to_exclude": [],
        "op_types_to_quantize": list(request.types),
        "extra_options": of_target | dict(request.options),
    }
    if request.ranges is None:
        quantizer = ONNXQuantizer(**arguments, mode=QuantizationMode.IntegerOps, static=False)
    else:
        quantizer = QDQQuantizer(**arguments)
    quantizer.quantize_model()
    return quantizer.model.model
