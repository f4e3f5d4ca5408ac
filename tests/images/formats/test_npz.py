"""An array by the name of the model's input: read by numpy, as TensorRT's Model Optimizer does, and fed to a graph."""

import numpy as np
import pytest

from smi_hf.environment import missing_packages


@pytest.mark.parametrize(("given", "key"), [({}, "pixel_values"), ({"input_name": "image/input:0"}, "image/input:0")])
def test_the_array_stands_under_the_name_of_the_input_channels_first(export, given, key):
    folder, expected = export("npz", **given)
    with np.load(folder / "images.npz", allow_pickle=False) as archive:
        assert archive.files == [key]
        assert archive[key].dtype == np.float32
        assert np.array_equal(archive[key], expected.numpy())


def test_two_exports_are_the_same_file(export, tmp_path):
    first, _ = export("npz")
    first.rename(tmp_path / "first")
    second, _ = export("npz")
    assert (tmp_path / "first" / "images.npz").read_bytes() == (second / "images.npz").read_bytes()


@pytest.mark.skipif(bool(missing_packages("onnx")), reason="ONNX Runtime comes with the extra onnx")
def test_onnx_runtime_calibrates_a_graph_on_the_images_by_name(export, tmp_path):
    """The data reader that ONNX Runtime's own quantizer takes, over the archive: ranges are those of the images."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    folder, expected = export("npz")
    rng = np.random.default_rng(0)
    weight = onnx.numpy_helper.from_array(rng.standard_normal((2, 3, 8, 8)).astype(np.float32), "weight")
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Conv", ["pixel_values", "weight"], ["logits"], strides=[8, 8])],
        "patches",
        [value("pixel_values", onnx.TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("logits", onnx.TensorProto.FLOAT, [1, 2, 4, 4])],
        [weight],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    class Reader(CalibrationDataReader):
        def __init__(self):
            with np.load(folder / "images.npz") as archive:
                self.feeds = iter([dict.fromkeys(archive.files, image[None]) for image in archive["pixel_values"]])

        def get_next(self):
            return next(self.feeds, None)

    quantize_static(model, tmp_path / "int8.onnx", Reader())
    constants = onnx.load(tmp_path / "int8.onnx").graph.initializer
    scales = {each.name: onnx.numpy_helper.to_array(each) for each in constants}
    span = max(expected.max().item(), 0) - min(expected.min().item(), 0)
    assert scales["pixel_values_scale"] == pytest.approx(span / 255, rel=1e-5)
