"""What a trainer iterates over: parts of datasets, views and real images."""

import pytest

from smi_hf import UsageError


def test_too_few_images_to_hold_some_out_are_refused(make_trainer, make_images):
    with pytest.raises(UsageError, match="the dataset has 1 images, too few to hold 1 out"):
        make_trainer(train_dataset=make_images(1))
