"""What a format is, where it is registered, and what it is given to write.

The files of this package import nothing heavy at their tops: `--help` lists every format with its purpose.

Legend: `H W` image pixels, `C` channels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from smi_hf.errors import UsageError
from smi_hf.registry import Registry, of_package

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

# What pixels are: float32 as the model takes them, mean subtracted and divided by the standard deviation; or 0 to 255.
NORMALIZED, UINT8 = "normalized", "uint8"
VALUES = (NORMALIZED, UINT8)
NCHW, NHWC = "NCHW", "NHWC"
LAYOUTS = (NCHW, NHWC)


@dataclass(frozen=True)
class ExportedImage:
    """One image as a format writes it.

    Args:
        pixels: float32 or uint8, (C, H, W) or (H, W, C), contiguous, in the byte order of little-endian machines.
        label: the teacher's, None where it has none.
    """

    pixels: "np.ndarray"
    label: int | None


@dataclass(frozen=True)
class FormatInputs:
    """What a format may look at.

    Args:
        images: gives every image once, in order.
        num_images: how many that are.
        shape: of the pixels of each, (C, H, W) or (H, W, C).
        dtype: of the pixels, "float32" or "uint8".
        input_name: what the model calls its input, None if the user did not say.
        label_names: of the teacher, by number.
    """

    images: Iterator[ExportedImage]
    num_images: int
    shape: tuple[int, int, int]
    dtype: str
    input_name: str | None
    label_names: Sequence[str]

    def file_name(self, number: int, suffix: str) -> str:
        """`000007.png`: names that sort as the images are ordered."""
        return f"{number:0{max(6, len(str(self.num_images - 1)))}}{suffix}"


@dataclass(frozen=True)
class ImageFormat:
    """A registered format.

    Args:
        purpose: what is written and who reads it, in words.
        kinds: (values, layout) that it can hold, the default first.
        takes_input_name: whether the name of the model's input stands in its files.
        extra: extra of smi-hf that it needs, None if none.
        write: writes the files into a folder that is there and empty.
    """

    purpose: str
    kinds: tuple[tuple[str, str], ...]
    takes_input_name: bool
    extra: str | None
    write: "Callable[[FormatInputs, Path], None]"

    def kind(self, name: str, values: str | None, layout: str | None) -> tuple[str, str]:
        """Values and layout as asked for; where nothing was, the first that fit.

        Args:
            name: of the format, for the message.

        Raises:
            UsageError: it cannot hold them.
        """
        for kind in self.kinds:
            if values in (None, kind[0]) and layout in (None, kind[1]):
                return kind
        asked = " ".join(filter(None, (values, layout)))
        held = ", ".join(" ".join(kind) for kind in self.kinds)
        raise UsageError(f"format {name!r} cannot hold {asked}; it holds {held}")


FORMATS: Registry[ImageFormat] = Registry("format", "smi_hf.images.formats")


def register_format(
    name: str,
    purpose: str,
    *,
    kinds: Sequence[tuple[str, str]],
    takes_input_name: bool = False,
    extra: str | None = None,
) -> "Callable[[Callable[[FormatInputs, Path], None]], ImageFormat]":
    """Decorator that files a function under `name`; see `ImageFormat`."""

    def add(write: "Callable[[FormatInputs, Path], None]") -> ImageFormat:
        return FORMATS.register(name)(ImageFormat(purpose, tuple(kinds), takes_input_name, extra, write))

    return add


def formats_help() -> str:
    """One entry for each format, for the end of --help."""
    lines = []
    for name in FORMATS.names():
        if package := FORMATS.not_imported_from(name):
            lines.append(f"  {name:<12} {of_package(package)}")
            continue
        entry = FORMATS.get(name)
        held = "; ".join(" ".join(kind) for kind in entry.kinds)
        lines += [f"  {name:<12} {entry.purpose}", f"  {'':<12} {held}"]
    return "\n".join(lines)


def write_array(stream: BinaryIO, inputs: FormatInputs) -> None:
    """All images as one array in the format of NumPy, (images, ...), written one by one: memory holds one of them."""
    import numpy as np

    dtype = np.dtype(inputs.dtype).newbyteorder("<")
    header = {"descr": dtype.str, "fortran_order": False, "shape": (inputs.num_images, *inputs.shape)}
    np.lib.format.write_array_header_1_0(stream, header)
    for image in inputs.images:
        stream.write(image.pixels.tobytes())
