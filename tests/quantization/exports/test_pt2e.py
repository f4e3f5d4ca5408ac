"""Programs of torch.export in two parts, the second for any number of tokens, and PT2E on that one."""

import pytest
import torch
from torch import nn

from smi_hf import RunError, load_teacher
from smi_hf.environment import missing_packages

if missing_packages("torch"):
    pytest.skip("needs the latest lane with the extra torch", allow_module_level=True)

from torch.export import Dim
from transformers.exporters import DynamoExporter

from smi_hf.quantization.exports.pt2e import export_encoder, linear_layers, whole_program


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint):
    return load_teacher(str(tiny_checkpoint))


@pytest.fixture(scope="module")
def encoder(tiny):
    return export_encoder(tiny)


@torch.no_grad()
def test_the_encoder_takes_any_number_of_tokens_of_any_number_of_images(tiny, encoder):
    program = encoder.module()
    for shape in ((1, 3, 24), (2, 17, 24), (5, 8, 24)):
        tokens_BTD = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        with tiny.model.embeddings_bypassed():
            expected = tiny.model.model(pixel_values=tokens_BTD).logits
        assert torch.allclose(program(pixel_values=tokens_BTD).logits, expected, atol=1e-5)


def test_layers_are_those_behind_the_embeddings_in_the_order_of_the_forward_pass(tiny, encoder):
    called = []
    modules = [(name, part) for name, part in tiny.model.model.named_modules() if isinstance(part, nn.Linear)]
    hooks = [part.register_forward_hook(lambda *_, name=name: called.append(name)) for name, part in modules]
    tiny.model.model(pixel_values=torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert list(linear_layers(encoder)) == called and len(called) == 2 * 6 + 1


@torch.no_grad()
def test_the_whole_takes_any_number_of_images_and_has_each_weight_once(tiny, encoder):
    program = whole_program(tiny, encoder.module(), Dim("batch_size"))
    for number in (1, 3):
        pixels = torch.randn(number, 3, 32, 32, generator=torch.Generator().manual_seed(number))
        expected = tiny.model.model(pixel_values=pixels).logits
        assert torch.allclose(program.module()(pixel_values=pixels).logits, expected, atol=1e-5)
    names = {name.removeprefix("encoder.").replace("embeddings.", "vit.embeddings.", 1) for name in program.state_dict}
    assert names == tiny.model.model.state_dict().keys()
    assert program.example_inputs is None


def test_a_failure_of_the_exporter_is_one_sentence(tiny, monkeypatch):
    def fail(*_, **__):
        raise TypeError("no such\noperator")

    monkeypatch.setattr(DynamoExporter, "export_program", fail)
    with pytest.raises(RunError, match=r"^'vit' could not be exported by torch\.export: TypeError: no such operator$"):
        export_encoder(tiny)
    assert tiny.model.config._attn_implementation == "sdpa"
