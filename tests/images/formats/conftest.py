import pytest


@pytest.fixture
def dataset(sparse_folder):
    from smi_hf import load_sparse_dataset

    return load_sparse_dataset(sparse_folder)


@pytest.fixture
def export(dataset, tmp_path):
    """Exports the dataset; returns the folder and the images that are expected in it, normalized (images, C, H, W)."""
    import torch

    from smi_hf import ExportConfig, export_images

    def run(format, shape="filled", **options):
        folder = tmp_path / "exported"
        export_images(dataset, folder, ExportConfig(format, shape, disable_tqdm=True, **options))
        return folder, torch.cat([sample["pixel_values"] for sample in dataset.calibration_samples(shape)])

    return run


@pytest.fixture
def in_8_bits(dataset):
    """Normalized images (images, C, H, W) as they were in the dataset's files, uint8 (images, H, W, C)."""
    return lambda pixels_BCHW: dataset.record.normalization.to_uint8(pixels_BCHW).permute(0, 2, 3, 1).numpy()
