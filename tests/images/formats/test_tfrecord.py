"""Records, read by others' code: framing and checksums by TensorBoard's reader, the Examples by protobuf."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from smi_hf import ExportConfig, UsageError, export_images
from smi_hf.environment import missing_packages
from smi_hf.images.formats import tfrecord

needs_checksums = pytest.mark.skipif(bool(missing_packages("tfrecord")), reason="needs the extra tfrecord")


def read_records(path):
    """What TensorFlow's own reader gives, in the copy that TensorBoard has; it checks every checksum."""
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader, records = PyRecordReader_New(str(path)), []
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return records
        records.append(reader.record())


@pytest.fixture(scope="module")
def example_class():
    """`tf.train.Example`, made by protobuf from the fields of TensorFlow's feature.proto."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    def message(name, *fields):
        made = descriptor_pb2.DescriptorProto(name=name)
        for field, number, kind, type_name, is_list in fields:
            made.field.add(
                name=field,
                number=number,
                type=getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{kind}"),
                type_name=type_name,
                label=3 if is_list else 1,
            )
        return made

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    file.message_type.extend(
        [
            message("BytesList", ("value", 1, "BYTES", None, True)),
            message("FloatList", ("value", 1, "FLOAT", None, True)),
            message("Int64List", ("value", 1, "INT64", None, True)),
            message(
                "Feature",
                ("bytes_list", 1, "MESSAGE", ".t.BytesList", False),
                ("float_list", 2, "MESSAGE", ".t.FloatList", False),
                ("int64_list", 3, "MESSAGE", ".t.Int64List", False),
            ),
            message("Features", ("feature", 1, "MESSAGE", ".t.Features.FeatureEntry", True)),
            message("Example", ("features", 1, "MESSAGE", ".t.Features", False)),
        ]
    )
    entry = message("FeatureEntry", ("key", 1, "STRING", None, False), ("value", 2, "MESSAGE", ".t.Feature", False))
    entry.options.map_entry = True
    file.message_type[4].nested_type.append(entry)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


@pytest.fixture
def features_of(example_class):
    return lambda record: example_class.FromString(record).features.feature


@needs_checksums
def test_8_bits_are_pngs_under_the_names_of_tensorflows_image_models(export, in_8_bits, dataset, features_of):
    folder, expected = export("tfrecord")
    records = [features_of(record) for record in read_records(folder / "images.tfrecord")]
    images = [Image.open(io.BytesIO(each["image/encoded"].bytes_list.value[0])) for each in records]
    assert np.array_equal(np.stack([np.asarray(image) for image in images]), in_8_bits(expected))
    assert [each["image/class/label"].int64_list.value[0] for each in records] == list(dataset.dataset["label"])
    for each in records:
        assert list(each["image/format"].bytes_list.value) == [b"png"]
        sizes = [each[f"image/{name}"].int64_list.value[0] for name in ("height", "width", "channels")]
        assert sizes == [32, 32, 3]


@needs_checksums
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_normalized_images_are_floats_under_the_name_of_the_input(export, features_of, layout):
    folder, expected = export("tfrecord", "tiled", values="normalized", layout=layout, input_name="x")
    records = [features_of(record) for record in read_records(folder / "images.tfrecord")]
    pixels = np.array([each["x"].float_list.value for each in records], dtype=np.float32)
    assert np.array_equal(pixels, (expected if layout == "NCHW" else expected.permute(0, 2, 3, 1)).flatten(1).numpy())
    # Tiles of several labels have none.
    assert all("image/class/label" not in each for each in records)


@needs_checksums
def test_a_changed_byte_is_seen_by_its_checksum(export, tmp_path):
    from tensorboard.compat.tensorflow_stub import errors

    folder, _ = export("tfrecord")
    data = bytearray((folder / "images.tfrecord").read_bytes())
    data[100] ^= 1
    (tmp_path / "changed").write_bytes(data)
    with pytest.raises(errors.DataLossError):
        read_records(tmp_path / "changed")


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**62])
def test_a_number_is_read_as_it_was_written(value, features_of):
    read = features_of(tfrecord.example({"n": tfrecord.integer(value), "é": tfrecord.text(b"\x00" * 300)}))
    assert list(read["n"].int64_list.value) == [value]
    assert list(read["é"].bytes_list.value) == [b"\x00" * 300]


@needs_checksums
def test_a_record_is_as_long_as_it_says():
    record = tfrecord.framed(b"abc")
    assert struct.unpack("<Q", record[:8]) == (3,) and record[12:15] == b"abc" and len(record) == 8 + 4 + 3 + 4


def test_without_its_package_the_format_is_refused_with_the_pip_command(dataset, tmp_path, monkeypatch):
    from smi_hf import environment

    monkeypatch.setattr(environment, "missing_packages", lambda extra: ["google-crc32c"])
    with pytest.raises(UsageError, match=r'needs google-crc32c .*: pip install "smi-hf\[tfrecord\] @ git'):
        export_images(dataset, tmp_path / "x", ExportConfig("tfrecord"))
    assert not list(tmp_path.iterdir())
