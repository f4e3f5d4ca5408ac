import re
from dataclasses import replace

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

from smi_hf import RunError, Teacher, UsageError, load_teacher
from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.images.kept import KeptImages
from smi_hf.quantization.backends.base import choose_layers
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.quantizer import Quantizer

if missing_packages("onnx"):
    pytest.skip("the onnx extra is absent", allow_module_level=True)

from smi_hf.quantization.backends.onnx import (
    OnnxBackend,
    OnnxFloatModel,
    activation_ranges,
    exporter,
    token_tensor,
)
from smi_hf.quantization.qdq import FLOAT_OUTPUTS, QdqRequest, quantized_graph

export = exporter().export


@pytest.fixture(scope="module")
def exported(tiny_checkpoint, tmp_path_factory):
    """Once for all tests: an exporter needs seconds."""
    return export(load_teacher(str(tiny_checkpoint)), tmp_path_factory.mktemp("exported") / "float")


@pytest.fixture
def quantize(teacher, calibration, exported, tmp_path):
    def run(*, images=calibration, name="int8", layers=None, **settings):
        config = QuantizationConfig(backend="onnx", **settings)
        model = OnnxFloatModel(teacher, exported)
        chosen = layers or choose_layers(model.layers, OnnxBackend(), config)
        model.quantize(images, config, chosen, tmp_path / name)
        teacher.image_processor.save_pretrained(tmp_path / name)
        return tmp_path / name

    return run


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
        elif isinstance(module, torch.nn.Linear) and "layer" in name:
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
    loud_ranges = activation_ranges(exported, teacher, KeptImages(loud, calibration.kept_BK, "loud"))
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

    assert token_tensor(onnx.load(str(exported)), "vit.embeddings") == "/vit/embeddings/Add_output_0"


def stock_model(folder):
    """The model by the loader that its card names."""
    if dependency_lane() == "latest":
        from transformers.exporters import ExportedModel

        return ExportedModel.from_pretrained(folder)
    from optimum.onnxruntime import ORTModelForImageClassification

    return ORTModelForImageClassification.from_pretrained(folder)


def test_the_stock_loader_of_the_lane_reads_it_and_it_answers_much_as_the_teacher(quantize, teacher, calibration):
    from transformers import AutoImageProcessor

    folder = quantize()
    model = stock_model(folder)
    AutoImageProcessor.from_pretrained(folder)
    logits = model(pixel_values=calibration.pixels_BCHW).logits
    expected = teacher.model(calibration.pixels_BCHW).logits
    # 8 bits: a few percent of the spread of the logits, not bits.
    assert float((logits - expected).abs().mean()) < 0.2 * float(expected.std())
    ours = OnnxBackend().load(folder)(calibration.pixels_BCHW.numpy())
    assert np.allclose(ours, logits, atol=1e-5)


def quantized_nodes(folder) -> dict[str, str]:
    """Type of each node that reads its first input in 8 bits, by name."""
    import onnx

    graph = onnx.load(str(folder / "model.onnx")).graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    passing = ("QuantizeLinear", "DequantizeLinear", "Shape")
    compute = (node for node in graph.node if node.op_type not in passing and node.input)
    return {node.name: node.op_type for node in compute if producers.get(node.input[0]) == "DequantizeLinear"}


def test_every_matmul_and_gemm_is_quantized_and_nothing_else(quantize):
    nodes = quantized_nodes(quantize())
    # Query, key, value, scores, their product with the values, output, and the two of the MLP, in two blocks.
    assert [list(nodes.values()).count(kind) for kind in ("MatMul", "Gemm")] == [2 * 8, 1]
    assert set(nodes.values()) == {"MatMul", "Gemm"}


@pytest.mark.parametrize("quantize_outputs", [False, True])
def test_both_inputs_of_a_matmul_are_quantized_and_its_output_if_asked(quantize, quantize_outputs):
    import onnx

    graph = onnx.load(str(quantize(quantize_outputs=quantize_outputs) / "model.onnx")).graph
    producers = {name: node for node in graph.node for name in node.output}
    readers = {name: [node for node in graph.node if name in node.input] for name in producers}
    linear = [
        node for node in graph.node if node.op_type == "MatMul" and re.search("(query|q_proj)/MatMul$", node.name)
    ]
    assert len(linear) == 2
    for node in linear:
        assert [producers[name].op_type for name in node.input] == ["DequantizeLinear"] * 2
        expected = "QuantizeLinear" if quantize_outputs else "Add"
        assert [reader.op_type for reader in readers[node.output[0]]] == [expected]


def test_an_excluded_node_stays_in_floating_point(quantize):
    everything = quantized_nodes(quantize(name="everything"))
    rest = quantized_nodes(quantize(exclude=("*/layer*.1/*", "/classifier/Gemm"), name="rest"))
    second = re.compile(r"/layers?\.1/|classifier")
    assert set(everything) - set(rest) == {name for name in everything if second.search(name)}
    assert len(rest) == 8


def test_a_layer_alone_is_the_only_one_quantized(quantize):
    assert quantized_nodes(quantize(layers=["/classifier/Gemm"])) == {"/classifier/Gemm": "Gemm"}


def widths_of_inputs(folder) -> dict[str, set[str]]:
    """Types that the quantized activations of each node come in, by its name; weights left out."""
    import onnx

    graph = onnx.load(str(folder / "model.onnx")).graph
    producers = {name: node for node in graph.node for name in node.output}
    kinds = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    found: dict[str, set[str]] = {}
    for node in graph.node:
        for made_by in (producers.get(name) for name in node.input if node.op_type in ("MatMul", "Gemm")):
            # Of an activation, what is dequantized was quantized just before.
            if made_by is not None and made_by.op_type == "DequantizeLinear" and made_by.input[0] in producers:
                found.setdefault(node.name, set()).add(kinds[made_by.input[2]])
    return found


def test_16_bits_are_those_of_the_standard_and_weights_keep_8(quantize, teacher, calibration):
    import onnx

    folder = quantize(activations=16)
    assert set().union(*widths_of_inputs(folder).values()) == {"UINT16"}
    model = onnx.load(str(folder / "model.onnx"))
    assert [entry.version for entry in model.opset_import if not entry.domain] == [21]
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    # Biases have 32 bits whatever the activations have.
    weights = [tensor for tensor in model.graph.initializer if tensor.name.endswith("_quantized")]
    assert {tensor.data_type for tensor in weights if "bias" not in tensor.name} == {onnx.TensorProto.INT8}


@pytest.mark.parametrize("options", [{}, {"quantize_outputs": True}, {"operators": ["all"], "quantize_outputs": True}])
def test_16_bits_are_nearer_to_float32_than_8(teacher, calibration, tmp_path, options):
    pixels = calibration.pixels_BCHW.numpy()
    errors = []
    for activations in (8, 16):
        config = QuantizationConfig(backend="onnx", activations=activations, **options)
        with Quantizer(teacher, config) as quantizer:
            quantizer.quantize(calibration, tmp_path / str(activations))
            reference = quantizer.float_predictor()(pixels)
            errors.append(float(np.abs(quantizer.load(tmp_path / str(activations))(pixels) - reference).mean()))
    # What is left is the weights'.
    assert errors[1] < 0.8 * errors[0]


def test_16_bits_have_room_for_more_than_calibration_saw(teacher, calibration, tmp_path):
    seen = replace(calibration, pixels_BCHW=0.6 * calibration.pixels_BCHW)
    pixels = calibration.pixels_BCHW.numpy()
    config = QuantizationConfig(backend="onnx", activations=16, operators=["all"], quantize_outputs=True)
    with Quantizer(teacher, config) as quantizer:
        reference = quantizer.float_predictor()(pixels)
        errors = []
        for name, images in (("seen", seen), ("all", calibration)):
            quantizer.quantize(images, tmp_path / name)
            errors.append(float(np.abs(quantizer.load(tmp_path / name)(pixels) - reference).mean()))
    assert errors[0] < 1.5 * errors[1]


def test_a_wide_layer_reads_16_bits_among_others_of_8(quantize, teacher, calibration):
    layer = {
        "full": "/vit/encoder/layer.1/output/dense/MatMul",
        "latest": "/vit/layers.1/mlp/fc2/MatMul",
    }[dependency_lane()]
    folder = quantize(wide_layers=[layer])
    widths = widths_of_inputs(folder)
    wide = {name for name, kinds in widths.items() if kinds == {"UINT16"}}
    assert wide == {layer}
    assert {kind for name, kinds in widths.items() if name not in wide for kind in kinds} == {"UINT8"}
    logits = stock_model(folder)(pixel_values=calibration.pixels_BCHW).logits
    expected = teacher.model(calibration.pixels_BCHW).logits
    assert float((logits - expected).abs().mean()) < 0.2 * float(expected.std())


def test_tensorrt_has_no_16_bits(quantize):
    with pytest.raises(UsageError, match="'tensorrt' has no activations of 16 bits"):
        quantize(activations=16, target="tensorrt")


def test_a_machine_without_the_targets_instructions_is_warned_about(quantize, monkeypatch, caplog):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    quantize()
    assert "target avx512_vnni: this machine lacks the instruction set avx512_vnni" in caplog.text
    caplog.clear()
    quantize(target="tensorrt", name="tensorrt")
    assert "lacks ONNX Runtime's TensorRT execution provider" in caplog.text


def test_all_operators_and_dynamic_quantization_work_too(quantize, calibration, caplog):
    import onnx

    caplog.clear()
    everything = onnx.load(str(quantize(operators=("all",), name="all") / "model.onnx")).graph
    assert not [remark for remark in caplog.messages if "out-of-range" in remark]
    assert any(node.op_type == "DequantizeLinear" and "Conv" in node.output[0] for node in everything.node)
    dynamic = onnx.load(str(quantize(images=None, name="dynamic") / "model.onnx")).graph
    assert any(node.op_type == "DynamicQuantizeLinear" for node in dynamic.node)


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


def dinov2_with_registers():
    config = Dinov2WithRegistersConfig(image_size=32, patch_size=8, mlp_ratio=2, **SMALL)
    return Dinov2WithRegistersForImageClassification(config)


if dependency_lane() == "latest":
    FAMILIES["dinov2_with_registers"] = dinov2_with_registers


@pytest.mark.parametrize("family", FAMILIES)
def test_other_families_are_calibrated_on_kept_patches_too(family, image_processor, calibration, tmp_path):
    torch.manual_seed(0)
    teacher = Teacher.from_model(FAMILIES[family](), image_processor)
    ranges = activation_ranges(export(teacher, tmp_path / "float"), teacher, calibration)
    expected = pytorch_ranges(teacher, calibration)
    assert len(expected) >= 13
    for name, (low, high) in expected.items():
        assert np.allclose([value.item() for value in ranges[name].range_value], [low, high], atol=1e-4), name


@pytest.mark.parametrize(
    ("target", "weights", "activations"),
    [
        ("avx512_vnni", "INT8", "UINT8"),
        ("avx2", "UINT8", "UINT8"),
        ("arm64", "INT8", "UINT8"),
        ("tensorrt", "INT8", "INT8"),
    ],
)
def test_a_target_has_the_types_of_optimums_presets(teacher, calibration, exported, target, weights, activations):
    import onnx

    layer = "/classifier/Gemm"
    ranges = activation_ranges(exported, teacher, calibration)
    graph = quantized_graph(QdqRequest(exported, target, (layer,), ("Gemm",), ranges, FLOAT_OUTPUTS)).graph
    makers = {name: node for node in graph.node for name in node.output}
    zeros = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}
    (gemm,) = (node for node in graph.node if node.name == layer)
    assert [zeros[makers[name].input[2]] for name in gemm.input[:2]] == [activations, weights]


@pytest.mark.skipif(dependency_lane() == "latest", reason="transformers 5 exports it")
def test_a_failed_export_says_why_and_leaves_nothing(image_processor, calibration, tmp_path):
    teacher = Teacher.from_model(dinov2_with_registers(), image_processor)
    # ONNX has no such operator in this exporter.
    teacher.model.backbone.layernorm.register_forward_hook(lambda module, _, output: torch.fft.fft(output).real)
    before = set(tmp_path.iterdir())
    with (
        pytest.raises(RunError, match="'dinov2_with_registers' could not be exported to ONNX: UnsupportedOperator"),
        Quantizer(teacher, QuantizationConfig(backend="onnx")),
    ):
        pass
    assert set(tmp_path.iterdir()) == before
