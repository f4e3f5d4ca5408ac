"""Optimum's ONNX exporter, in the lane of transformers 4."""

import numpy as np
import pytest
import torch

from smi_hf.environment import dependency_lane, missing_packages

if dependency_lane() != "full" or missing_packages("onnx"):
    pytest.skip("needs the full lane with the extra onnx", allow_module_level=True)

from smi_hf.quantization.exports.optimum_onnx import export


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
