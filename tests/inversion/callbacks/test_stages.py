"""The picture of how images come about."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from smi_hf import SparseInversionTrainer
from smi_hf.data import FinishedImages
from smi_hf.data.captions import in_percent
from smi_hf.images.preview import image_table
from smi_hf.inversion.callbacks import StagePreviewCallback, stages
from smi_hf.inversion.state import TrajectoryState

# Images of 32 pixels are shown four times as large.
SHOWN, GAP, MARGIN = 128, 12, 12


def images_of(folder, num_rows, num_columns):
    """The images of `preview_stages.png`, as small as they were, by row and column; they end at its margin."""
    sheet = np.asarray(Image.open(Path(folder) / "preview_stages.png"))
    top = sheet.shape[0] - MARGIN - num_rows * (SHOWN + GAP) + GAP
    left = sheet.shape[1] - MARGIN - num_columns * (SHOWN + GAP) + GAP
    # Words, no image, are what is left of it and above.
    assert 0 < top < SHOWN and 0 < left < 2 * SHOWN
    return [
        [
            sheet[above : above + SHOWN : 4, before : before + SHOWN : 4]
            for before in range(left, sheet.shape[1] - MARGIN, SHOWN + GAP)
        ]
        for above in range(top, sheet.shape[0] - MARGIN, SHOWN + GAP)
    ]


def num_black(image):
    return int((image.reshape(4, 8, 4, 8, 3).max(axis=(1, 3, 4)) == 0).sum())


def test_each_row_is_an_image_from_its_start_over_each_prune_to_its_end(teacher, config, monkeypatch):
    told = {}
    monkeypatch.setattr(
        stages, "image_table", lambda rows, *captions: told.update(captions=captions) or image_table(rows, *captions)
    )
    args = config(num_images=5, batch_size=4)
    dataset = SparseInversionTrainer(teacher, args).train()
    rows = images_of(args.output_dir, 4, 4)
    assert [[num_black(image) for image in row] for row in rows] == [[0, 16 - 11, 16 - 7, 16 - 7]] * 4
    for row, made in zip(rows, dataset):
        assert np.array_equal(row[-1], np.asarray(made["image"]))
        assert not np.array_equal(row[0], row[-1])
    of_rows, of_columns = ([[line.text for line in lines] for lines in captions] for captions in told["captions"])
    first, second = args.prune_steps
    assert of_columns == [
        ["step 0", "kept: 100 %"],
        [f"step {first}", "kept: 69 %"],
        [f"step {second}", "kept: 44 %"],
        [f"step {args.num_steps}, end", "kept: 44 %"],
    ]
    assert of_rows[0][:2] == [
        teacher.label_names[dataset[0]["label"]],
        f"teacher: {in_percent(dataset[0]['target_probability'])}",
    ]


def test_images_that_take_no_step_have_no_stages(teacher, config):
    args = config(num_steps=0, prune_steps=None)
    SparseInversionTrainer(teacher, args).train()
    assert not (Path(args.output_dir) / "preview_stages.png").exists()


def finished(indices, num_kept=7):
    """Finished images of pixels that are never black."""
    kept_BK = np.stack([np.arange(num_kept)] * len(indices))
    patches = np.full((len(indices), num_kept, 3, 8, 8), 200, dtype=np.uint8)
    return FinishedImages(tuple(indices), 0, 8, [0] * len(indices), patches, kept_BK, np.ones(len(indices)))


def follow(callback, run, indices, grid):
    """Shows a callback the start and the prunes of a batch: after two steps 11 patches stay, after five 7."""
    state = TrajectoryState.start(indices, [0] * len(indices), grid, seed=0)
    callback.on_batch_begin(run, state)
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
    rows = images_of(tmp_path, 2, 4)
    # The last column is the finished images.
    assert sorted(np.unique(rows[0][-1])) == sorted(np.unique(rows[1][-1])) == [0, 200]


def test_other_batches_than_the_first_are_not_shown(teacher, config, tmp_path):
    run = SimpleNamespace(args=config(), teacher=teacher, output_dir=tmp_path)
    callback = StagePreviewCallback()
    callback.on_begin(run)
    follow(callback, run, [2, 3], teacher.model.grid)
    callback.on_batch_end(run, finished([2, 3]))
    assert not list(tmp_path.iterdir())


def test_of_trajectories_a_row_has_one_with_its_images_in_order(teacher, config):
    args = config(num_images=8, policy="pri", prune_steps=None)
    dataset = SparseInversionTrainer(teacher, args).train()
    rows = images_of(args.output_dir, 2, 5)
    for trajectory, row in enumerate(rows):
        # Before them what the trajectory began as.
        assert num_black(row[0]) == 0
        for stage, image in enumerate(row[1:]):
            assert np.array_equal(image, np.asarray(dataset[4 * trajectory + stage]["image"]))
