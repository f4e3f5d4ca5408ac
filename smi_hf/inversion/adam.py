"""Adam's memory of one tensor, whose rows are patches that may be dropped.

Legend: `B` images, `K` kept patches, `M` kept patches after a prune.
"""

import torch
from torch import Tensor
from torch.optim.adam import adam

from smi_hf.patches import take_slots

# What keeps a quotient of two moments finite where no gradient ever came; torch's default.
EPSILON = 1e-8


class Adam:
    """Adam (arXiv 1412.6980) over patches: what `torch.optim.Adam(fused=True)` does, bit for bit.

    Args:
        betas: decays of the first and the second moment, each in [0, 1).
    """

    def __init__(self, betas: tuple[float, float]) -> None:
        self.betas = betas
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.step: Tensor | None = None

    def descend(self, values: Tensor, gradient: Tensor, learning_rate: float) -> None:
        """Moves `values` (B, K, ...), which are contiguous, one step against their gradient, in place."""
        assert values.is_contiguous(), "the fused kernel takes memory as it lies"
        if self.first is None:
            self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)
            self.step = torch.zeros((), device=values.device)
        # One fused kernel instead of a dozen passes over the pixels.
        adam(
            [values],
            [gradient.contiguous()],  # other strides the kernel would overlook without a word
            [self.first],
            [self.second],
            [],
            [self.step],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def keep(self, slots_BM: Tensor) -> None:
        """Forgets every row but those in the given slots, int64 (B, M)."""
        if self.first is not None:
            self.first, self.second = take_slots(self.first, slots_BM), take_slots(self.second, slots_BM)
