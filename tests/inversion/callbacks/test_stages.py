"""The picture of what each prune leaves."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from smi_hf import SparseInversionTrainer
from smi_hf.data import FinishedImages
from smi_hf.inversion.callbacks import StagePreviewCallback
from smi_hf.inversion.state import TrajectoryState


def test_previews_show_the_images_and_the_kept_sets_of_each_stage(teacher, config):
    args = config(num_images=5, batch_size=4)
    SparseInversionTrainer(teacher, args).train()
    gap = 4
    assert Image.open(Path(args.output_dir) / "preview.png").size == (3 * 32 + 2 * gap, 2 * 32 + gap)
    stages = np.asarray(Image.open(Path(args.output_dir) / "preview_stages.png"))
    # Four images of the first batch; after the first prune, after the second, finished.
    assert stages.shape == (3 * 32 + 2 * gap, 4 * 32 + 3 * gap, 3)
    first, second = stages[:32, :32], stages[36:68, :32]
    black = [(image.reshape(4, 8, 4, 8, 3).max(axis=(1, 3, 4)) == 0).sum() for image in (first, second)]
    assert black == [16 - 11, 16 - 7]


def finished(indices, num_kept=7):
    """Finished images of pixels that are never black."""
    kept_BK = np.stack([np.arange(num_kept)] * len(indices))
    patches = np.full((len(indices), num_kept, 3, 8, 8), 200, dtype=np.uint8)
    return FinishedImages(tuple(indices), 0, 8, [0] * len(indices), patches, kept_BK, np.ones(len(indices)))


def follow(callback, run, indices, grid):
    """Shows a callback the prunes of a batch: after two steps 11 patches stay, after five 7."""
    state = TrajectoryState.start(indices, [0] * len(indices), grid, seed=0)
    for step, num_kept in ((2, 11), (5, 7)):
        state.step = step
        state.keep(torch.arange(num_kept).expand(len(indices), -1))
        callback.on_prune(run, state)


def test_a_batch_that_begins_again_after_running_out_of_memory_is_shown_once(teacher, config, tmp_path):
    run = SimpleNamespace(args=config(), teacher=teacher, output_dir=tmp_path)
    callback = StagePreviewCallback()
    callback.on_begin(run)
    follow(callback, run, [0, 1, 2], teacher.model.grid)
    follow(callback, run, [0, 1], teacher.model.grid)
    callback.on_batch_end(run, finished([0, 1]))
    picture = np.asarray(Image.open(tmp_path / "preview_stages.png"))
    assert picture.shape == (3 * 32 + 2 * 4, 2 * 32 + 4, 3)
    # The last row is the finished images.
    assert sorted(np.unique(picture[72:, :32])) == [0, 200]


def test_other_batches_than_the_first_are_not_shown(teacher, config, tmp_path):
    run = SimpleNamespace(args=config(), teacher=teacher, output_dir=tmp_path)
    callback = StagePreviewCallback()
    callback.on_begin(run)
    follow(callback, run, [2, 3], teacher.model.grid)
    callback.on_batch_end(run, finished([2, 3]))
    assert not list(tmp_path.iterdir())


def test_of_trajectories_the_picture_has_one_a_column_and_their_images_in_order(teacher, config):
    args = config(num_images=8, policy="pri", prune_steps=None)
    SparseInversionTrainer(teacher, args).train()
    stages = np.asarray(Image.open(Path(args.output_dir) / "preview_stages.png"))
    assert stages.shape == (4 * 32 + 3 * 4, 2 * 32 + 4, 3)
    preview = np.asarray(Image.open(Path(args.output_dir) / "preview.png"))
    # Trajectories there stand in rows, two in each.
    assert preview.shape == (32, 8 * 32 + 7 * 4, 3)
    for trajectory in range(2):
        for stage in range(4):
            left = 36 * (4 * trajectory + stage)
            image = stages[36 * stage : 36 * stage + 32, 36 * trajectory : 36 * trajectory + 32]
            assert np.array_equal(image, preview[:, left : left + 32])
