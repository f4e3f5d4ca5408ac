"""One file of bare numbers an image, and the list of them that Qualcomm's tools take."""

from typing import TYPE_CHECKING

from smi_hf.images.formats.base import NCHW, NHWC, NORMALIZED, UINT8, FormatInputs, register_format

if TYPE_CHECKING:
    from pathlib import Path

INDEX_FILE = "input_list.txt"


@register_format(
    "raw",
    "raw/*.raw, little-endian numbers of one image each, and input_list.txt: QNN and SNPE --input_list",
    kinds=((NORMALIZED, NHWC), (NORMALIZED, NCHW), (UINT8, NHWC), (UINT8, NCHW)),
    takes_input_name=True,
)
def raw(inputs: FormatInputs, folder: "Path") -> None:
    """Paths in the list begin in this folder, so that the folder can be moved; the tools are started there."""
    (folder / "raw").mkdir()
    start = f"{inputs.input_name}:=" if inputs.input_name is not None else ""
    lines = []
    for number, image in enumerate(inputs.images):
        path = f"raw/{inputs.file_name(number, '.raw')}"
        (folder / path).write_bytes(image.pixels.tobytes())
        lines.append(f"{start}{path}\n")
    (folder / INDEX_FILE).write_text("".join(lines), encoding="utf-8")
