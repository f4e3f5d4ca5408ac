"""Random streams that depend on what they are for, and on nothing that ran before."""

import numpy as np
import torch


def image_generator(seed: int, *numbers: int) -> torch.Generator:
    """The random stream of one image: the same whatever the batch, the process or the device.

    Differs from SMI: there one stream serves the batch (`tests/inversion/test_trajectory.py`).

    Args:
        seed: of the run, >= 0.
        numbers: which image, and which use of it, >= 0.
    """
    state = np.random.SeedSequence([seed, *numbers]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))
