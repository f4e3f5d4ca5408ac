"""Dropping inputs of a Linear layer so that what is left gives its outputs as nearly as it can, in closed form.

From first and second moments of the inputs alone, in float64: which inputs to keep, and the ridge regression of the
layer's output on them. What it should give besides is learned as far as it holds on other images (`correction`).

Source: CORP (closed-form one-shot pruning of Vision Transformers) and the reconstruction of pruned channels by least
squares (He et al., Channel Pruning, arXiv 1707.06168, section 3.1).

Legend: `I` inputs and `O` outputs of the layer, `K` inputs kept, `G` that go together, `n` tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from smi_hf.pruning.config import RIDGE

# Inputs are chosen in so many steps, or in as many as there are inputs.
_STEPS = 100
_LEAST_RIDGE = 1e-10
# Of ridge regressions that are tried for a correction, as shares of the mean variance of the kept inputs.
_STRENGTHS = (1e-3, 1e-2, 0.1, 1.0, 10.0)


@dataclass
class Moments:
    """Sums over tokens, float64, added up batch by batch.

    Args:
        sum_I, sum_O: of the inputs, and of what the layer should give besides.
        gram_II: of the products of two inputs.
        cross_IO: of the products of an input and an output.
        square_O: of the squares of outputs.
        count: of tokens.
    """

    sum_I: Tensor
    sum_O: Tensor
    gram_II: Tensor
    cross_IO: Tensor
    square_O: Tensor
    count: int = 0

    @classmethod
    def empty(cls, num_inputs: int, num_outputs: int) -> "Moments":
        ins, outs = num_inputs, num_outputs
        shapes = ((ins,), (outs,), (ins, ins), (ins, outs), (outs,))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, inputs_nI: Tensor, outputs_nO: Tensor) -> None:
        """Adds tokens."""
        inputs_nI, outputs_nO = inputs_nI.double(), outputs_nO.double()
        self.sum_I += inputs_nI.sum(dim=0)
        self.sum_O += outputs_nO.sum(dim=0)
        self.gram_II.addmm_(inputs_nI.T, inputs_nI)
        self.cross_IO.addmm_(inputs_nI.T, outputs_nO)
        self.square_O += outputs_nO.square().sum(dim=0)
        self.count += len(inputs_nI)

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def mean_I(self) -> Tensor:
        return self.sum_I / self.count

    @property
    def mean_O(self) -> Tensor:
        return self.sum_O / self.count

    @property
    def covariance_II(self) -> Tensor:
        return self.gram_II / self.count - self.mean_I.outer(self.mean_I)

    @property
    def covariance_IO(self) -> Tensor:
        return self.cross_IO / self.count - self.mean_I.outer(self.mean_O)

    @property
    def variance_O(self) -> Tensor:
        return self.square_O / self.count - self.mean_O.square()


def choose_inputs(moments: Moments, weights_OI: Tensor, num_kept: int, *, ridge: float = RIDGE) -> Tensor:
    """Places of the inputs to keep, int64, ascending, (K,): those that go are what the rest can best make up for.

    From all inputs, those go whose loss adds the least to the mean squared error of the output when the weights of
    the others are the best that there are: the squared norm of an input's weights over its diagonal entry in the
    inverse of the covariance, which has `ridge` times the mean variance on its diagonal. A hundredth of the inputs go
    at a time (one, of fewer than 200), then weights and inverse are those of what is left. What a mean adds costs
    nothing, as it goes into the bias.

    Source: Optimal Brain Surgeon (Hassibi and Stork, 1993), for the inputs of a layer.

    DeiT-Tiny, half of every MLP cut, 64 inverted images, 400 photographs: 45.5 % one at a time, 46.5 a hundredth, 43.0
    a twenty-fourth; 37.5 by an input's variance times the squared norm of its weights, whatever the others can do.
    """
    weights_OI, covariance_II = weights_OI.double(), moments.covariance_II
    left_I = torch.arange(len(covariance_II))
    if num_kept >= len(left_I):
        return left_I
    # Without any ridge there is no inverse where inputs tell each other exactly.
    damping = max(ridge, _LEAST_RIDGE) * _scale(covariance_II)
    inverse_II = torch.linalg.inv(covariance_II + damping * torch.eye(len(left_I), dtype=torch.float64))
    at_a_time = max(1, len(left_I) // _STEPS)
    while len(left_I) > num_kept:
        costs_I = weights_OI.square().sum(dim=0) / inverse_II.diagonal()
        # Ties go by place: nothing depends on how a sort is made.
        order_I = costs_I.argsort(stable=True)
        num_gone = min(at_a_time, len(left_I) - num_kept)
        gone_G, stay_K = order_I[:num_gone], order_I[num_gone:].sort().values
        share_GK = torch.linalg.solve(inverse_II[gone_G][:, gone_G], inverse_II[gone_G][:, stay_K])
        weights_OI = weights_OI[:, stay_K] - weights_OI[:, gone_G] @ share_GK
        inverse_II = inverse_II[stay_K][:, stay_K] - inverse_II[stay_K][:, gone_G] @ share_GK
        left_I = left_I[stay_K]
    return left_I


def refit(
    moments: Moments, kept_K: Tensor, weights_OI: Tensor, bias_O: Tensor, *, ridge: float = RIDGE
) -> tuple[Tensor, Tensor]:
    """Weights (O, K) and bias (O,), float64, of the ridge regression of a layer's output on some of its inputs.

    The smallest mean squared error plus `ridge * s` times the squared norm of the weights, `s` being the mean variance
    of the kept inputs; the bias costs nothing.

    Args:
        kept_K: places of the inputs that stay, int64.
        ridge: >= 0; with 0 the kept inputs must not depend on each other linearly.
    """
    weights_OI = weights_OI.double()
    kept_KI = moments.covariance_II[kept_K]
    new_OK = _ridge(kept_KI[:, kept_K], kept_KI @ weights_OI.T, ridge)
    return new_OK, bias_O.double() + weights_OI @ moments.mean_I - new_OK @ moments.mean_I[kept_K]


def correction(halves: Sequence[Moments]) -> tuple[Tensor, Tensor]:
    """Weights (O, I) and bias (O,), float64, to add to a layer so that it gives the outputs of `halves` besides.

    A ridge regression, as strong as makes the weights of one half of the images serve the other half best; weights of
    zero where none serves it.

    Args:
        halves: moments of each half of the images.
    """
    pairs = [(one, other) for one, other in (halves, halves[::-1]) if one.count and other.count]
    whole = halves[0] + halves[1]
    nothing = sum(_error(torch.zeros_like(whole.cross_IO.T), other) for _, other in pairs)
    errors = {
        ridge: sum(_error(_ridge(one.covariance_II, one.covariance_IO, ridge), other) for one, other in pairs)
        for ridge in _STRENGTHS
    }
    best = min(errors, key=errors.__getitem__)
    weights_OI = torch.zeros_like(whole.cross_IO.T)
    if errors[best] < nothing:
        weights_OI = _ridge(whole.covariance_II, whole.covariance_IO, best)
    return weights_OI, whole.mean_O - weights_OI @ whole.mean_I


def _ridge(covariance_KK: Tensor, covariance_KO: Tensor, ridge: float) -> Tensor:
    """Weights (O, K) of a ridge regression."""
    damped_KK = covariance_KK + ridge * _scale(covariance_KK) * torch.eye(len(covariance_KK), dtype=torch.float64)
    return torch.linalg.solve(damped_KK, covariance_KO).T


def _error(weights_OI: Tensor, moments: Moments) -> float:
    """Mean squared error of these weights, with the best bias, on the tokens of some moments."""
    explained_O = 2 * (weights_OI * moments.covariance_IO.T).sum(dim=1)
    spent_O = ((weights_OI @ moments.covariance_II) * weights_OI).sum(dim=1)
    return float((moments.variance_O - explained_O + spent_O).sum())


def _scale(covariance_II: Tensor) -> Tensor:
    """The mean variance; inputs that never change have none, and need a ridge all the same."""
    return covariance_II.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny ** 0.5)
