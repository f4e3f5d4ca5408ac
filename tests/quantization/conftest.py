import numpy as np
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


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A labelled image set as one parquet file: random pictures in the tiny model's 5 labels."""
    from datasets import ClassLabel, Dataset, Features, Image
    from PIL import Image as Picture

    generator = np.random.default_rng(0)
    rows = {
        "image": [Picture.fromarray(generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)) for _ in range(20)],
        "label": [index % 5 for index in range(20)],
    }
    names = [f"LABEL_{label}" for label in range(5)]
    path = tmp_path_factory.mktemp("photographs") / "test.parquet"
    Dataset.from_dict(rows, features=Features({"image": Image(), "label": ClassLabel(names=names)})).to_parquet(path)
    return path


@pytest.fixture
def image_processor(tiny_checkpoint):
    from smi_hf.models.preprocessing import load_image_processor

    return load_image_processor(str(tiny_checkpoint))


@pytest.fixture
def calibration(sparse_folder, teacher):
    from smi_hf import load
    from smi_hf.quantization.calibration import sparse_images

    return sparse_images(load(sparse_folder, for_model=teacher.model))
