"""What engines ask of any model: logits of a classifier, and of a bare model with a head."""

import pytest
import torch
from family_cases import CASES

from smi_hf.models.vision import EmbeddingClassifierOutput


@pytest.fixture(params=["vit", "vit-bare"])
def asked(request):
    torch.manual_seed(0)
    return CASES[request.param].wrap(CASES[request.param].make()).freeze()


@pytest.fixture
def pixels_BCHW():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_whole_images_patches_and_the_dense_output_give_the_same_logits(asked, pixels_BCHW):
    kept_BK = asked.grid.all_patches(2)
    logits_BL = asked.dense_output(pixels_BCHW).logits
    assert logits_BL.shape == (2, asked.num_labels) == (2, len(asked.label_names))
    torch.testing.assert_close(asked(pixels_BCHW).logits, logits_BL, atol=1e-5, rtol=1e-5)
    patches = asked.grid.cut(pixels_BCHW, kept_BK)
    torch.testing.assert_close(asked.forward_patches(patches, kept_BK).logits, logits_BL, atol=1e-5, rtol=1e-5)


def test_the_answer_is_what_the_logits_are_made_of(asked, pixels_BCHW):
    answer = asked.dense_answer(pixels_BCHW)
    logits_BL = asked.dense_output(pixels_BCHW).logits
    if asked.head is None:
        assert asked.answer_name == "logits" and torch.equal(answer, logits_BL)
        return
    assert asked.answer_name == "last_hidden_state"
    assert torch.equal(asked.head(asked.head.reading(answer)), logits_BL)
    output = asked(pixels_BCHW)
    assert isinstance(output, EmbeddingClassifierOutput)
    torch.testing.assert_close(asked.head(output.embeddings), output.logits)


def test_half_precision_of_a_model_leaves_the_logits_of_a_head_in_float32(pixels_BCHW):
    asked = CASES["vit-bare"].wrap(CASES["vit-bare"].make()).freeze()
    with torch.autocast("cpu", torch.bfloat16):
        output = asked(pixels_BCHW)
    assert output.logits.dtype == torch.float32
    torch.testing.assert_close(asked.head(output.embeddings.float()), output.logits, atol=1e-5, rtol=1e-5)
