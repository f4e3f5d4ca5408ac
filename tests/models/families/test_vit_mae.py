"""ViT-MAE as a ViT."""

import torch
from transformers import ViTImageProcessor, ViTMAEConfig, ViTMAEForPreTraining

from smi_hf import load_teacher


def test_an_encoder_that_was_trained_masked_is_loaded_as_a_vit(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 48}
    config = ViTMAEConfig(
        **sizes, image_size=32, patch_size=8, decoder_hidden_size=24, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=3, decoder_intermediate_size=48,
    )  # fmt: skip
    whole = ViTMAEForPreTraining(config).eval()
    whole.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    teacher = load_teacher(str(tmp_path), directions=4, directions_from="random")
    assert type(teacher.model.model).__name__ == "ViTModel" and teacher.model.config.model_type == "vit"

    # Without masking its tokens are those of the encoder that was trained, in an order of their own.
    whole.vit.config.mask_ratio = 0.0
    pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = whole.vit(pixel_values=pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(teacher.model(pixels).embeddings, expected, rtol=1e-4, atol=1e-5)
