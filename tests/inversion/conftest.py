import pytest


@pytest.fixture
def config(tmp_path):
    """Settings of a run that takes seconds; each test changes what it is about."""

    def make(**changes):
        from smi_hf.inversion import SparseInversionConfig

        defaults = {
            "output_dir": str(tmp_path / "dataset"),
            "num_images": 4,
            "num_steps": 8,
            "batch_size": 2,
            "prune_steps": [2, 5],
            "disable_tqdm": True,
        }
        return SparseInversionConfig(**(defaults | changes))

    return make


@pytest.fixture
def rows():
    """Every value of a dataset, images as the bytes of their PNGs, by image index."""

    def read(folder) -> dict[int, dict]:
        from datasets import Image, load_dataset

        dataset = load_dataset(str(folder), split="train").cast_column("image", Image(decode=False))
        return {row["image_index"]: {**row, "image": row["image"]["bytes"]} for row in dataset}

    return read
