"""One NumPy array of all images."""

from typing import TYPE_CHECKING

from smi_hf.images.formats.base import NCHW, NHWC, NORMALIZED, UINT8, FormatInputs, register_format, write_array

if TYPE_CHECKING:
    from pathlib import Path


@register_format(
    "npy",
    "images.npy, all images in one array: onnx2tf -cind, Hailo --calib-set-path",
    kinds=((NORMALIZED, NHWC), (NORMALIZED, NCHW), (UINT8, NHWC), (UINT8, NCHW)),
)
def npy(inputs: FormatInputs, folder: "Path") -> None:
    with open(folder / "images.npy", "wb") as file:
        write_array(file, inputs)
