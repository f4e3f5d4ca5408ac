"""The back end "executorch": a program that ExecuTorch's own runtime runs, with ranges of the kept patches alone."""

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from smi_hf import RunError, Teacher, UsageError
from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.images.kept import KeptImages
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings, choose_layers
from smi_hf.quantization.backends.executorch import _lowered, _quantizer
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.costs import folder_size
from smi_hf.quantization.exports.pt2e import quantized

needs_executorch = pytest.mark.skipif(
    bool(missing_packages("executorch")), reason="needs the latest lane with extra executorch"
)


@pytest.fixture
def backend():
    return BACKENDS.get("executorch")


@pytest.fixture(scope="module")
def prepared(tiny_checkpoint, tmp_path_factory):
    """Of one layer: ExecuTorch takes seconds for each."""
    from smi_hf.models.preprocessing import load_image_processor

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=8, num_hidden_layers=1, num_attention_heads=3, num_labels=5, hidden_size=24,
        intermediate_size=48, initializer_range=0.2,
    )  # fmt: skip
    teacher = Teacher.from_model(ViTForImageClassification(config), load_image_processor(str(tiny_checkpoint)))
    return BACKENDS.get("executorch").prepare(teacher, tmp_path_factory.mktemp("executorch"))


@pytest.fixture(scope="module")
def images():
    """Two batches that differ, as a mean over batches is a habit of some quantizers."""
    torch.manual_seed(0)
    pixels_BCHW = torch.randn(40, 3, 32, 32) * torch.linspace(0.1, 1, 40)[:, None, None, None]
    return KeptImages(pixels_BCHW, torch.tensor([[0, 3, 7, 8, 12]]).repeat(40, 1), "growing")


def ranges(prepared, images, layers) -> dict[str, tuple[float, float]]:
    """(low, high) of what quantized Linear layers read and write, in the order of the forward pass."""
    encoder = quantized(prepared.encoder, images.tokens(prepared.teacher.model), _quantizer(layers))
    found = {}
    for node in encoder.graph.nodes:
        if node.target is torch.ops.aten.linear.default and "dequantize_per_tensor" in str(node.args[0].target):
            name = node.args[2].target.removesuffix(".bias")
            for what, place in (("in", node.args[0]), ("out", next(iter(node.users)))):
                _, scale, zero, lowest, highest, _ = place.args
                found[f"{name} {what}"] = ((lowest - zero) * scale, (highest - zero) * scale)
    return found


def pytorch_ranges(teacher, images) -> dict[str, tuple[float, float]]:
    """Minimum and maximum of what each Linear layer reads and writes in PyTorch's sparse forward."""
    found = {}

    def note(name, read, written):
        for what, value in (("in", read), ("out", written)):
            found[f"{name} {what}"] = float(value.min()), float(value.max())

    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs[0], output))
        for name, module in teacher.model.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]
    with torch.no_grad():
        teacher.model(images.pixels_BCHW, images.kept_BK)
    for hook in hooks:
        hook.remove()
    return found


@needs_executorch
def test_ranges_are_those_of_a_sparse_forward(prepared, images):
    assert len(list(images.tokens(prepared.teacher.model))) > 1
    found, wanted = ranges(prepared, images, list(prepared.layers)), pytorch_ranges(prepared.teacher, images)
    assert list(found) == list(wanted) and len(found) == 2 * 7
    for name, (low, high) in found.items():
        step = (high - low) / 255
        # Zero is one of the 256 values, so both ends move by less than a step.
        assert (low, high) == pytest.approx((min(wanted[name][0], 0), max(wanted[name][1], 0)), abs=step), name


@needs_executorch
def test_ranges_ignore_what_stands_in_pruned_patches(prepared, images):
    grid = prepared.teacher.model.grid
    kept = grid.paste(torch.ones_like(grid.cut(images.pixels_BCHW, images.kept_BK)), images.kept_BK)
    loud = KeptImages(torch.where(kept == 1, images.pixels_BCHW, 1e4), images.kept_BK, "loud")
    assert float(loud.pixels_BCHW.max()) == 1e4
    layers = list(prepared.layers)
    assert ranges(prepared, loud, layers) == ranges(prepared, images, layers)


@needs_executorch
def test_layers_that_are_excluded_are_left_alone(backend, prepared, images):
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig(exclude=["classifier", "*.mlp.*"]))
    assert len(chosen) == 4
    assert list(ranges(prepared, images, chosen)) == [f"{name} {what}" for name in chosen for what in ("in", "out")]


@needs_executorch
def test_its_own_runtime_runs_it_in_a_fresh_process(backend, prepared, images, tmp_path, run_command):
    from transformers.exporters import ExportedModel

    prepared.quantize(images, QuantizationConfig(), list(prepared.layers), tmp_path / "int8")
    assert backend.is_saved_in(tmp_path / "int8") and not backend.is_saved_in(tmp_path)
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits = backend.load(tmp_path / "int8")(pixels.numpy())
    with torch.no_grad():
        expected = prepared.teacher.model(pixels).logits.numpy()
    # 8 bits: a few percent of the spread of the logits, not bits.
    assert 0 < np.abs(logits - expected).mean() < 0.1 * expected.std()
    stock = ExportedModel.from_pretrained(tmp_path / "int8")
    assert np.array_equal(stock(pixel_values=pixels[:1]).logits.numpy(), logits[:1])
    np.save(tmp_path / "pixels.npy", pixels.numpy())
    program = f"""
import sys, numpy, torch
from executorch.runtime import Runtime
method = Runtime.get().load_program({str(tmp_path / "int8" / "model.pte")!r}).load_method("forward")
pixels = torch.from_numpy(numpy.load({str(tmp_path / "pixels.npy")!r}))
numpy.save({str(tmp_path / "logits.npy")!r}, method.execute([pixels[2:]])[0].numpy())
assert not {{"smi_hf", "transformers"}} & set(sys.modules)
"""
    result = run_command("python", "-c", program)
    assert result.returncode == 0, result.stderr
    assert np.array_equal(np.load(tmp_path / "logits.npy"), logits[2:])
    # The other one is written when it is first asked for.
    assert not prepared._folder.exists()
    assert np.allclose(prepared.load()(pixels.numpy()), expected, atol=1e-5)
    assert 0 < folder_size(tmp_path / "int8") < folder_size(prepared.folder)


@needs_executorch
def test_what_executorch_cannot_take_is_said_in_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise TypeError("no such\noperator")

    monkeypatch.setattr("executorch.exir.to_edge_transform_and_lower", fail)
    with pytest.raises(RunError, match=r"^ExecuTorch could not take the model: TypeError: no such operator$"):
        _lowered(None)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"weights": 4}, "'executorch' has no weights of 4 bits with activations of 8; it has"),
        ({"quantize_outputs": True}, "back end 'executorch' has no choice about outputs"),
        ({"wide_layers": ["classifier"]}, "back end 'executorch' has no layers of 16 bits among others"),
        ({"target": "arm64"}, "back end 'executorch' has no targets, but target 'arm64' was given"),
    ],
)
def test_what_it_has_not_is_refused(settings, says, monkeypatch):
    monkeypatch.setattr("smi_hf.quantization.backends.base.check_extra", lambda *_: None)
    with pytest.raises(UsageError) as error:
        check_settings("executorch", QuantizationConfig(backend="executorch", **settings))
    assert says in str(error.value)


@pytest.mark.skipif(dependency_lane() == "latest", reason="this lane has it")
def test_the_other_lane_is_told_which_one_has_it():
    with pytest.raises(UsageError, match=r"^back end 'executorch' needs transformers 5, .*: the latest lane has it"):
        check_settings("executorch", QuantizationConfig(backend="executorch"))
