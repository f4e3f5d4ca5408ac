"""The back end "torchao": integer weights that stock transformers loads."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification, ViTConfig, ViTForImageClassification

from smi_hf import Teacher, UsageError
from smi_hf.environment import missing_packages
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import check_settings, choose_layers
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.costs import folder_size
from smi_hf.quantization.loading import saved_backend

needs_torchao = pytest.mark.skipif(bool(missing_packages("torch")), reason="needs the latest lane with extra torch")

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def backend():
    return BACKENDS.get("torchao")


@pytest.fixture
def wide(image_processor):
    """Layers as wide as those of DeiT-Tiny: wide enough for groups, and for weights to outweigh everything else."""
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=32, patch_size=8, num_hidden_layers=1, num_attention_heads=3, num_labels=5, hidden_size=192,
        intermediate_size=768, initializer_range=0.1,
    )  # fmt: skip
    return Teacher.from_model(ViTForImageClassification(config), image_processor)


@needs_torchao
@pytest.mark.parametrize(("bits", "most"), [(8, 0.03), (4, 0.5)])
def test_stock_transformers_loads_what_was_made_and_it_answers_much_as_the_teacher(
    backend, wide, tmp_path, capfd, bits, most
):
    settings = QuantizationConfig(backend="torchao", weights=bits, activations=32)
    check_settings("torchao", settings)
    prepared = backend.prepare(wide, tmp_path)
    with torch.no_grad():
        expected = wide.model.model(PIXELS).logits.numpy()
    assert np.allclose(prepared.load()(PIXELS.numpy()), expected, atol=1e-5)
    chosen = choose_layers(prepared.layers, backend, QuantizationConfig(exclude=["classifier"]))
    prepared.quantize(None, settings, chosen, tmp_path / "model")
    logits = backend.load(tmp_path / "model")(PIXELS.numpy())
    assert capfd.readouterr() == ("", "")
    # Of the spread of the logits: 255 values a row, or 15 a group.
    assert 0 < np.abs(logits - expected).mean() < most * expected.std()

    stock = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        assert np.array_equal(stock(pixel_values=PIXELS).logits.numpy(), logits)
    linear = {name: module for name, module in stock.named_modules() if isinstance(module, torch.nn.Linear)}
    assert {name for name, module in linear.items() if type(module.weight) is not torch.nn.Parameter} == set(chosen)
    assert len(chosen) == len(linear) - 1 == 6
    # A byte each, also where 4 bits are used; scales of groups come on top.
    assert 0 < folder_size(tmp_path / "model") < 0.4 * folder_size(prepared.folder)
    if bits == 4:
        weights = linear["vit.layers.0.mlp.fc1"].weight.qdata
        assert (weights.dtype, int(weights.min()), int(weights.max())) == (torch.int8, -8, 7)
        assert linear["vit.layers.0.mlp.fc1"].weight.scale.shape == (768, 2)
    assert saved_backend(tmp_path / "model") == "torchao" and not backend.is_saved_in(prepared.folder)


@needs_torchao
def test_a_row_that_no_group_divides_has_one_scale(backend, teacher, tmp_path):
    prepared = backend.prepare(teacher, tmp_path)
    layers = list(prepared.layers)
    prepared.quantize(None, QuantizationConfig(weights=4, activations=32), layers, tmp_path / "model")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "model")
    assert model.vit.layers[0].attention.q_proj.weight.scale.numel() == 24


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"quantization_config": []}', '{"quantization_config": {}}'])
def test_other_folders_are_not_taken_for_its_own(backend, tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert not backend.is_saved_in(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "torchao"}}))
    assert backend.is_saved_in(tmp_path)


@pytest.mark.parametrize(("weights", "activations"), [(8, 8), (2, 32)])
def test_widths_that_it_has_not_are_refused(weights, activations, monkeypatch):
    monkeypatch.setattr("smi_hf.quantization.backends.base.check_extra", lambda *_: None)
    with pytest.raises(
        UsageError, match=r"back end 'torchao' has no weights of .* it has \(.*\) 8/32, 4/32, where 32"
    ):
        check_settings("torchao", QuantizationConfig(backend="torchao", weights=weights, activations=activations))
