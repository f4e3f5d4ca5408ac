"""Pictures small enough to stand in a page by the hundred."""

import base64
import io

from PIL import Image

# Pixels of a thumbnail's longer side. A smaller image stays as it is, and the browser enlarges it.
_LONGEST_SIDE = 192
# Up to here a PNG is as small as a JPEG, and exact.
_LARGEST_PNG = 96
_JPEG_QUALITY = 80


def as_data(picture: Image.Image) -> str:
    """A picture as a data URI, not larger than a thumbnail."""
    if max(picture.size) > _LONGEST_SIDE:
        picture = picture.copy()
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    file, kind = io.BytesIO(), "PNG" if max(picture.size) <= _LARGEST_PNG else "JPEG"
    # In full resolution of color, or the color of a kept patch runs into its neighbor.
    picture.save(file, format=kind, **({"quality": _JPEG_QUALITY, "subsampling": 0} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
