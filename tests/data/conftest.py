import json
from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture(scope="module")
def valid(repository):
    """A record that smi_hf wrote, as plain values; to be copied before it is changed."""
    return json.loads((repository / "model_cards" / "dataset.json").read_text())


@pytest.fixture
def record():
    from smi_hf.data import DatasetRecord
    from smi_hf.models.references import CheckpointReference

    return DatasetRecord(
        teacher=CheckpointReference("someone/vit", "abc", "vit", "0" * 64),
        label_names=["crane", "dog", "crane"],
        image_size=(16, 24),
        patch_size=(8, 8),
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        settings={
            "num_images": 4,
            "num_steps": 10,
            "policy": "smi",
            "prune_steps": [5],
            "prune_ratios": [0.5],
            "seed": 7,
        },
        keep_counts=(6, 3),
    )


@pytest.fixture
def images():
    """Four finished images of the record's grid, with distinct random pixels."""

    def make(first=0, count=2):
        from smi_hf.data import FinishedImages

        generator = np.random.default_rng(first)
        return FinishedImages(
            image_indices=tuple(range(first, first + count)),
            seed=7,
            steps=10,
            labels=[index % 3 for index in range(first, first + count)],
            patches_BKCPQ=generator.integers(0, 256, (count, 3, 3, 8, 8), dtype=np.uint8),
            kept_BK=np.stack([np.sort(generator.permutation(6)[:3]) for _ in range(count)]),
            target_probability_B=generator.random(count),
        )

    return make


@pytest.fixture
def dataset_folder(record, images, tmp_path):
    """A complete dataset written with the package's own parts."""
    from smi_hf.data.sizes import shard_sizes
    from smi_hf.data.writer import SparseDatasetWriter
    from smi_hf.hub.cards.dataset import save_card

    folder = tmp_path / "dataset"
    writer = SparseDatasetWriter(folder, record)
    writer.open()
    for first in (2, 0):
        writer.write(images(first))
    results = {"target_top1": 1.0, "mean_target_probability": 0.5, "content_sha256": writer.content_sha256()}
    results |= shard_sizes(writer.shards())
    complete = record.completed(results)
    save_card(complete, folder)
    complete.save(folder)
    return folder


@pytest.fixture
def trajectories(record, images, tmp_path):
    """A sparse dataset of two trajectories of two images."""
    from smi_hf import load_sparse_dataset
    from smi_hf.data.writer import SparseDatasetWriter

    settings = record.settings | {"policy": "pri", "images_per_trajectory": 2}
    record = replace(record, settings=settings)
    writer = SparseDatasetWriter(tmp_path / "trajectories", record)
    writer.open()
    for first in (2, 0):
        made = images(first)
        patches = np.random.default_rng(first).permutation(6).reshape(2, 3)
        writer.write(replace(made, kept_BK=np.sort(patches, axis=1), steps=[5, 10]))
    writer.merge()
    results = {"target_top1": 1.0, "mean_target_probability": 0.5, "content_sha256": writer.content_sha256()}
    record.completed(results).save(writer.folder)
    return load_sparse_dataset(writer.folder)
