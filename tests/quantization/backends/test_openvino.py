import logging

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTMSNConfig,
    ViTMSNForImageClassification,
)

from smi_hf import RunError, Teacher
from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.images.kept import KeptImages
from smi_hf.quantization.backends.base import BACKENDS, check_settings, choose_layers
from smi_hf.quantization.config import QuantizationConfig

if missing_packages("openvino"):
    pytest.skip("the openvino extra is absent", allow_module_level=True)

from smi_hf.quantization.backends.openvino import MODEL_FILE, import_openvino, openvino_core

openvino = import_openvino()

SMALL = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
NARROW = {"hidden_size": 24, "initializer_range": 0.2, **SMALL}
FAMILIES = {
    "vit": lambda: ViTForImageClassification(ViTConfig(intermediate_size=48, **NARROW)),
    "deit": lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(intermediate_size=48, **NARROW)),
    "vit_msn": lambda: ViTMSNForImageClassification(ViTMSNConfig(intermediate_size=48, **NARROW)),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(mlp_ratio=2, **NARROW)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersForImageClassification(
        Dinov2WithRegistersConfig(mlp_ratio=2, **NARROW)
    ),
}
# In a block: query, key, value, output of attention, and the two of the MLP.
NUM_MATMULS = 2 * 6 + 1


@pytest.fixture
def backend():
    return BACKENDS.get("openvino")


@pytest.fixture
def make_teacher(image_processor):
    def make(family: str, image_size: int = 32) -> Teacher:
        torch.manual_seed(0)
        model = FAMILIES[family]()
        # Fresh biases are zero, and OpenVINO drops the sum with a zero.
        for parameter in model.parameters():
            if parameter.ndim == 1:
                nn.init.normal_(parameter, mean=1.0, std=0.2)
        return Teacher.from_model(model, image_processor, image_size=image_size)

    return make


@pytest.fixture
def prepared(backend, teacher, tmp_path):
    return backend.prepare(teacher, tmp_path / "work")


@pytest.fixture
def quantize(prepared, calibration, tmp_path):
    def run(*, images=calibration, name="int8", layers=None, **settings):
        prepared.quantize(images, QuantizationConfig(**settings), layers or list(prepared.layers), tmp_path / name)
        return tmp_path / name

    return run


def read(folder):
    return openvino_core().read_model(folder / MODEL_FILE)


def activation_ranges(folder) -> dict[str, tuple[float, float]]:
    """(low, high) of each quantized activation, by the operator that makes it."""
    return {
        node.input_value(0).get_node().get_friendly_name(): tuple(
            node.input_value(port).get_node().get_data().item() for port in (1, 2)
        )
        for node in read(folder).get_ordered_ops()
        if node.get_type_name() == "FakeQuantize"
    }


def quantized_layers(folder) -> dict[str, str]:
    """Type of each layer that reads its first input in 8 bits, by name."""
    found = {}

    def follow(output) -> None:
        for reader in output.get_target_inputs():
            node = reader.get_node()
            if node.get_type_name() in ("Reshape", "Transpose", "Gather", "Concat"):
                follow(node.output(0))
            elif node.get_type_name() != "ShapeOf" and reader.get_index() == 0:
                found[node.get_friendly_name()] = node.get_type_name()

    for node in read(folder).get_ordered_ops():
        if node.get_type_name() == "FakeQuantize":
            follow(node.output(0))
    return found


def weight_types(folder) -> dict[str, str]:
    """Element type of the weights of each MatMul and Convolution, by name."""
    types = {}
    for node in read(folder).get_ordered_ops():
        if node.get_type_name() in ("MatMul", "Convolution"):
            source = node.input_value(1).get_node()
            while source.get_type_name() != "Constant":
                source = source.input_value(0).get_node()
            types[node.get_friendly_name()] = source.get_element_type().get_type_name()
    return types


def pytorch_ranges(teacher, calibration) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of what each module gives in PyTorch's sparse forward, and of the pixels."""
    ranges: dict[str, tuple[float, float]] = {}

    def note(name, tensor):
        low, high = ranges.get(name, (float("inf"), -float("inf")))
        ranges[name] = min(low, float(tensor.min())), max(high, float(tensor.max()))

    def watch(name):
        def hook(module, inputs, output):
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, torch.Tensor):
                note(name, output)

        return hook

    model = teacher.model.model
    # In transformers 5 a module of attention holds the layer behind it, too: what that reads is what attention gives.
    behind = {name: module.o_proj for name, module in model.named_modules() if hasattr(module, "o_proj")}
    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name not in behind]
    hooks += [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, layer in behind.items()
    ]
    with torch.no_grad():
        teacher.model(calibration.pixels_BCHW, calibration.kept_BK)
    for hook in hooks:
        hook.remove()
    note("pixel_values", teacher.model.grid.cut(calibration.pixels_BCHW, calibration.kept_BK))
    return ranges


def symmetric(low: float, high: float) -> tuple[float, float]:
    """What NNCF makes of a range where both factors of a product are activations: from -128 to 127, zero at 0."""
    high = max(-low, high)
    return -high * 128 / 127, high


def with_an_integer_for_zero(low: float, high: float) -> tuple[float, float]:
    """What NNCF makes of any other range: one end is moved outwards until zero falls on one of the 256 values."""
    low, high = min(low, 0.0), max(high, 0.0)
    zero = round(-255 * low / (high - low))
    lower = high * zero / (zero - 255) if zero < 255 else low
    higher = low * (zero - 255) / zero if zero > 0 else high
    return (lower, high) if high - lower > higher - low else (low, higher)


def module_of(operator: str) -> str:
    """Name of the module that an operator comes from: "__module.classifier/aten::linear/MatMul"."""
    return operator.removeprefix("__module.").split("/")[0]


def with_loud_pruned_patches(teacher, calibration) -> KeptImages:
    grid = teacher.model.grid
    kept = grid.paste(torch.ones_like(grid.cut(calibration.pixels_BCHW, calibration.kept_BK)), calibration.kept_BK)
    pixels_BCHW = torch.where(kept == 1, calibration.pixels_BCHW, 1e4)
    assert float(pixels_BCHW.max()) == 1e4
    return KeptImages(pixels_BCHW, calibration.kept_BK, "loud")


def stock_model(folder):
    """The model by the loader that its card names."""
    if dependency_lane() == "latest":
        from transformers.exporters import ExportedModel

        return ExportedModel.from_pretrained(folder)
    from optimum.intel import OVModelForImageClassification

    return OVModelForImageClassification.from_pretrained(folder)


def test_the_stock_loader_of_the_lane_reads_it_and_it_answers_much_as_the_teacher(quantize, teacher, calibration):
    model = stock_model(quantize())
    logits = model(pixel_values=calibration.pixels_BCHW).logits
    expected = teacher.model(calibration.pixels_BCHW).logits
    # 8 bits: a few percent of the spread of the logits, not bits.
    assert float((logits - expected).abs().mean()) < 0.2 * float(expected.std())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("image_size", [32, 48])
def test_the_float_model_gives_the_teachers_logits(backend, make_teacher, tmp_path, family, image_size):
    teacher = make_teacher(family, image_size)
    prepared = backend.prepare(teacher, tmp_path)
    pixels = torch.randn(3, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = teacher.model(pixels).logits.numpy()
    # Two runtimes round float32 differently; the logits are of order 1, and bfloat16 would show in the second digit.
    assert np.allclose(prepared.load()(pixels.numpy()), expected, atol=1e-4)
    # Positions are a constant.
    assert not any(node.get_type_name() == "Interpolate" for node in read(prepared.folder).get_ordered_ops())


@pytest.mark.parametrize("family", FAMILIES)
def test_ranges_are_those_of_a_pytorch_sparse_forward(backend, make_teacher, calibration, tmp_path, family):
    teacher = make_teacher(family)
    prepared = backend.prepare(teacher, tmp_path / "work")
    # Several batches that differ, as a mean over batches is the quantizer's own habit.
    pixels_BCHW = torch.cat([calibration.pixels_BCHW * scale for scale in (0.1, 1, 0.3)])
    images = KeptImages(pixels_BCHW, calibration.kept_BK.repeat(3, 1), "three batches")
    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), tmp_path / "int8")
    ranges = activation_ranges(tmp_path / "int8")
    expected = pytorch_ranges(teacher, images)
    # Pixels; in a block two norms, query, key, attention and GELU; what enters the head.
    assert len(ranges) >= 1 + 2 * 6 + 1
    for name, (low, high) in ranges.items():
        # DINOv2 concatenates the CLS token and the mean of the patches: one range for both, that of the norm before.
        of_head = name == "aten::mean/ReduceMean"
        lowest, highest = expected[f"{teacher.model.family.backbone}.layernorm" if of_head else module_of(name)]
        both_factors = module_of(name).endswith(("query", "key", "q_proj", "k_proj"))
        wanted = symmetric(lowest, highest) if both_factors else with_an_integer_for_zero(lowest, highest)
        # Two runtimes round float32 differently; the values are of order 1 to 10.
        assert (low, high) == pytest.approx(wanted, abs=1e-3), name


def test_ranges_ignore_what_stands_in_pruned_patches(quantize, teacher, calibration):
    quiet = activation_ranges(quantize(name="quiet"))
    assert activation_ranges(quantize(name="loud", images=with_loud_pruned_patches(teacher, calibration))) == quiet


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_that_is_listed_is_quantized_and_nothing_else(
    backend, make_teacher, calibration, tmp_path, family
):
    prepared = backend.prepare(make_teacher(family), tmp_path / "work")
    kinds = list(prepared.layers.values())
    counts = [kinds.count(kind) for kind in ("Convolution", "MatMul", "ScaledDotProductAttention")]
    # DeiT here has two heads.
    assert counts == [1, NUM_MATMULS + (family == "deit"), 2]
    assert kinds[0] == "Convolution" and "classifier" in list(prepared.layers)[-1]
    prepared.quantize(calibration, QuantizationConfig(), list(prepared.layers), tmp_path / "int8")
    assert quantized_layers(tmp_path / "int8") == prepared.layers
    assert set(weight_types(tmp_path / "int8").values()) == {"i8"}


def test_an_excluded_layer_stays_in_floating_point(backend, quantize, prepared):
    exclude = ("*layer*.1.*", "__module.classifier/*")
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig(exclude=exclude))
    folder = quantize(layers=chosen)
    assert len(chosen) == len(prepared.layers) - 6 - 1 - 1
    assert list(quantized_layers(folder)) and set(quantized_layers(folder)) == set(chosen)
    for name, kind in weight_types(folder).items():
        assert kind == ("i8" if name in chosen else "f32"), name


@pytest.mark.parametrize("index", range(6), ids=["Convolution", "query", "key", "value", "attention", "output"])
def test_a_layer_alone_is_the_only_one_quantized(quantize, prepared, index):
    (name, kind) = list(prepared.layers.items())[index]
    folder = quantize(layers=[name])
    assert quantized_layers(folder) == {name: kind}
    assert [other for other, bits in weight_types(folder).items() if bits != "f32"] == [name] * (
        kind != "ScaledDotProductAttention"
    )


@pytest.mark.parametrize(("weights", "expected"), [(8, "i8"), (4, "i4")])
def test_weights_alone_are_integers_and_need_no_calibration(
    backend, quantize, prepared, teacher, calibration, weights, expected
):
    settings = {"weights": weights, "activations": 32}
    check_settings("openvino", QuantizationConfig(**settings))
    kept_float, *rest = [name for name, kind in prepared.layers.items() if kind == "MatMul"]
    convolution = next(iter(prepared.layers))
    folder = quantize(images=None, layers=[convolution, *rest], **settings)
    assert activation_ranges(folder) == {}
    types = weight_types(folder)
    assert types.pop(kept_float) == "f32"
    # NNCF has no convolution of 4 bits.
    assert types.pop(convolution) in ("i8", "u8")
    assert set(types.values()) == {expected}
    logits = backend.load(folder)(calibration.pixels_BCHW.numpy())
    reference = teacher.model(calibration.pixels_BCHW).logits.numpy()
    # 4 bits: 15 values a channel, so tens of percent of the spread of the logits.
    assert np.abs(logits - reference).mean() < (0.1 if weights == 8 else 0.6) * reference.std()


def test_any_batch_size_works_after_loading(backend, quantize, calibration):
    folder = quantize()
    assert backend.is_saved_in(folder) and not backend.is_saved_in(folder.parent)
    predict = backend.load(folder)
    pixels = calibration.pixels_BCHW.numpy()
    together = predict(pixels)
    assert together.dtype == np.float32 and together.shape == (6, 5)
    for size in (1, 4):
        # A batch's shape decides the order of sums, so a value may fall to the next of 256 steps.
        assert np.allclose(predict(pixels[:size]), together[:size], atol=0.05 * together.std())


def test_the_teacher_is_left_as_it_was(backend, teacher, calibration, tmp_path):
    with torch.no_grad():
        before = teacher.model(calibration.pixels_BCHW, calibration.kept_BK).logits
        backend.prepare(teacher, tmp_path)
        assert torch.equal(teacher.model(calibration.pixels_BCHW, calibration.kept_BK).logits, before)
    assert not {"forward", "interpolate_pos_encoding"} & set(vars(teacher.model.embeddings))


def test_a_failed_conversion_says_why_in_one_sentence_and_mutes_nobody(backend, teacher, tmp_path, caplog):
    class Bessel(nn.Module):
        def forward(self, hidden_BD):
            return torch.special.bessel_j0(hidden_BD)

    teacher.model.model.classifier = Bessel()
    with pytest.raises(RunError, match=r"^'vit' could not be converted to OpenVINO: OpConversionFailure: .*$"):
        backend.prepare(teacher, tmp_path)
    assert list(tmp_path.iterdir()) == []
    logging.getLogger("smi_hf").warning("heard")
    assert caplog.messages[-1] == "heard"


def test_it_says_nothing_and_reports_nothing(tiny_checkpoint, tmp_path, run_command):
    program = f"""
import sys
from pathlib import Path
from smi_hf import load_teacher
from smi_hf.quantization.backends.base import BACKENDS
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.images.controls.gaussian import gaussian_noise
from transformers.utils import logging
# transformers 5 draws one as it loads the teacher.
logging.disable_progress_bar()
teacher = load_teacher({str(tiny_checkpoint)!r})
prepared = BACKENDS.get("openvino").prepare(teacher, Path({str(tmp_path)!r}))
for weights, activations in ((8, 8), (8, 32)):
    settings = QuantizationConfig(weights=weights, activations=activations)
    folder = Path({str(tmp_path)!r}) / f"{{weights}}-{{activations}}"
    prepared.quantize(gaussian_noise(teacher.model, 2), settings, list(prepared.layers), folder)
    BACKENDS.get("openvino").load(folder)
assert sys.modules["openvino_telemetry"] is None
"""
    result = run_command("python", "-c", program)
    assert result.returncode == 0, result.stderr
    assert (result.stdout, result.stderr) == ("", "")


def test_a_signal_reaches_a_process_whose_models_are_gone(tiny_checkpoint, tmp_path, run_command):
    program = f"""
import os, signal
from pathlib import Path
from smi_hf import load_teacher
from smi_hf.quantization.backends.base import BACKENDS
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.images.controls.gaussian import gaussian_noise
backend, teacher = BACKENDS.get("openvino"), load_teacher({str(tiny_checkpoint)!r})
prepared = backend.prepare(teacher, Path({str(tmp_path)!r}))
folder = Path({str(tmp_path)!r}) / "int8"
prepared.quantize(gaussian_noise(teacher.model, 2), QuantizationConfig(), list(prepared.layers), folder)
first, second = prepared.load(), backend.load(folder)
del first
del second
signal.signal(signal.SIGUSR1, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    result = run_command("python", "-c", program)
    assert (result.returncode, result.stdout) == (0, "heard\n"), result.stderr
