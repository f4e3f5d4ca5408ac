"""What policies choose from."""

from collections.abc import Callable

import pytest
import torch

from smi_hf.patches import SelectionInputs


@pytest.fixture
def inputs_of() -> Callable[..., SelectionInputs]:
    """Inputs whose scoring pass gives these scores; without them, asking for scores fails the test."""

    def make(scores_BK: torch.Tensor | None, kept_BK: torch.Tensor, num_kept: int, seeds=(0, 1)) -> SelectionInputs:
        def patch_attention() -> torch.Tensor:
            assert scores_BK is not None, "this policy has no business with the scoring pass"
            return scores_BK

        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return SelectionInputs(kept_BK, num_kept, patch_attention, generators)

    return make


@pytest.fixture
def kept_BK() -> torch.Tensor:
    """Five patches each of two images."""
    return torch.tensor([[0, 2, 3, 5, 7], [1, 2, 4, 6, 8]])
