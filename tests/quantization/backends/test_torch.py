"""The back end "torch": a program that stock loaders read, with ranges of the kept patches alone."""

import numpy as np
import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
)

from smi_hf import Teacher, UsageError, load_teacher
from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.images.kept import KeptImages
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings, choose_layers
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.costs import folder_size

needs_torchao = pytest.mark.skipif(bool(missing_packages("torch")), reason="needs the latest lane with extra torch")

SMALL = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 1, "num_attention_heads": 3, "num_labels": 5}
NARROW = {"hidden_size": 24, "initializer_range": 0.2, **SMALL}
FAMILIES = {
    "deit": lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(intermediate_size=48, **NARROW)),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(mlp_ratio=2, **NARROW)),
}


@pytest.fixture
def backend():
    return BACKENDS.get("torch")


def input_ranges(folder) -> dict[str, tuple[float, float]]:
    """(low, high) of what each quantized Linear layer reads, by its name."""
    ranges = {}
    program = torch.export.load(folder / "model.pt2")
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.linear.default and "dequantize_per_tensor" in str(node.args[0].target):
            _, scale, zero, lowest, highest, _ = node.args[0].args
            # Weights are integers with a name of their own.
            bias = program.graph_signature.inputs_to_parameters[node.args[2].name]
            name = bias.removeprefix("encoder.").removesuffix(".bias")
            ranges[name] = ((lowest - zero) * scale, (highest - zero) * scale)
    return ranges


def steps(folder) -> set[tuple[int, int]]:
    """Lowest and highest integers of activations."""
    nodes = torch.export.load(folder / "model.pt2").graph.nodes
    return {node.args[3:5] for node in nodes if "quantize_per_tensor.default" in str(node.target)}


def pytorch_ranges(teacher, images) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of what each Linear layer reads in PyTorch's sparse forward."""
    ranges = {}

    def note(name, value):
        ranges[name] = float(value.min()), float(value.max())

    hooks = [
        module.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))
        for name, module in teacher.model.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    with torch.no_grad():
        teacher.model(images.pixels_BCHW, images.kept_BK)
    for hook in hooks:
        hook.remove()
    return ranges


def with_an_integer_for_zero(low: float, high: float) -> tuple[float, float]:
    """A range of 255 steps that holds zero and has an integer for it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = round(-low / scale)
    return -zero * scale, (255 - zero) * scale


def distance(first, second) -> float:
    """Mean distance of logits, in standard deviations of the second."""
    return float(np.abs(first - second).mean() / second.std())


@needs_torchao
@pytest.mark.parametrize(("family", "image_size"), [("deit", 32), ("dinov2", 48)])
def test_it_answers_as_the_teacher_from_ranges_of_a_sparse_forward(
    backend, image_processor, tmp_path, family, image_size
):
    torch.manual_seed(0)
    teacher = Teacher.from_model(FAMILIES[family](), image_processor, image_size=image_size)
    prepared = backend.prepare(teacher, tmp_path)
    pixels = torch.randn(3, 3, image_size, image_size)
    with torch.no_grad():
        expected = teacher.model(pixels).logits.numpy()
    assert np.allclose(prepared.load()(pixels.numpy()), expected, atol=1e-5)
    # Query, key, value, output of attention, the two of the MLP; then the head, of which DeiT has two here.
    assert len(prepared.layers) == 6 + 1 + (family == "deit")

    # Batches that differ, as a mean over batches is a habit of some quantizers.
    shown = pixels.repeat(30, 1, 1, 1) * torch.linspace(0.1, 1, 90)[:, None, None, None]
    images = KeptImages(shown, torch.tensor([[0, 3, 7, 8]]).repeat(90, 1), "growing")
    assert len(list(images.tokens(teacher.model))) > 1
    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), tmp_path / "int8")
    ranges, wanted = input_ranges(tmp_path / "int8"), pytorch_ranges(teacher, images)
    assert ranges.keys() == wanted.keys() == prepared.layers.keys()
    for name, found in ranges.items():
        # float32 is rounded differently; the values are of order 1 to 10.
        assert found == pytest.approx(with_an_integer_for_zero(*wanted[name]), abs=1e-3), name
    # 8 bits: a few percent, not bits.
    assert 0 < distance(backend.load(tmp_path / "int8")(pixels.numpy()), expected) < 0.1


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    return KeptImages(torch.randn(6, 3, 32, 32), torch.tensor([[0, 3, 7, 8, 12]]).repeat(6, 1), "random")


@pytest.fixture(scope="module")
def prepared(tiny_checkpoint, tmp_path_factory):
    teacher = load_teacher(str(tiny_checkpoint))
    return BACKENDS.get("torch").prepare(teacher, tmp_path_factory.mktemp("torch"))


@pytest.fixture(scope="module")
def int8(prepared, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch") / "int8"
    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), folder)
    return folder


@needs_torchao
def test_ranges_ignore_what_stands_in_pruned_patches(prepared, images, int8, tmp_path, capfd):
    grid = prepared.teacher.model.grid
    kept = grid.paste(torch.ones_like(grid.cut(images.pixels_BCHW, images.kept_BK)), images.kept_BK)
    loud = KeptImages(torch.where(kept == 1, images.pixels_BCHW, 1e4), images.kept_BK, "loud")
    assert float(loud.pixels_BCHW.max()) == 1e4
    prepared.quantize(loud, QuantizationConfig(), list(prepared.layers), tmp_path / "loud")
    assert input_ranges(tmp_path / "loud") == input_ranges(int8)
    assert capfd.readouterr() == ("", "")


@needs_torchao
def test_a_layer_that_is_excluded_keeps_its_weights_in_floating_point(backend, prepared, images, int8, tmp_path):
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig(exclude=["classifier", "*.1.mlp.*"]))
    assert len(chosen) == len(prepared.layers) - 3
    prepared.quantize(images, QuantizationConfig(), chosen, tmp_path / "some")
    assert list(input_ranges(tmp_path / "some")) == chosen
    for folder, quantized in ((int8, list(prepared.layers)), (tmp_path / "some", chosen)):
        tensors = torch.export.load(folder / "model.pt2").state_dict
        weights = {name: value for name, value in tensors.items() if name.startswith("encoder.") and value.ndim > 1}
        assert [value.dtype for value in weights.values()].count(torch.int8) == len(quantized)
        in_float = {name for name, value in weights.items() if value.dtype == torch.float32}
        assert in_float == {f"encoder.{name}.weight" for name in prepared.layers if name not in quantized}
        assert folder_size(folder) == (folder / "model.pt2").stat().st_size


@needs_torchao
def test_without_vnni_activations_have_7_bits(prepared, images, int8, tmp_path):
    prepared.quantize(images, QuantizationConfig(target="avx2"), ["classifier"], tmp_path / "avx2")
    (half,) = input_ranges(tmp_path / "avx2").values()
    assert steps(tmp_path / "avx2") == {(0, 127)} and steps(int8) == {(0, 255)}
    assert half == pytest.approx(input_ranges(int8)["classifier"], abs=0.1)


@needs_torchao
def test_a_fresh_process_runs_it_without_smi_hf_for_any_number_of_images(backend, int8, images, tmp_path, run_command):
    assert backend.is_saved_in(int8) and not backend.is_saved_in(tmp_path)
    pixels = images.pixels_BCHW.numpy()
    np.save(tmp_path / "pixels.npy", pixels)
    program = f"""
import sys, numpy, torch
import torchao.quantization.pt2e.quantize_pt2e
from transformers.exporters import ExportedModel
model = ExportedModel.from_pretrained({str(int8)!r})
pixels = torch.from_numpy(numpy.load({str(tmp_path / "pixels.npy")!r}))
logits = torch.cat([model(pixel_values=part).logits for part in pixels.split([1, 2, 3])])
numpy.save({str(tmp_path / "logits.npy")!r}, logits.detach().numpy())
assert "smi_hf" not in sys.modules and model.config.id2label[4] == "LABEL_4"
"""
    result = run_command("python", "-c", program)
    assert result.returncode == 0, result.stderr
    expected = backend.load(int8)(pixels)
    # A batch's shape decides the order of sums, so a value may fall to the next of 256 steps.
    assert np.allclose(np.load(tmp_path / "logits.npy"), expected, atol=0.05 * expected.std())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": 4}, "'torch' has no weights of 4 bits with activations of 8; it has (weights/activations) 8/8"),
        ({"quantize_outputs": True}, "back end 'torch' has no choice about outputs"),
        ({"wide_layers": ["classifier"]}, "back end 'torch' has no layers of 16 bits among others"),
        ({"target": "arm64"}, "there is no target 'arm64'; back end 'torch' has avx512_vnni, avx2"),
    ],
)
def test_what_it_has_not_is_refused(settings, says, monkeypatch):
    monkeypatch.setattr("smi_hf.quantization.backends.base.check_extra", lambda *_: None)
    with pytest.raises(UsageError) as error:
        check_settings("torch", QuantizationConfig(backend="torch", **settings))
    assert says in str(error.value)


@pytest.mark.skipif(dependency_lane() == "latest", reason="this lane has it")
def test_the_other_lane_is_told_which_one_has_it():
    with pytest.raises(
        UsageError, match=r"^back end 'torch' needs transformers 5, .*: the latest lane has it, transformers 5"
    ):
        check_settings("torch", QuantizationConfig(backend="torch"))
