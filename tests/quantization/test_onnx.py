import re

import numpy as np
import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTMSNConfig,
    ViTMSNForImageClassification,
)

from smi_hf import RunError, Teacher, UsageError
from smi_hf.environment import missing_packages
from smi_hf.quantization.backends.base import BACKENDS, QuantizationSettings
from smi_hf.quantization.calibration import CalibrationSet

if missing_packages("onnx"):
    pytest.skip("the onnx extra needs the full lane", allow_module_level=True)

from smi_hf.quantization.backends.onnx import activation_ranges, export, token_tensor


@pytest.fixture
def quantize(teacher, image_processor, calibration, tmp_path):
    def run(*, images=calibration, name="int8", **settings):
        BACKENDS.get("onnx").quantize(
            teacher, image_processor, images, QuantizationSettings(**settings), tmp_path / name
        )
        return tmp_path / name

    return run


@pytest.fixture
def exported(teacher, image_processor, tmp_path):
    return export(teacher, image_processor, tmp_path / "float")


def pytorch_ranges(teacher, calibration) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of what each layer gives in PyTorch's sparse forward, by the name of its ONNX tensor."""
    ranges: dict[str, tuple[float, float]] = {}

    def watch(tensor_name):
        def note(module, arguments, output):
            low, high = ranges.get(tensor_name, (float("inf"), -float("inf")))
            ranges[tensor_name] = min(low, float(output.min())), max(high, float(output.max()))

        return note

    for name, module in teacher.model.model.named_modules():
        scope = "/" + re.sub(r"\.(?=[a-z])", "/", name)
        if isinstance(module, torch.nn.LayerNorm):
            module.register_forward_hook(watch(f"{scope}/LayerNormalization_output_0"))
        elif isinstance(module, torch.nn.Linear) and "encoder" in name:
            module.register_forward_hook(watch(f"{scope}/Add_output_0"))
    with torch.no_grad():
        teacher.model(calibration.pixels_BCHW, calibration.kept_BK)
    return ranges


def test_ranges_are_those_of_a_pytorch_sparse_forward(teacher, calibration, exported):
    ranges = activation_ranges(exported, teacher, calibration)
    expected = pytorch_ranges(teacher, calibration)
    assert len(expected) == 2 * (2 + 6) + 1
    for name, (low, high) in expected.items():
        got = ranges[name].range_value
        # Two runtimes round float32 differently; the values are of order 1.
        assert np.allclose([value.item() for value in got], [low, high], atol=1e-4), name


def test_ranges_ignore_what_stands_in_pruned_patches(teacher, calibration, exported):
    loud = calibration.pixels_BCHW.clone()
    grid = teacher.model.grid
    shown = grid.paste(torch.ones_like(grid.cut(loud, calibration.kept_BK)), calibration.kept_BK, fill=0).bool()
    loud[~shown] = 1e4
    quiet_ranges = activation_ranges(exported, teacher, calibration)
    loud_ranges = activation_ranges(exported, teacher, CalibrationSet(loud, calibration.kept_BK, "loud"))
    assert set(quiet_ranges) == set(loud_ranges)
    for name in quiet_ranges:
        assert quiet_ranges[name].range_value == loud_ranges[name].range_value, name


def test_every_tensor_that_is_quantized_has_a_range(teacher, calibration, exported):
    import onnx

    graph = onnx.load(str(exported)).graph
    initializers = {tensor.name for tensor in graph.initializer}
    ranges = activation_ranges(exported, teacher, calibration)
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv"):
            activations = [name for name in node.input if name not in initializers]
            assert {name for name in [*activations, *node.output] if name not in ranges} == set(), node.name


def test_the_boundary_is_what_the_embeddings_give(teacher, exported):
    import onnx

    assert token_tensor(onnx.load(str(exported)), "vit") == "/vit/embeddings/Add_output_0"


def test_stock_optimum_loads_the_model_and_it_answers_much_as_the_teacher(quantize, teacher, calibration):
    from optimum.onnxruntime import ORTModelForImageClassification
    from transformers import AutoImageProcessor

    folder = quantize()
    model = ORTModelForImageClassification.from_pretrained(folder)
    AutoImageProcessor.from_pretrained(folder)
    logits = model(pixel_values=calibration.pixels_BCHW).logits
    expected = teacher.model(calibration.pixels_BCHW).logits
    # 8 bits: a few percent of the spread of the logits, not bits.
    assert float((logits - expected).abs().mean()) < 0.2 * float(expected.std())


def test_matmuls_and_gemms_are_quantized_and_nothing_else(quantize):
    import onnx

    graph = onnx.load(str(quantize() / "model.onnx")).graph
    producers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type in ("MatMul", "Gemm"):
            assert [producers[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2, node.name
        if node.op_type == "Conv":
            assert node.input[0] == "pixel_values"


def test_an_excluded_node_stays_in_floating_point(quantize, exported):
    import onnx

    name = next(node.name for node in onnx.load(str(exported)).graph.node if node.op_type == "Gemm")
    graph = onnx.load(str(quantize(exclude=(name,)) / "model.onnx")).graph
    producers = {output: node for node in graph.node for output in node.output}
    (gemm,) = (node for node in graph.node if node.name == name)
    assert all(producers[value].op_type != "DequantizeLinear" for value in gemm.input if value in producers)


def test_all_operators_and_dynamic_quantization_work_too(quantize, calibration):
    import onnx

    everything = onnx.load(str(quantize(operators=("all",), name="all") / "model.onnx")).graph
    assert any(node.op_type == "DequantizeLinear" and "Conv" in node.output[0] for node in everything.node)
    dynamic = onnx.load(str(quantize(images=None, name="dynamic") / "model.onnx")).graph
    assert any(node.op_type == "DynamicQuantizeLinear" for node in dynamic.node)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"operators": ("Matmul",)}, r"has no operator 'Matmul' \(did you mean 'MatMul'\?\)"),
        ({"exclude": ("/classifier/Gem",)}, r"has no node '/classifier/Gem' \(did you mean '/classifier/Gemm'\?\)"),
        ({"target": "arm"}, "there is no target 'arm'.*; available: avx512_vnni, avx2, arm64, tensorrt"),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_the_nearest_and_leaves_nothing(
    quantize, tmp_path, settings, message
):
    before = set(tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        quantize(**settings)
    assert set(tmp_path.iterdir()) == before


def test_an_output_that_exists_is_not_touched(quantize, tmp_path):
    (tmp_path / "int8").mkdir()
    with pytest.raises(UsageError, match="exists; choose another folder"):
        quantize()
    assert list((tmp_path / "int8").iterdir()) == []


SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
FAMILIES = {
    "deit": lambda: DeiTForImageClassificationWithTeacher(
        DeiTConfig(image_size=32, patch_size=8, intermediate_size=48, **SMALL)
    ),
    "vit_msn": lambda: ViTMSNForImageClassification(
        ViTMSNConfig(image_size=32, patch_size=8, intermediate_size=48, **SMALL)
    ),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(image_size=32, patch_size=8, mlp_ratio=2, **SMALL)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_calibrated_on_kept_patches_too(family, image_processor, calibration, tmp_path):
    torch.manual_seed(0)
    teacher = Teacher.from_model(FAMILIES[family](), image_processor)
    ranges = activation_ranges(export(teacher, image_processor, tmp_path / "float"), teacher, calibration)
    expected = pytorch_ranges(teacher, calibration)
    assert len(expected) >= 13
    for name, (low, high) in expected.items():
        assert np.allclose([value.item() for value in ranges[name].range_value], [low, high], atol=1e-4), name


def test_a_failed_export_says_why_and_leaves_nothing(image_processor, calibration, tmp_path):
    config = Dinov2WithRegistersConfig(image_size=32, patch_size=8, mlp_ratio=2, **SMALL)
    teacher = Teacher.from_model(Dinov2WithRegistersForImageClassification(config), image_processor)
    before = set(tmp_path.iterdir())
    with pytest.raises(RunError, match="'dinov2_with_registers' could not be exported to ONNX: UnsupportedOperator"):
        BACKENDS.get("onnx").quantize(teacher, image_processor, calibration, QuantizationSettings(), tmp_path / "int8")
    assert set(tmp_path.iterdir()) == before
