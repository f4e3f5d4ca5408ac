"""Stock models answer for whole images, as the back ends that keep them do."""

import pytest
import torch
from family_cases import CASES

from smi_hf.quantization.stock import stock_answer


@pytest.mark.parametrize("name", ["vit", "vit-bare", "dinov2-bare", "clip_vision_model", "siglip_vision_model"])
def test_it_is_what_the_teacher_answers(name, tmp_path):
    torch.manual_seed(0)
    asked = CASES[name].wrap(CASES[name].make()).freeze()
    pixels_BCHW = torch.randn(2, 3, *asked.grid.image_size, generator=torch.Generator().manual_seed(0))
    expected = asked.dense_answer(pixels_BCHW)
    torch.testing.assert_close(
        torch.from_numpy(stock_answer(asked.model, asked.head)(pixels_BCHW.numpy())), expected, atol=1e-5, rtol=1e-5
    )
    if asked.head is not None:
        # As it lies in a folder.
        asked.head.save(tmp_path)
    found = torch.from_numpy(stock_answer(asked.model, tmp_path)(pixels_BCHW.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
