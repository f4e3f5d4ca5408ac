"""Whole images of a sparse dataset, and samples as quantizers take them."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data.samples import SHAPES, CalibrationSamples, WholeImages
from smi_hf.environment import dependency_lane, missing_packages
from smi_hf.images.controls.filled import all_patches
from smi_hf.images.kept import sparse_images
from smi_hf.images.tiles import tile_images


@pytest.fixture
def dataset(sparse_folder):
    return load_sparse_dataset(sparse_folder)


@pytest.fixture
def dense(dataset, record):
    """The same images, of a run that is said to have kept every patch."""
    grid = dataset.record.grid
    rows = dataset.dataset.map(
        lambda row: row | {"kept_patches": list(range(grid.num_patches))}, features=dataset.dataset.features
    )
    return replace(dataset, dataset=rows, record=replace(dataset.record, keep_counts=(grid.num_patches,)))


def pixels_of(samples):
    return torch.cat([sample["pixel_values"] for sample in samples])


def test_tiles_are_those_that_every_other_part_sees(dataset):
    expected = tile_images(sparse_images(dataset), dataset.record.grid)
    samples = dataset.calibration_samples()
    assert 1 < len(samples) == len(expected) < len(dataset)
    assert torch.equal(pixels_of(samples), expected.pixels_BCHW)


def test_filled_images_are_the_control_of_that_name(dataset, teacher):
    samples = dataset.calibration_samples("filled")
    assert torch.equal(pixels_of(samples), all_patches(sparse_images(dataset), teacher.model).pixels_BCHW)
    assert (WholeImages(dataset, "filled")[0][0] == 0).all(dim=0).any(), "no patch is black"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_is_one_normalized_image_in_a_batch_of_one(shape, dataset, dense):
    for sample in (dense if shape == "dense" else dataset).calibration_samples(shape):
        pixels = sample["pixel_values"]
        assert pixels.shape == (1, 3, 32, 32) and pixels.dtype == torch.float32 and pixels.is_contiguous()
        assert -1 <= pixels.min() < pixels.max() <= 1
        assert set(sample) == {"pixel_values", *(["kept_patches"] if shape == "kept" else [])}


def test_a_sparse_forward_of_kept_samples_is_that_of_the_dataset(dataset, teacher):
    with torch.no_grad():
        one_by_one = torch.cat([teacher.model(**sample).logits for sample in dataset.calibration_samples("kept")])
        batch = dataset.batch(range(len(dataset)))
        together = teacher.model(batch["pixel_values"], batch["kept_patches"]).logits
    # Rounding of matrix products differs between batch sizes.
    assert torch.allclose(one_by_one, together, atol=1e-5)


def test_every_shape_of_a_dense_dataset_shows_the_same_images(dense):
    seen = [pixels_of(dense.calibration_samples(shape)) for shape in SHAPES]
    assert all(torch.equal(pixels, seen[0]) for pixels in seen)


def test_samples_are_given_as_often_as_asked_and_by_number(dataset):
    samples = dataset.calibration_samples()
    assert torch.equal(pixels_of(samples), pixels_of(samples))
    assert torch.equal(samples[-1]["pixel_values"], list(samples)[-1]["pixel_values"])
    with pytest.raises(IndexError, match=f"there are {len(samples)} images, but number {len(samples)} was asked for"):
        samples[len(samples)]
    batches = list(DataLoader(dataset.calibration_samples("kept"), batch_size=4))
    assert batches[0]["pixel_values"].shape == (4, 1, 3, 32, 32)


def test_fewer_images_make_fewer_samples(dataset):
    first = dataset.first(1).calibration_samples()
    assert len(first) == 1
    assert torch.equal(
        first[0]["pixel_values"], tile_images(sparse_images(dataset, 1), dataset.record.grid).pixels_BCHW
    )


def test_a_tile_has_a_label_where_its_images_share_one(trajectories, dataset):
    images = WholeImages(trajectories, "tiled")
    assert images.num_sources == 2
    labels = trajectories.batch(range(4))["labels"].tolist()
    assert [label for _, label in images] == [
        first if first == second else None for first, second in zip(labels[::2], labels[1::2])
    ]
    assert [label for _, label in WholeImages(trajectories, "filled")] == labels


def test_a_shape_that_there_is_not_is_answered_with_those_that_there_are(dataset):
    with pytest.raises(UsageError, match=r"no shape of calibration samples 'tyled' \(did you mean 'tiled'\?\)"):
        dataset.calibration_samples("tyled")
    # Files of kept patches alone would be of no use to a graph of fixed shape.
    with pytest.raises(UsageError, match="no shape of whole images 'kept'; available: tiled, filled, dense"):
        WholeImages(dataset, "kept")


def test_dense_samples_of_a_sparse_dataset_are_refused(dataset):
    with pytest.raises(UsageError, match=r"keeps \d+ of 16 patches, but shape 'dense' is for one that keeps every"):
        dataset.calibration_samples("dense")


def test_a_streamed_dataset_is_refused_at_once(sparse_folder):
    streamed = load_sparse_dataset(sparse_folder, streaming=True)
    with pytest.raises(UsageError, match="shape 'tiled' needs images by number, and this dataset is streamed"):
        streamed.calibration_samples()


@pytest.mark.skipif(bool(missing_packages("openvino")), reason="NNCF comes with the extra openvino")
def test_nncf_calibrates_on_the_samples(dataset):
    import nncf
    import numpy as np
    import openvino
    from openvino import opset13

    image = opset13.parameter([1, 3, 32, 32], np.float32, name="pixel_values")
    weights = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    product = opset13.convolution(image, opset13.constant(weights), [8, 8], [0, 0], [0, 0], [1, 1])
    model = openvino.Model([opset13.result(product)], [image], "patches")
    samples = dataset.calibration_samples()
    quantized = nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples))
    (rounded,) = (
        node
        for node in quantized.get_ops()
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() == "Parameter"
    )
    low, high = (node.get_node().data.min() for node in (rounded.input_value(1), rounded.input_value(2)))
    pixels = pixels_of(samples)
    # Symmetric or not, the range is that of these pixels and of no others; NNCF moves it by up to a step of 8 bits.
    assert max(-low, high) == pytest.approx(pixels.abs().max().item(), rel=0.02)


@pytest.mark.skipif(dependency_lane() != "latest", reason="transformers.exporters comes with transformers 5")
def test_quantizers_of_transformers_take_the_samples(dataset):
    from transformers.exporters.quantizers.base import CalibrationSet
    from transformers.exporters.utils import onnx_feed

    samples = dataset.calibration_samples()
    sample_inputs = {"pixel_values": torch.randn(1, 3, 32, 32)}
    calibration = CalibrationSet(samples, sample_inputs, lambda sample: onnx_feed(["pixel_values"], sample))
    for _ in range(2):
        fed = [feed["pixel_values"] for feed in calibration]
        assert torch.equal(torch.cat(list(map(torch.from_numpy, fed))), pixels_of(samples))


def test_nothing_is_read_before_it_is_asked_for(dataset):
    # A damaged image is met when its turn comes.
    broken = replace(
        dataset,
        dataset=dataset.dataset.map(
            lambda row, number: row | {"image": {"bytes": b"no image", "path": None}} if number == 5 else row,
            with_indices=True,
            features=dataset.dataset.features,
        ),
    )
    samples = CalibrationSamples(broken, "filled")
    assert len(samples) == 6 and samples[0]
    with pytest.raises(UsageError, match="image 5 cannot be decoded"):
        samples[5]
