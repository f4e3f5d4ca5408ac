"""Optimum's ONNX exporter, in the lane of transformers 4."""

import numpy as np
import pytest
import torch

from smi_hf.environment import dependency_lane, missing_packages

if dependency_lane() != "full" or missing_packages("onnx"):
    pytest.skip("needs the full lane with the extra onnx", allow_module_level=True)

from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType
from optimum.onnxruntime import quantization

from smi_hf.quantization.exports.optimum_onnx import export, quantizer_told


@torch.no_grad()
def test_it_gives_the_teachers_logits_for_any_number_of_images(teacher, tmp_path):
    from optimum.onnxruntime import ORTModelForImageClassification

    path = export(teacher, tmp_path / "float")
    assert path == tmp_path / "float" / "model.onnx"
    model = ORTModelForImageClassification.from_pretrained(path.parent)
    for number in (1, 3):
        pixels = torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(number))
        expected = teacher.model.model(pixel_values=pixels).logits
        assert np.allclose(model(pixel_values=pixels).logits, expected, atol=1e-5)


def test_a_quantizer_is_told_for_as_long_as_it_lasts():
    before = quantization.QDQQuantizer
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])
    model = helper.make_model(helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "one", [value], []))
    with quantizer_told({"OpTypesToExcludeOutputQuantization": ["MatMul"]}):
        quantizer = quantization.QDQQuantizer(
            model, False, False, QuantType.QInt8, QuantType.QUInt8, {}, [], [], ["MatMul"],
            extra_options={"AddQDQPairToWeight": True},
        )  # fmt: skip
    assert quantizer.op_types_to_exclude_output_quantization == ["MatMul"]
    assert quantizer.add_qdq_pair_to_weight
    assert quantization.QDQQuantizer is before


def test_an_error_leaves_optimum_as_it_was():
    before = quantization.QDQQuantizer

    def fail():
        with quantizer_told({}):
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert quantization.QDQQuantizer is before
