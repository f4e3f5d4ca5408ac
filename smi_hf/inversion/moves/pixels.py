"""Every pixel moves by itself: Adam over pixels, as Sparse Model Inversion does."""

from torch import Tensor

from smi_hf.inversion.adam import Adam
from smi_hf.inversion.moves.base import MoveInputs, MoveSettings, register_move


@register_move("pixels")
class Pixels:
    """Adam over the kept pixels (arXiv 2510.27186, appendix). A dropped patch takes its moments with it."""

    def __init__(self, settings: MoveSettings) -> None:
        self.adam = Adam(settings.betas)

    def update(self, inputs: MoveInputs) -> None:
        self.adam.descend(inputs.patches_BKCPQ, inputs.gradient_BKCPQ, inputs.learning_rate)

    def keep(self, slots_BM: Tensor, kept_BM: Tensor) -> None:
        self.adam.keep(slots_BM)
