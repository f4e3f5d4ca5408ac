"""TensorFlow's record files, written without TensorFlow: each image is a serialized `tf.train.Example`.

A record is its length, a checksum of the length, the data and a checksum of the data
(https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details). An Example is a protocol buffer:
features by name, each a list of bytes, floats or integers (tensorflow/core/example/feature.proto).
"""

import struct
from typing import TYPE_CHECKING

from smi_hf.data.png import encode_png
from smi_hf.images.formats.base import NCHW, NHWC, NORMALIZED, UINT8, FormatInputs, register_format
from smi_hf.images.formats.npz import DEFAULT_INPUT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

# Wire type 2: a length, and that many bytes.
_LENGTH_DELIMITED = 2
# Numbers of the fields: Example.features, Features.feature, key and value of an entry, and of the three lists.
_FEATURES, _ENTRY, _KEY, _VALUE = 1, 1, 1, 2
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3
_LIST_VALUES = 1


@register_format(
    "tfrecord",
    "images.tfrecord, tf.train.Example each: TensorFlow and LiteRT, tf.data.TFRecordDataset",
    kinds=((UINT8, NHWC), (NORMALIZED, NHWC), (NORMALIZED, NCHW)),
    takes_input_name=True,
    extra="tfrecord",
)
def tfrecord(inputs: FormatInputs, folder: "Path") -> None:
    """uint8 as PNGs under the names that TensorFlow's image models use, image/encoded and so on; normalized as floats
    under the name of the input."""
    with open(folder / "images.tfrecord", "wb") as file:
        for image in inputs.images:
            if inputs.dtype == "uint8":
                features = _encoded(image.pixels)
            else:
                features = {inputs.input_name or DEFAULT_INPUT_NAME: floats(image.pixels)}
            if image.label is not None:
                features["image/class/label"] = integer(image.label)
            file.write(framed(example(features)))


def _encoded(pixels_HWC: "np.ndarray") -> dict[str, bytes]:
    height, width, channels = pixels_HWC.shape
    return {
        "image/encoded": text(encode_png(pixels_HWC)),
        "image/format": text(b"png"),
        "image/height": integer(height),
        "image/width": integer(width),
        "image/channels": integer(channels),
    }


def framed(data: bytes) -> bytes:
    """One record of a file."""
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    """CRC-32C, rotated and moved, so that the checksum of data that holds checksums is a good one."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def example(features: "dict[str, bytes]") -> bytes:
    """A serialized `tf.train.Example`.

    Args:
        features: what `text`, `floats` and `integer` made, by name.
    """
    entries = (
        _field(_ENTRY, _field(_KEY, name.encode()) + _field(_VALUE, feature)) for name, feature in features.items()
    )
    return _field(_FEATURES, b"".join(entries))


def text(value: bytes) -> bytes:
    """A feature of one string of bytes."""
    return _field(_BYTES_LIST, _field(_LIST_VALUES, value))


def floats(values: "np.ndarray") -> bytes:
    """A feature of floats, packed; the shape is not kept."""
    return _field(_FLOAT_LIST, _field(_LIST_VALUES, values.astype("<f4").tobytes()))


def integer(value: int) -> bytes:
    """A feature of one number, at least 0."""
    return _field(_INT64_LIST, _field(_LIST_VALUES, _varint(value)))


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])
