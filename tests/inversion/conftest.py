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


@pytest.fixture
def state(teacher):
    """Three images that are noise yet."""
    from smi_hf.inversion.state import TrajectoryState

    return TrajectoryState.start([0, 1, 2], [3, 1, 4], teacher.model.grid, seed=0)


@pytest.fixture
def take_step():
    """Takes one step of three images that are neither shifted nor mirrored; returns the losses."""
    import torch

    from smi_hf.inversion.step import inversion_step
    from smi_hf.patches import Augmentation

    def take(teacher, state, weights=None):
        still = Augmentation(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(3, dtype=torch.bool))
        weights = weights or {"cross_entropy": 1.0, "total_variation": 1e-3}
        return inversion_step(teacher.model, state, [still], loss_weights=weights, normalization=teacher.normalization)

    return take
