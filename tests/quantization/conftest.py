import pytest


@pytest.fixture(scope="session")
def sparse_folder(tiny_checkpoint, tmp_path_factory):
    """A sparse dataset of the tiny checkpoint."""
    from smi_hf import SparseInversionConfig, SparseInversionTrainer, load_teacher

    folder = tmp_path_factory.mktemp("sparse") / "set"
    config = SparseInversionConfig(
        output_dir=str(folder), num_images=6, num_steps=20, prune_steps=[5, 10], disable_tqdm=True
    )
    SparseInversionTrainer(load_teacher(str(tiny_checkpoint)), config).train()
    return folder


@pytest.fixture
def image_processor(tiny_checkpoint):
    from smi_hf.models.preprocessing import load_image_processor

    return load_image_processor(str(tiny_checkpoint))


@pytest.fixture
def calibration(sparse_folder, teacher):
    from smi_hf import load
    from smi_hf.quantization.calibration import sparse_images

    return sparse_images(load(sparse_folder, for_model=teacher.model))
