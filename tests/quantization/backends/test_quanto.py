import copy
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForImageClassification,
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

from smi_hf import Teacher, UsageError
from smi_hf.environment import missing_packages
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends.base import BACKENDS, check_settings, choose_layers
from smi_hf.quantization.config import QuantizationConfig

if missing_packages("quanto"):
    pytest.skip("the quanto extra is not installed", allow_module_level=True)

from optimum.quanto import QLinear, QModuleMixin, QuantizedTransformersModel
from safetensors.torch import load_file, save_file

from smi_hf.quantization.backends import quanto
from smi_hf.quantization.backends.quanto import load_model, quantized_copy

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
WIDTHS = [(weights, activations) for activations in (8, 32) for weights in (8, 4, 2)]


@pytest.fixture
def backend():
    return BACKENDS.get("quanto")


@pytest.fixture
def prepared(backend, teacher, tmp_path):
    return backend.prepare(teacher, tmp_path)


@pytest.fixture
def wide(backend, image_processor, tmp_path):
    """Layers as wide as those of DeiT-Tiny: wide enough for groups, and for weights to outweigh everything else."""
    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(hidden_size=192, intermediate_size=768, **SMALL))
    return backend.prepare(Teacher.from_model(model, image_processor), tmp_path)


def quantized(prepared, calibration, layers=None, **settings) -> SparseClassifier:
    return quantized_copy(prepared.model, calibration, QuantizationConfig(**settings), layers or list(prepared.layers))


def weight_bytes(folder) -> int:
    return (folder / "model.safetensors").stat().st_size


def linears(model: nn.Module) -> dict[str, type]:
    return {name: type(module) for name, module in model.named_modules() if isinstance(module, nn.Linear)}


def input_scales(model: SparseClassifier) -> dict[str, float]:
    return {name: float(layer.input_scale) for name, layer in model.model.named_modules() if type(layer) is QLinear}


def float_maxima(prepared, calibration) -> dict[str, float]:
    """Absolute maximum of what enters each Linear layer in PyTorch's sparse forward in floating point."""
    maxima: dict[str, float] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, inputs, name=name: maxima.update({name: float(inputs[0].abs().max())})
        )
        for name, module in prepared.model.model.named_modules()
        if isinstance(module, nn.Linear)
    ]
    with torch.no_grad():
        prepared.model(calibration.pixels_BCHW, calibration.kept_BK)
    for hook in hooks:
        hook.remove()
    return maxima


@pytest.mark.parametrize(("weights", "activations"), WIDTHS)
def test_a_saved_model_gives_the_logits_that_it_had_in_memory(
    backend, prepared, calibration, tmp_path, weights, activations
):
    settings = {"weights": weights, "activations": activations}
    check_settings("quanto", QuantizationConfig(**settings))
    prepared.quantize(calibration, QuantizationConfig(**settings), list(prepared.layers), tmp_path / "saved")
    assert backend.is_saved_in(tmp_path / "saved") and not backend.is_saved_in(prepared.folder)
    with torch.no_grad():
        expected = quantized(prepared, calibration, **settings).model(pixel_values=calibration.pixels_BCHW).logits
    got = backend.load(tmp_path / "saved")(calibration.pixels_BCHW.numpy())
    assert got.dtype == np.float32
    assert np.array_equal(got, expected.numpy())


def test_quantos_own_class_loads_the_model_and_gives_the_same_logits(backend, prepared, calibration, tmp_path):
    class QuantizedModelForImageClassification(QuantizedTransformersModel):
        auto_class = AutoModelForImageClassification

    prepared.quantize(calibration, QuantizationConfig(), list(prepared.layers), tmp_path / "saved")
    model = QuantizedModelForImageClassification.from_pretrained(tmp_path / "saved")
    for layer in model.modules():
        if isinstance(layer, QModuleMixin):
            layer.disable_output_quantization()
    pixels = calibration.pixels_BCHW
    with torch.no_grad():
        assert np.array_equal(
            model(pixel_values=pixels).logits.numpy(), backend.load(tmp_path / "saved")(pixels.numpy())
        )


def test_it_answers_in_a_process_of_its_own_and_says_nothing(backend, prepared, calibration, tmp_path, run_command):
    prepared.quantize(calibration, QuantizationConfig(weights=4), list(prepared.layers), tmp_path / "saved")
    pixels = calibration.pixels_BCHW.numpy()
    np.save(tmp_path / "pixels.npy", pixels)
    program = f"""
from pathlib import Path
import numpy, torch
from smi_hf.quantization.loading import saved_backend
from smi_hf.quantization.backends.base import BACKENDS
folder = Path({str(tmp_path)!r})
numpy.save(folder / "logits.npy", BACKENDS.get(saved_backend(folder / "saved")).load(folder / "saved")(
    numpy.load(folder / "pixels.npy")))
"""
    result = run_command(sys.executable, "-c", program)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert np.array_equal(np.load(tmp_path / "logits.npy"), backend.load(tmp_path / "saved")(pixels))


def test_every_linear_layer_is_listed_in_forward_order_and_quantized(backend, prepared, calibration):
    names = list(prepared.layers)
    assert set(prepared.layers.values()) == {"Linear"}
    assert len(names) == 2 * 6 + 1
    assert names[-1] == "classifier" and ".0." in names[0] and ".1." in names[6]
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig())
    model = quantized(prepared, calibration, chosen).model
    assert linears(model) == dict.fromkeys(linears(model), QLinear)
    assert type(model.vit.embeddings.patch_embeddings.projection) is nn.Conv2d


def test_an_excluded_layer_stays_in_floating_point(backend, prepared, calibration):
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig(exclude=("classifier", "*layer*.0.*")))
    kinds = linears(quantized(prepared, calibration, chosen).model)
    assert {name for name, kind in kinds.items() if kind is QLinear} == set(chosen)
    assert len(chosen) == 6 and kinds["classifier"] is nn.Linear


def test_one_layer_alone_can_be_quantized(prepared, calibration):
    name = list(prepared.layers)[4]
    model = quantized(prepared, calibration, [name]).model
    assert [layer for layer, kind in linears(model).items() if kind is QLinear] == [name]
    before, after = prepared.model.model.state_dict(), model.state_dict()
    assert {key for key in before if key not in after or not torch.equal(before[key], after[key])} == {
        f"{name}.weight"
    }


def test_what_stands_in_pruned_patches_is_ignored_bit_by_bit(prepared, calibration):
    grid = prepared.model.grid
    loud = calibration.pixels_BCHW.clone()
    shown = grid.paste(torch.ones_like(grid.cut(loud, calibration.kept_BK)), calibration.kept_BK, fill=0).bool()
    loud[~shown] = 1e4
    expected = quantized(prepared, calibration).model.state_dict()
    got = quantized(prepared, KeptImages(loud, calibration.kept_BK, "loud")).model.state_dict()
    assert len(expected) > 4 * 13
    assert all(torch.equal(expected[name], got[name]) for name in expected)


@pytest.mark.parametrize("weights", [8, 2])
def test_input_scales_are_the_absolute_maximum_over_all_images(prepared, teacher, calibration, weights):
    # Three batches, of which any but the maximum (an average, the last one) is another number; and kept patches.
    for shown in (gaussian_noise(teacher.model, 20), calibration):
        expected = {name: value / 127 for name, value in float_maxima(prepared, shown).items()}
        # One batch there, several here: products of other shapes are summed in another order.
        assert input_scales(quantized(prepared, shown, weights=weights)) == pytest.approx(expected, rel=1e-5)


def test_scales_do_not_depend_on_the_order_of_the_images(prepared, teacher):
    images = gaussian_noise(teacher.model, 20)
    order = torch.arange(19, -1, -1)
    reversed_ = KeptImages(images.pixels_BCHW[order], images.kept_BK[order], images.source)
    expected = pytest.approx(input_scales(quantized(prepared, images)), rel=1e-5)
    assert input_scales(quantized(prepared, reversed_)) == expected


def test_no_layer_quantizes_its_output(prepared, calibration, tmp_path):
    prepared.quantize(calibration, QuantizationConfig(), list(prepared.layers), tmp_path / "saved")
    for model in (quantized(prepared, calibration).model, load_model(tmp_path / "saved")):
        for layer in model.modules():
            if type(layer) is QLinear:
                assert len(layer._forward_pre_hooks) == 1 and not layer._forward_hooks
        assert type(model(pixel_values=calibration.pixels_BCHW).logits) is torch.Tensor


@pytest.mark.parametrize(("bits", "num_values"), [(4, 16), (2, 4)])
def test_few_bits_give_few_values_in_each_group(wide, bits, num_values):
    model = quantized(wide, None, weights=bits, activations=32).model
    groups = {"classifier": 96, list(wide.layers)[4]: 96, list(wide.layers)[5]: 128}
    for name, size in groups.items():
        layer = model.get_submodule(name)
        assert layer.weight_group_size == size
        numbers = [len(group.unique()) for group in layer.weight.dequantize().reshape(-1, size)]
        assert num_values // 2 < max(numbers) <= num_values


@pytest.mark.parametrize("activations", [8, 32])
def test_more_bits_make_a_smaller_error(prepared, calibration, activations):
    pixels = calibration.pixels_BCHW
    with torch.no_grad():
        exact = prepared.model(pixels).logits
        errors = [
            float(
                (quantized(prepared, calibration, weights=bits, activations=activations)(pixels).logits - exact).norm()
            )
            for bits in (8, 4, 2)
        ]
    assert 0 < 5 * errors[0] < errors[1] < errors[2] / 2


def test_fewer_bits_make_a_smaller_folder(wide, tmp_path):
    calibration = gaussian_noise(wide.model, 2)
    sizes = [weight_bytes(wide.folder)]
    for bits in (8, 4, 2):
        wide.quantize(calibration, QuantizationConfig(weights=bits), list(wide.layers), tmp_path / str(bits))
        sizes.append(weight_bytes(tmp_path / str(bits)))
    ratios = [size / sizes[0] for size in sizes[1:]]
    # The patch embedding is in floating point, 4 % of these weights; groups add a scale and a shift each.
    assert ratios[0] < 1 / 3 and ratios[1] < 1 / 4 and ratios[2] < 1 / 5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_quantized_saved_and_run_sparsely(backend, family, image_processor, tmp_path):
    torch.manual_seed(0)
    teacher = Teacher.from_model(FAMILIES[family](), image_processor)
    prepared = backend.prepare(teacher, tmp_path)
    images = gaussian_noise(teacher.model, 3)
    kept = torch.tensor([[0, 3, 5, 9, 14]] * 3)
    calibration = KeptImages(images.pixels_BCHW, kept, "kept patches")
    prepared.quantize(calibration, QuantizationConfig(), list(prepared.layers), tmp_path / "saved")

    model = load_model(tmp_path / "saved")
    assert type(model) is type(teacher.model.model)
    assert set(linears(model)) == set(prepared.layers) and set(linears(model).values()) == {QLinear}
    sparse = SparseClassifier(model)
    with torch.no_grad():
        in_memory = quantized(prepared, calibration)(images.pixels_BCHW, kept).logits
        assert torch.equal(sparse(images.pixels_BCHW, kept).logits, in_memory)
        dense = model(pixel_values=images.pixels_BCHW).logits
        # One embeds patches by a convolution, the other by a product: a last bit may tip an input to the next step.
        assert torch.allclose(sparse(images.pixels_BCHW).logits, dense, atol=0.01 * float(dense.abs().max()))
        exact = teacher.model(images.pixels_BCHW, kept).logits
    # 8 bits on the patches that it was calibrated on: a few percent.
    assert float((in_memory - exact).norm()) < 0.1 * float(exact.norm())


def test_an_image_size_other_than_the_checkpoints_is_kept(backend, tiny_checkpoint, tmp_path):
    from smi_hf import load_teacher

    teacher = load_teacher(str(tiny_checkpoint), image_size=48)
    prepared = backend.prepare(teacher, tmp_path)
    images = gaussian_noise(teacher.model, 2)
    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), tmp_path / "saved")
    exact = prepared.load()(images.pixels_BCHW.numpy())
    got = backend.load(tmp_path / "saved")(images.pixels_BCHW.numpy())
    assert got.shape == (2, 5) and np.abs(got - exact).max() < 0.1 * np.abs(exact).max()


def test_the_teacher_is_left_as_it_was(backend, teacher, calibration, tmp_path):
    model = teacher.model.model
    weights, config = copy.deepcopy(model.state_dict()), model.config.to_dict()
    prepared = backend.prepare(teacher, tmp_path)
    exact = prepared.load()(calibration.pixels_BCHW.numpy())
    prepared.quantize(calibration, QuantizationConfig(weights=2), list(prepared.layers), tmp_path / "saved")
    assert np.array_equal(prepared.load()(calibration.pixels_BCHW.numpy()), exact)
    assert model.config.to_dict() == config
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert set(linears(model).values()) == {nn.Linear}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not nn.modules.module._global_forward_hooks and not nn.modules.module._global_forward_pre_hooks


def test_activations_without_calibration_are_refused_and_leave_nothing(prepared, tmp_path):
    with pytest.raises(UsageError, match="no dynamic quantization: give it calibration images for activations of 8"):
        prepared.quantize(None, QuantizationConfig(), list(prepared.layers), tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_weights_alone_need_no_calibration(prepared, calibration):
    settings = {"weights": 4, "activations": 32}
    with_images, without = (quantized(prepared, images, **settings).model for images in (calibration, None))
    expected = with_images.state_dict()
    assert all(torch.equal(expected[name], value) for name, value in without.state_dict().items())


def test_weights_under_other_names_are_refused(prepared, tmp_path):
    settings = QuantizationConfig(activations=32)
    prepared.quantize(None, settings, list(prepared.layers), tmp_path / "saved")
    file = tmp_path / "saved" / "model.safetensors"
    save_file({name.replace("layer", "block"): value for name, value in load_file(file).items()}, file)
    with pytest.raises(UsageError, match=r"not those of its configuration .*load it under the version that wrote it"):
        load_model(tmp_path / "saved")


def test_a_layer_that_saw_nothing_but_zeros_does_not_break_the_model(prepared, calibration):
    silent = prepared.model.model.vit.layernorm
    nn.init.zeros_(silent.weight)
    nn.init.zeros_(silent.bias)
    with torch.no_grad():
        logits = quantized(prepared, calibration)(calibration.pixels_BCHW).logits
    assert torch.allclose(logits, prepared.model.model.classifier.bias.expand_as(logits))


@pytest.mark.parametrize("bits", [4, 2])
def test_weights_are_unpacked_as_they_were_packed_and_nothing_is_compiled(bits, monkeypatch):
    from optimum.quanto.library import get_extension
    from optimum.quanto.library.extensions import extension
    from optimum.quanto.tensor.packed import PackedTensor

    def compile(*args, **kwargs):
        raise AssertionError("a C++ extension is compiled")

    monkeypatch.setattr(extension, "load", compile)
    monkeypatch.setattr(get_extension("quanto_cpp"), "_lib", None)
    quanto._unpack_without_compiler()
    numbers = torch.randint(0, 2**bits, (7, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PackedTensor.pack(numbers, bits).unpack(), numbers)


def test_nothing_is_warned_or_logged(backend, prepared, calibration, tmp_path, caplog, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for bits in (8, 4):
            settings = QuantizationConfig(weights=bits)
            prepared.quantize(calibration, settings, list(prepared.layers), tmp_path / str(bits))
            backend.load(tmp_path / str(bits))(calibration.pixels_BCHW.numpy())
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
