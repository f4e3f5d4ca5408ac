"""Rounding weights to few bits so that a layer's outputs change least, not its weights.

Source: GPTQ (Frantar et al., arXiv 2210.17323, section 3): columns are rounded one by one, and those to come make up
for the error of each, as far as the layer's inputs are correlated.

Differs from GPTQ: the Hessian is damped by half of its mean diagonal and not by a hundredth. Synthetic images tell how
the inputs of a layer are correlated only roughly, and what fits them too well fits photographs less: DeiT-Tiny in W2
has, without any training, 18.5 % with a hundredth, 22.2 with a fifth, 24.5 with the whole (400 photographs).

Legend: `O` outputs and `I` inputs of a layer, `G` groups of weights that share a scale and a shift.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf import progress
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends.quanto import linear_layers_watched
from smi_hf.quantization.qat.weight_grids import least_squares_range, rounded

DAMPING = 0.5
_BATCH_SIZE = 32


@dataclass(frozen=True)
class RoundedWeights:
    """Weights that a rounding is near to, and what they are rounded to.

    Args:
        weights_OI: in floating point; the nearest values of their range are the rounded ones.
        scale_G1, shift_G1: values are `scale * code - shift`; groups are consecutive weights of a row.
    """

    weights_OI: Tensor
    scale_G1: Tensor
    shift_G1: Tensor

    def values(self, bits: int) -> Tensor:
        """The rounded weights, (O, I)."""
        weights_GS = self.weights_OI.reshape(len(self.scale_G1), -1)
        return rounded(weights_GS, self.scale_G1, self.shift_G1, 2**bits - 1).reshape(self.weights_OI.shape)


def round_layers(
    model: SparseClassifier,
    group_sizes: Mapping[str, int | None],
    bits: int,
    images: KeptImages,
    *,
    disable_tqdm: bool = False,
) -> dict[str, RoundedWeights]:
    """Rounds Linear layers one after the other, each for the inputs that it gets from those rounded before it.

    Args:
        model: in float32; its weights become the rounded ones.
        group_sizes: weights of a group by name of layer, None for a whole row; in the order of the forward pass.
        bits: of a weight.
        images: calibration set, kept patches alone.
    """
    found: dict[str, RoundedWeights] = {}
    with progress.bar("Rounding weights", total=len(group_sizes), unit="layer", disable=disable_tqdm) as bar:
        for names in _with_equal_inputs(model, list(group_sizes), images):
            gram_II = _gram_of_inputs(model, names[0], images)
            for name in names:
                layer = model.model.get_submodule(name)
                found[name] = round_with_feedback(layer.weight.detach(), gram_II, bits, group_sizes[name])
                layer.weight.data.copy_(found[name].values(bits))
                bar.update()
    return found


def round_with_feedback(
    weights_OI: Tensor, gram_II: Tensor, bits: int, group_size: int | None, damping: float = DAMPING
) -> RoundedWeights:
    """Rounds the weights of a layer column by column; the columns to come make up for the errors.

    Args:
        gram_II: sum over the inputs of their products, X^T X.
        group_size: weights of a group, a divisor of I; None for a whole row.
        damping: what is added to the diagonal of the matrix, as a share of its mean.
    """
    weights_OI = weights_OI.double().clone()
    damped_II = gram_II.double() / gram_II.diagonal().mean().clamp_min(torch.finfo(gram_II.dtype).tiny)
    damped_II += damping * torch.eye(len(damped_II), dtype=damped_II.dtype)
    # Row i of this upper triangle tells how columns i, i + 1, ... make up for the error of column i, those before it
    # being settled (GPTQ, step 3).
    factor_II = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped_II)), upper=True)
    importance_I, last, size = damped_II.diagonal(), 2**bits - 1, group_size or weights_OI.shape[1]
    ranges = []
    for start in range(0, weights_OI.shape[1], size):
        group = slice(start, start + size)
        # The weights as they are by now: errors of the groups before are in them.
        scale_O1, shift_O1 = least_squares_range(weights_OI[:, group], bits, importance_I[group])
        ranges.append((scale_O1, shift_O1))
        for column in range(start, start + size):
            here_O1 = weights_OI[:, column : column + 1]
            error_O1 = (here_O1 - rounded(here_O1, scale_O1, shift_O1, last)) / factor_II[column, column]
            weights_OI[:, column + 1 :] -= error_O1 * factor_II[column, column + 1 :]
    scale_G1, shift_G1 = (torch.cat(each, dim=1).reshape(-1, 1).float() for each in zip(*ranges))
    return RoundedWeights(weights_OI.float(), scale_G1, shift_G1)


def _with_equal_inputs(model: SparseClassifier, names: Sequence[str], images: KeptImages) -> Iterator[list[str]]:
    """Names of layers, together where the very same tensor enters them (query, key and value)."""
    # The tensors themselves: the number of one that is gone may be given to another.
    entered: dict[str, Tensor] = {}
    with linear_layers_watched(model, lambda name, inputs, outputs: entered.setdefault(name, inputs)):
        model(*next(images.batches(1)))
    left = list(names)
    while left:
        together = [name for name in left if entered[name] is entered[left[0]]]
        yield together
        left = [name for name in left if name not in together]


def _gram_of_inputs(model: SparseClassifier, layer: str, images: KeptImages) -> Tensor:
    """Sum of the products of what enters a layer, (I, I), over all tokens of all images."""
    size = model.model.get_submodule(layer).in_features
    gram_II = torch.zeros(size, size)

    def add(name: str, inputs: Tensor, outputs: Tensor) -> None:
        if name == layer:
            tokens_TI = inputs.flatten(0, -2)
            gram_II.addmm_(tokens_TI.T, tokens_TI)
            raise _SeenError

    with linear_layers_watched(model, add):
        for pixels_BCHW, kept_BK in images.batches(_BATCH_SIZE):
            # What comes behind the layer need not be computed.
            with suppress(_SeenError):
                model(pixels_BCHW, kept_BK)
    return gram_II


class _SeenError(Exception):
    """Ends a forward pass."""
