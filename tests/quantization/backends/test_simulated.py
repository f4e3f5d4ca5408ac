"""Simulated quantization against PSAQ-ViT's forward written out by hand, and against what its contract promises.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size, `h` heads.
"""

import copy
import json
import math
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AttentionInterface,
    AutoModelForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
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
from smi_hf.images.kept import KeptImages
from smi_hf.models.attention import attention_implementation
from smi_hf.quantization.backends import simulated
from smi_hf.quantization.backends.base import BACKENDS, choose_layers
from smi_hf.quantization.backends.simulated import QUANTIZATION_FILE, Simulation, observe, simulate
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.psaq import fake_quantize_activations, fake_quantize_weights

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
VIT = {**SMALL, "image_size": 32, "patch_size": 8, "intermediate_size": 48}
DINO = {**SMALL, "image_size": 32, "patch_size": 8, "mlp_ratio": 2}
# What makes a model, and how many layers it has of each type beyond those of two plain blocks with one head.
CASES = {
    "vit": (lambda: ViTForImageClassification(ViTConfig(**VIT)), {}),
    "deit": (lambda: DeiTForImageClassification(DeiTConfig(**VIT)), {}),
    "deit-two-heads": (
        lambda: DeiTForImageClassificationWithTeacher(DeiTConfig(**VIT)),
        {"Linear": 1, "Add": 1},
    ),
    "vit_msn": (lambda: ViTMSNForImageClassification(ViTMSNConfig(**VIT)), {}),
    "vit-gelu-of-primitives": (lambda: ViTForImageClassification(ViTConfig(**VIT, hidden_act="gelu_new")), None),
    "dinov2": (lambda: Dinov2ForImageClassification(Dinov2Config(**DINO)), {"Mul": 4}),
    "dinov2-swiglu": (lambda: Dinov2ForImageClassification(Dinov2Config(**DINO, use_swiglu_ffn=True)), None),
    "dinov2_with_registers": (
        lambda: Dinov2WithRegistersForImageClassification(Dinov2WithRegistersConfig(**DINO)),
        {"Mul": 4},
    ),
}
PLAIN_LAYERS = {
    "Pixels": 1,
    "Convolution": 1,
    "Positions": 1,
    "Add": 1 + 2 * 2,
    "LayerNorm": 2 * 2 + 1,
    "Linear": 6 * 2 + 1,
    "MatMul": 2 * 2,
    "GELU": 2,
}


@pytest.fixture
def backend():
    return BACKENDS.get("simulated")


@pytest.fixture
def prepared(backend, teacher, tmp_path):
    return backend.prepare(teacher, tmp_path)


@pytest.fixture
def quantize(backend, prepared, calibration, tmp_path):
    """Quantizes the tiny teacher and returns the folder."""

    def run(name="quantized", *, images=calibration, layers=None, **settings):
        chosen = choose_layers(prepared.layers, backend, QuantizationConfig(**settings))
        prepared.quantize(images, QuantizationConfig(**settings), layers or chosen, tmp_path / name)
        return tmp_path / name

    return run


@torch.no_grad()
def eager_logits(classifier, pixels_BCHW):
    with attention_implementation(classifier.model, "eager"):
        return classifier(pixels_BCHW).logits


def everything(classifier, calibration, *, weights=8, activations=8, quantized=None) -> Simulation:
    layers = observe(classifier, calibration.batches())
    chosen = list(layers) if quantized is None else quantized
    return Simulation(weights, activations, classifier.grid.image_size, layers, chosen)


# The whole forward, against PSAQ-ViT's written out


class WrittenOut:
    """PSAQ-ViT's quantized ViT for one CLS token and one head, operation by operation."""

    def __init__(self, classifier, weights: int, activations: int) -> None:
        self.classifier = classifier
        self.bits = weights, activations
        self.ranges: dict[str, tuple[float, float]] = {}
        self.is_calibrated = False

    def point(self, name, values):
        if self.is_calibrated:
            return fake_quantize_activations(values, *self.ranges[name], self.bits[1])
        low, high = self.ranges.get(name, (math.inf, -math.inf))
        self.ranges[name] = min(low, float(values.min())), max(high, float(values.max()))
        return values

    def linear(self, module, values):
        weight = module.weight.flatten(1)
        return F.linear(
            values, fake_quantize_weights(weight, self.bits[0]) if self.is_calibrated else weight, module.bias
        )

    def attention(self, name, values, query, key, value, scaling):
        q, k, v = (
            self.point(f"{name}qkv", torch.stack([self.linear(module, values) for module in (query, key, value)]))
            .unflatten(-1, (SMALL["num_attention_heads"], -1))
            .transpose(2, 3)
        )
        scores_BhTT = self.point(f"{name}scores", q @ k.transpose(-1, -2) * scaling)
        return self.point(f"{name}context", (scores_BhTT.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))

    def block(self, name, tokens, module):
        query, key, value, out, fc1, fc2 = (child for child in module.modules() if isinstance(child, nn.Linear))
        norms = {key: child for key, child in module.named_children() if isinstance(child, nn.LayerNorm)}
        normed = self.point(f"{name}norm1", norms["layernorm_before"](tokens))
        scaling = (SMALL["hidden_size"] // SMALL["num_attention_heads"]) ** -0.5
        attended = self.attention(name, normed, query, key, value, scaling)
        tokens = self.point(f"{name}sum1", self.point(f"{name}out", self.linear(out, attended)) + tokens)
        normed = self.point(f"{name}norm2", norms["layernorm_after"](tokens))
        hidden = self.point(f"{name}gelu", F.gelu(self.linear(fc1, normed)))
        return self.point(f"{name}sum2", self.point(f"{name}fc2", self.linear(fc2, hidden)) + tokens)

    @torch.no_grad()
    def __call__(self, pixels_BCHW, kept_BK):
        model, grid = self.classifier.model, self.classifier.grid
        embeddings = model.vit.embeddings
        pixels = self.point("pixels", grid.cut(pixels_BCHW, kept_BK)).flatten(2)
        patches = self.point("patches", self.linear(embeddings.patch_embeddings.projection, pixels))
        positions = self.point("positions", embeddings.position_embeddings[:, 1:])[0][kept_BK]
        cls = (embeddings.cls_token + embeddings.position_embeddings[:, :1]).expand(len(kept_BK), -1, -1)
        tokens = self.point("tokens", torch.cat([cls, patches + positions], dim=1))
        blocks = next(child for child in model.modules() if isinstance(child, nn.ModuleList))
        for number, module in enumerate(blocks):
            tokens = self.block(f"{number}.", tokens, module)
        return self.point(
            "logits", self.linear(model.classifier, self.point("norm", model.vit.layernorm(tokens)[:, 0]))
        )


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (4, 8), (4, 4)])
def test_the_forward_is_psaq_vits_calibrated_on_kept_patches_and_deployed_on_all(
    teacher, calibration, weights, activations
):
    by_hand = WrittenOut(teacher.model, weights, activations)
    by_hand(calibration.pixels_BCHW, calibration.kept_BK)
    by_hand.is_calibrated = True
    every_BN = teacher.model.grid.all_patches(len(calibration))
    expected = by_hand(calibration.pixels_BCHW, every_BN)
    simulation = everything(teacher.model, calibration, weights=weights, activations=activations)
    found = torch.from_numpy(simulate(teacher.model, simulation)(calibration.pixels_BCHW.numpy()))
    # Logits stand on one grid of 2^b values: any step anywhere that differs moves some of them by a whole step.
    assert torch.equal(found, expected)
    low, high = by_hand.ranges["logits"]
    assert float((found - eager_logits(teacher.model, calibration.pixels_BCHW)).abs().max()) > 0.1 * (high - low) / 255
    observed = sorted(layer.range for layer in simulation.layers.values() if layer.range is not None)
    # query, key and value have one range, thrice.
    by_hand_thrice = [span for name, span in by_hand.ranges.items() for _ in range(3 if name.endswith("qkv") else 1)]
    assert observed == sorted(by_hand_thrice)


@pytest.mark.parametrize("missing", ["sum1", "sum2", "scores", "context", "qkv", "norm2", "gelu"])
def test_that_comparison_would_notice_a_tensor_that_is_not_quantized(teacher, calibration, missing):
    by_hand = WrittenOut(teacher.model, 32, 4)
    by_hand(calibration.pixels_BCHW, calibration.kept_BK)
    point = by_hand.point
    every_BN = teacher.model.grid.all_patches(len(calibration))
    by_hand.linear = lambda module, values: F.linear(values, module.weight.flatten(1), module.bias)
    by_hand.is_calibrated = True
    complete = by_hand(calibration.pixels_BCHW, every_BN)
    by_hand.point = lambda name, values: values if name == f"1.{missing}" else point(name, values)
    assert not torch.equal(by_hand(calibration.pixels_BCHW, every_BN), complete)
    simulation = everything(teacher.model, calibration, weights=32, activations=4)
    found = torch.from_numpy(simulate(teacher.model, simulation)(calibration.pixels_BCHW.numpy()))
    assert torch.equal(found, complete)


def test_ranges_are_those_that_hooks_see_in_a_sparse_forward(teacher, calibration):
    layers = observe(teacher.model, calibration.batches(2))
    ranges: dict[str, tuple[float, float]] = {}

    def watch(name):
        def note(module, arguments, output):
            low, high = ranges.get(name, (math.inf, -math.inf))
            ranges[name] = min(low, float(output.min())), max(high, float(output.max()))

        return note

    for name, module in teacher.model.model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.Linear):
            module.register_forward_hook(watch(name))
    with torch.no_grad(), attention_implementation(teacher.model.model, "eager"):
        for pixels_BCHW, kept_BK in calibration.batches(2):
            teacher.model(pixels_BCHW, kept_BK)
    # The last norm's is that of the CLS row; query, key and value share theirs; fc1 has none, as GELU follows.
    names = [name for name in ranges if not re.search(r"^vit\.layernorm$|query|key|value|[qkv]_proj", name)]
    first_linears = {name for name in names if re.search(r"intermediate\.dense|fc1", name)}
    assert len(names) == 2 * (2 + 3) + 1 and len(first_linears) == 2
    for name in names:
        assert layers[name].range == (None if name in first_linears else ranges[name]), name
    for block in (0, 1):
        attended = [name for name in ranges if re.search(rf"\.{block}\..*(query|key|value|[qkv]_proj)", name)]
        assert len(attended) == 3
        union = min(ranges[name][0] for name in attended), max(ranges[name][1] for name in attended)
        assert {layers[name].range for name in attended} == {union}


def test_positions_have_the_range_of_the_whole_grid_whatever_is_kept(teacher, calibration):
    one_B1 = calibration.kept_BK[:, :1]
    found = observe(teacher.model, [(calibration.pixels_BCHW, one_B1)])["vit.embeddings.position_embeddings"].range
    positions = teacher.model.embeddings.position_embeddings[:, 1:]
    assert found == (float(positions.min()), float(positions.max()))


def test_pixels_have_the_range_of_what_was_shown_and_of_nothing_else(teacher, calibration):
    bright_BCHW, kept_BK = calibration.pixels_BCHW + 10, calibration.kept_BK
    found = observe(teacher.model, [(bright_BCHW, kept_BK)])["pixels"].range
    shown = teacher.model.grid.cut(bright_BCHW, kept_BK)
    assert found == (float(shown.min()), float(shown.max()))
    assert found[0] > 0


def test_what_stands_in_pruned_patches_is_ignored_bit_by_bit(teacher, calibration):
    loud = calibration.pixels_BCHW.clone()
    grid = teacher.model.grid
    shown = grid.paste(torch.ones_like(grid.cut(loud, calibration.kept_BK)), calibration.kept_BK, fill=0).bool()
    assert not shown.all()
    loud[~shown] = 1e4
    quiet_layers = observe(teacher.model, calibration.batches())
    assert observe(teacher.model, KeptImages(loud, calibration.kept_BK, "loud").batches()) == quiet_layers


# The back end


def test_in_32_bits_it_is_the_teacher_exactly(quantize, backend, prepared, teacher, calibration):
    expected = eager_logits(teacher.model, calibration.pixels_BCHW)
    pixels = calibration.pixels_BCHW.numpy()
    assert torch.equal(torch.from_numpy(prepared.load()(pixels)), expected)
    assert torch.equal(torch.from_numpy(backend.load(quantize(weights=32, activations=32))(pixels)), expected)


def test_more_bits_make_a_smaller_error(quantize, backend, prepared, calibration):
    pixels = calibration.pixels_BCHW.numpy()
    exact = prepared.load()(pixels)
    for settings in ({"weights": 32}, {"activations": 32}, {}):
        errors = []
        for bits in (8, 4, 2):
            given = {"weights": bits, "activations": bits} | settings
            found = backend.load(quantize("-".join(map(str, given.values())), **given))(pixels)
            errors.append(float(abs(found - exact).mean()))
        assert 0 < errors[0] < 0.5 * errors[1] < 0.5 * errors[2], settings


def changed_by_hand(teacher, name, layer):
    """A copy of the teacher in which one layer is quantized to 4 bits by a weight of its own and by a hook."""
    classifier = copy.deepcopy(teacher.model)
    module = classifier.model.get_submodule(name)
    with torch.no_grad():
        if isinstance(module, nn.Linear):
            module.weight.copy_(fake_quantize_weights(module.weight, 4))
        if layer.range is not None:
            module.register_forward_hook(lambda _, __, output: fake_quantize_activations(output, *layer.range, 4))
    return classifier


def test_one_layer_alone_changes_the_model_through_that_layer_alone(teacher, calibration):
    layers = observe(teacher.model, calibration.batches())
    modules = dict(teacher.model.model.named_modules())
    names = [name for name, layer in layers.items() if name in modules and layer.kind != "Convolution"]
    names.remove("vit.layernorm")  # quantized at the CLS row alone, see above
    assert len(names) == 2 * 2 + 6 * 2 + 1 + 2
    exact = eager_logits(teacher.model, calibration.pixels_BCHW)
    for name in names:
        simulation = Simulation(4, 4, teacher.model.grid.image_size, layers, [name])
        found = torch.from_numpy(simulate(teacher.model, simulation)(calibration.pixels_BCHW.numpy()))
        expected = eager_logits(changed_by_hand(teacher, name, layers[name]), calibration.pixels_BCHW)
        assert torch.equal(found, expected), name
        assert not torch.equal(found, exact), name


def test_every_layer_alone_changes_the_logits(teacher, calibration):
    layers = observe(teacher.model, calibration.batches())
    exact = eager_logits(teacher.model, calibration.pixels_BCHW)
    for name in layers:
        simulation = Simulation(3, 3, teacher.model.grid.image_size, layers, [name])
        found = torch.from_numpy(simulate(teacher.model, simulation)(calibration.pixels_BCHW.numpy()))
        assert not torch.equal(found, exact), name


def test_a_wide_layer_is_rounded_to_16_bits_and_no_other(quantize, backend, prepared, teacher, calibration):
    name = next(name for name in prepared.layers if name.endswith(".scores"))
    pixels = calibration.pixels_BCHW.numpy()
    layers = observe(teacher.model, calibration.batches())
    rounded = {
        bits: simulate(teacher.model, Simulation(32, bits, teacher.model.grid.image_size, layers, [name]))(pixels)
        for bits in (4, 16)
    }
    alone = quantize("wide", layers=[name], weights=32, activations=4, wide_layers=[name])
    assert (backend.load(alone)(pixels) == rounded[16]).all()
    assert (rounded[16] != rounded[4]).any()
    other = quantize("other", layers=[name], weights=32, activations=4, wide_layers=["classifier"])
    assert (backend.load(other)(pixels) == rounded[4]).all()


def test_a_folder_of_before_there_were_wide_layers_is_read(quantize, backend, calibration):
    folder = quantize()
    expected = backend.load(folder)(calibration.pixels_BCHW.numpy())
    contents = json.loads((folder / QUANTIZATION_FILE).read_text()) | {"schema_version": 1}
    for row in contents["layers"].values():
        del row["wide"]
    (folder / QUANTIZATION_FILE).write_text(json.dumps(contents))
    assert (backend.load(folder)(calibration.pixels_BCHW.numpy()) == expected).all()


def test_what_is_excluded_stays_in_floating_point(quantize, backend, prepared, teacher, calibration):
    everything_else = [name for name in prepared.layers if name != "classifier"]
    folder = quantize(weights=4, activations=4, exclude=tuple(everything_else))
    rows = json.loads((folder / QUANTIZATION_FILE).read_text())["layers"]
    assert list(rows) == list(prepared.layers)
    assert [name for name, row in rows.items() if row["quantized"]] == ["classifier"]
    layer = observe(teacher.model, calibration.batches())["classifier"]
    expected = eager_logits(changed_by_hand(teacher, "classifier", layer), calibration.pixels_BCHW)
    assert torch.equal(torch.from_numpy(backend.load(folder)(calibration.pixels_BCHW.numpy())), expected)


def test_operators_choose_layers_by_type(quantize, prepared):
    folder = quantize(operators=("MatMul", "GELU"))
    rows = json.loads((folder / QUANTIZATION_FILE).read_text())["layers"]
    assert {row["type"] for row in rows.values() if row["quantized"]} == {"MatMul", "GELU"}
    assert sum(row["quantized"] for row in rows.values()) == 2 * (2 + 1)


def test_a_saved_model_gives_the_logits_that_it_had_before(quantize, backend, teacher, calibration):
    folder = quantize(weights=3, activations=5)
    before = simulate(teacher.model, everything(teacher.model, calibration, weights=3, activations=5))
    pixels = calibration.pixels_BCHW.numpy()
    assert (backend.load(folder)(pixels) == before(pixels)).all()
    assert backend.is_saved_in(folder)
    assert not backend.is_saved_in(folder.parent / "float32")


def test_stock_transformers_loads_the_float_weights_of_a_saved_model(quantize, teacher):
    stock = AutoModelForImageClassification.from_pretrained(quantize(weights=2, activations=2))
    expected = teacher.model.model.state_dict()
    assert all(torch.equal(weight, expected[name]) for name, weight in stock.state_dict().items())


def test_images_of_another_size_than_the_checkpoints_are_served(backend, image_processor, tiny_checkpoint, tmp_path):
    model = AutoModelForImageClassification.from_pretrained(tiny_checkpoint)
    teacher = Teacher.from_model(model, image_processor, image_size=(48, 48))
    prepared = backend.prepare(teacher, tmp_path)
    pixels_BCHW = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    images = KeptImages(pixels_BCHW, teacher.model.grid.all_patches(2), "noise")
    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), tmp_path / "quantized")
    found = backend.load(tmp_path / "quantized")(pixels_BCHW.numpy())
    exact = eager_logits(teacher.model, pixels_BCHW)
    assert float((torch.from_numpy(found) - exact).abs().mean()) < 0.2 * float(exact.std())


def test_a_calibration_set_is_looked_at_once(prepared, calibration, tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(simulated, "observe", lambda *arguments: looks.append(arguments) or observe(*arguments))
    other = KeptImages(calibration.pixels_BCHW / 2, calibration.kept_BK, "other")
    for number, images in enumerate((calibration, calibration, other, other, calibration)):
        prepared.quantize(images, QuantizationConfig(), ["classifier"], tmp_path / str(number))
    assert len(looks) == 3
    files = [(tmp_path / str(number) / QUANTIZATION_FILE).read_text() for number in range(5)]
    assert files[0] == files[1] == files[4] != files[2] == files[3]


def test_weights_alone_need_no_calibration(quantize, backend, prepared, calibration):
    pixels = calibration.pixels_BCHW.numpy()
    without = backend.load(quantize("without", images=None, weights=4, activations=32))(pixels)
    assert (without == backend.load(quantize("with", weights=4, activations=32))(pixels)).all()
    assert (without != prepared.load()(pixels)).any()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_teacher_is_left_exactly_as_it_was(backend, teacher, calibration, tmp_path, attention):
    model = teacher.model.model
    model.set_attn_implementation(attention)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    prepared = backend.prepare(teacher, tmp_path)
    prepared.quantize(calibration, QuantizationConfig(), list(prepared.layers), tmp_path / "quantized")
    predict = simulate(teacher.model, everything(teacher.model, calibration, weights=2, activations=2))
    predict(calibration.pixels_BCHW.numpy())

    def interrupt(module, arguments):
        raise KeyboardInterrupt

    handle = model.vit.layernorm.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict(calibration.pixels_BCHW.numpy())
    handle.remove()
    assert model.config._attn_implementation == attention
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert "forward" not in vars(teacher.model.embeddings)
    # And the predictor works after a forward that failed.
    assert len(predict(calibration.pixels_BCHW.numpy())) == len(calibration)


# Families


@pytest.mark.parametrize("case", CASES)
def test_every_family_is_quantized_tensor_by_tensor(case, backend, image_processor, tmp_path):
    make, extra_layers = CASES[case]
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    teacher = Teacher.from_model(model.eval(), image_processor)
    prepared = backend.prepare(teacher, tmp_path)
    types = list(prepared.layers.values())
    found = {kind: types.count(kind) for kind in set(types)}
    if extra_layers is not None:
        assert found == {kind: PLAIN_LAYERS.get(kind, 0) + extra_layers.get(kind, 0) for kind in found}
        assert set(found) == set(PLAIN_LAYERS) | set(extra_layers)
    weighted = {name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    named = {name for name, kind in prepared.layers.items() if kind in ("Linear", "Convolution")}
    assert named == weighted

    pixels_BCHW = torch.randn(4, 3, 32, 32)
    kept_BK = torch.rand(4, 16).argsort(dim=1)[:, :9].sort(dim=1).values
    images = KeptImages(pixels_BCHW, kept_BK, "noise")
    errors = []
    for bits in (8, 3):
        folder = tmp_path / f"{bits}-bits"
        prepared.quantize(images, QuantizationConfig(bits, bits), list(prepared.layers), folder)
        rows = json.loads((folder / QUANTIZATION_FILE).read_text())["layers"]
        assert list(rows) == list(prepared.layers)
        found = backend.load(folder)(pixels_BCHW.numpy())
        errors.append(float(abs(found - prepared.load()(pixels_BCHW.numpy())).mean()))
    assert 0 < errors[0] < 0.5 * errors[1]


def test_an_activation_function_of_primitives_is_one_layer(backend, image_processor, tmp_path):
    make, _ = CASES["vit-gelu-of-primitives"]
    prepared = backend.prepare(Teacher.from_model(make(), image_processor), tmp_path)
    types = list(prepared.layers.values())
    assert types.count("NewGELU") == 2
    assert "Mul" not in types
    assert types.count("Add") == PLAIN_LAYERS["Add"]


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda contents: contents | {"schema_version": 3}, "has schema version 3, but this smi_hf reads 1 to 2"),
        (lambda contents: {"schema_version": 1}, r"is damaged \(KeyError: 'layers'\)"),
        (lambda contents: [], r"is damaged \(TypeError"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(quantize, backend, change, message):
    path = quantize() / QUANTIZATION_FILE
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(UsageError, match=f"{re.escape(str(path))} {message}"):
        backend.load(path.parent)


def test_a_file_that_is_no_json_is_refused(quantize, backend):
    path = quantize() / QUANTIZATION_FILE
    path.write_text("{")
    with pytest.raises(UsageError, match=r"is damaged \(JSONDecodeError"):
        backend.load(path.parent)


def test_layers_that_are_not_the_models_are_refused_even_if_no_weight_is_quantized(quantize, backend):
    path = quantize(weights=32) / QUANTIZATION_FILE
    path.write_text(path.read_text().replace('"classifier"', '"head"'))
    with pytest.raises(UsageError, match=r"are not those of the model beside it \(such as 'classifier'\)"):
        backend.load(path.parent)


def test_a_fused_kernel_is_seen_as_the_operations_that_it_stands_for(teacher, monkeypatch):
    images = [(torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(9).expand(3, 9))]
    eager = observe(teacher.model, images)
    monkeypatch.setattr(simulated, "attention_implementation", lambda model, name: nullcontext())
    teacher.model.model.set_attn_implementation("sdpa")
    fused = observe(teacher.model, images)
    assert {name: layer.kind for name, layer in fused.items()} == {name: layer.kind for name, layer in eager.items()}
    for name, layer in fused.items():
        np.testing.assert_allclose(layer.range or (), eager[name].range or (), rtol=1e-4, atol=1e-4)


def test_a_forward_whose_attention_cannot_be_seen_is_refused(backend, teacher, tmp_path, monkeypatch):
    def attend(module, query, key, value, attention_mask=None, *, scaling, **kwargs):
        weights = torch.exp(torch.einsum("bate,base->bats", query, key) * scaling)
        weights = weights / weights.sum(-1, keepdim=True)
        return torch.einsum("bats,base->btae", weights, value), None

    AttentionInterface.register("einsum", attend)
    monkeypatch.setattr(simulated, "attention_implementation", lambda model, name: nullcontext())
    monkeypatch.setattr(simulated, "_load_classifier", lambda folder, image_size: teacher.model)
    teacher.model.model.set_attn_implementation("einsum")
    message = (
        "cannot follow the forward of model type 'vit': in 2 blocks it found 0 matrix products of attention and 5"
    )
    with pytest.raises(UsageError, match=message):
        backend.prepare(teacher, tmp_path)
