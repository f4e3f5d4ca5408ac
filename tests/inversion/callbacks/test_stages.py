"""The picture of what each prune leaves."""

from pathlib import Path

import numpy as np
from PIL import Image

from smi_hf import SparseInversionTrainer


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
