"""What controls are given."""

from collections.abc import Callable

import pytest

from smi_hf import SparseInversionConfig, SparseInversionTrainer
from smi_hf.images.controls.base import ControlInputs


@pytest.fixture
def inputs(teacher, kept_images) -> Callable[..., ControlInputs]:
    """Makes inputs of the tiny teacher and its sparse set; arguments change them."""

    def make(argument: str = "", *, seeds=(1, 2), judged_on=None) -> ControlInputs:
        return ControlInputs(teacher, [kept_images], seeds, argument, judged_on)

    return make


@pytest.fixture(scope="session")
def dense_folder(_loaded_teacher, tmp_path_factory) -> str:
    """A dense inversion of the tiny checkpoint, with as many images as `sparse_folder` has."""
    folder = tmp_path_factory.mktemp("dense") / "dense-set"
    config = SparseInversionConfig(
        output_dir=str(folder), num_images=6, num_steps=4, policy="dense", disable_tqdm=True
    )
    SparseInversionTrainer(_loaded_teacher, config).train()
    return str(folder)
