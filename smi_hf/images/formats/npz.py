"""One NumPy array of all images, under the name of the model's input."""

import zipfile
from typing import TYPE_CHECKING

from smi_hf.images.formats.base import NCHW, NHWC, NORMALIZED, UINT8, FormatInputs, register_format, write_array

if TYPE_CHECKING:
    from pathlib import Path

# What transformers calls it, and so what its exporters call it.
DEFAULT_INPUT_NAME = "pixel_values"
# The earliest that a zip file can say: equal images make equal files.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@register_format(
    "npz",
    "images.npz, the same under the name of the input: TensorRT Model Optimizer --calibration_data_path",
    kinds=((NORMALIZED, NCHW), (NORMALIZED, NHWC), (UINT8, NCHW), (UINT8, NHWC)),
    takes_input_name=True,
)
def npz(inputs: FormatInputs, folder: "Path") -> None:
    """An uncompressed archive, as `numpy.savez` writes it."""
    entry = zipfile.ZipInfo(f"{inputs.input_name or DEFAULT_INPUT_NAME}.npy", _NO_TIME)
    with (
        zipfile.ZipFile(folder / "images.npz", "w") as archive,
        # Larger than 2 GiB or not, as the size is not known before.
        archive.open(entry, "w", force_zip64=True) as stream,
    ):
        write_array(stream, inputs)
