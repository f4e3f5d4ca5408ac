"""Pixels as PNG files hold them."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: --help lists formats that are made of these, and must not wait for NumPy
    import numpy as np


def encode_png(pixels_HWC: "np.ndarray") -> bytes:
    """An image, uint8 (H, W, 3), as a PNG, which loses nothing."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()
