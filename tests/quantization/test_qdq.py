"""What ONNX Runtime's quantizer is asked for: on a graph small enough to read."""

import pytest

from smi_hf.environment import missing_packages

if missing_packages("onnx"):
    pytest.skip("the onnx extra is absent", allow_module_level=True)

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

from smi_hf.quantization.qdq import of_16_bits, wide_tensors, with_room, with_standard_16_bits


@pytest.fixture
def graph_of(tmp_path):
    """x -> first (a weight) -> second (the same input twice) -> y, saved in an opset."""

    def save(opset):
        nodes = [
            helper.make_node("MatMul", ["x", "weight"], ["middle"], name="first"),
            helper.make_node("MatMul", ["middle", "x"], ["y"], name="second"),
        ]
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("x", "y")]
        weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "weight")
        graph = helper.make_graph(nodes, "two", values[:1], values[1:], [weight])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        path = tmp_path / f"opset{opset}.onnx"
        onnx.save(model, str(path))
        return path

    return save


def test_what_a_named_node_reads_and_writes_is_wide_and_no_weight(graph_of):
    path = graph_of(18)
    assert wide_tensors(path, ["first"]) == ["middle", "x"]
    assert wide_tensors(path, []) == []
    assert of_16_bits(["x"]) == {"TensorQuantOverrides": {"x": [{"quant_type": QuantType.QUInt16}]}}


def test_tensors_of_16_bits_have_room_beyond_what_calibration_saw():
    found = {name: (np.float32(-1), np.float32(3)) for name in ("x", "y")}
    ranges = TensorsData(CalibrationMethod.MinMax, found)
    widened = with_room(ranges, ["x", "absent"])
    assert {name: data.range_value for name, data in widened.items()} == {"x": (-2, 6), "y": (-1, 3)}
    assert ranges["x"].range_value == (-1, 3)


def test_an_old_graph_is_brought_to_the_opset_with_16_bits_and_a_new_one_is_left(graph_of, tmp_path):
    old, new = graph_of(18), graph_of(21)
    converted = with_standard_16_bits(old, tmp_path / "converted")
    model = onnx.load(str(converted))
    assert [entry.version for entry in model.opset_import] == [21]
    assert [node.name for node in model.graph.node] == ["first", "second"]
    assert with_standard_16_bits(new, tmp_path / "none") == new and not (tmp_path / "none").exists()
