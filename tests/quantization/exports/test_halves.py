"""The two halves of a classifier, one after the other, are the classifier."""

import torch
from transformers import Dinov2Config, Dinov2ForImageClassification

from smi_hf.models import SparseClassifier
from smi_hf.quantization.exports.halves import Embeddings, examples, ready_to_trace


@torch.no_grad()
def test_the_halves_in_turn_give_the_logits_of_the_whole(teacher, calibration):
    model = teacher.model
    tokens_BTD = Embeddings(model).eval()(calibration.pixels_BCHW)
    with model.embeddings_bypassed():
        logits = model.model(pixel_values=tokens_BTD).logits
    assert torch.equal(logits, model.model(pixel_values=calibration.pixels_BCHW).logits)


def test_examples_are_an_input_of_each_half(teacher):
    pixels_BCHW, tokens_BTD = examples(teacher.model, 3)
    assert pixels_BCHW.shape == (3, 3, 32, 32)
    assert torch.equal(Embeddings(teacher.model).eval()(pixels_BCHW), tokens_BTD)


@torch.no_grad()
def test_positions_are_interpolated_at_the_first_forward_alone():
    config = Dinov2Config(
        image_size=32, patch_size=8, hidden_size=24, num_hidden_layers=1, num_attention_heads=3, mlp_ratio=2
    )
    model = SparseClassifier(Dinov2ForImageClassification(config).eval(), image_size=48)
    embeddings, (pixels_BCHW, _) = Embeddings(model).eval(), examples(model)
    expected = embeddings(pixels_BCHW)
    with ready_to_trace(model):
        first = embeddings(pixels_BCHW)
        model.embeddings.position_embeddings.data += 1
        assert torch.equal(embeddings(pixels_BCHW), first)
    assert torch.equal(first, expected)
    # Left as it was.
    assert not torch.equal(embeddings(pixels_BCHW), first)
