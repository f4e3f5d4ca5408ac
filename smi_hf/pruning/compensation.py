"""Dropping inputs of a Linear layer so that what is left gives wanted outputs as nearly as it can, in closed form.

From first and second moments of inputs and wanted outputs alone, in float64: which inputs to keep, and the ridge
regression of the outputs on them.

Source: CORP (closed-form one-shot pruning of Vision Transformers) and the reconstruction of pruned channels by least
squares (He et al., Channel Pruning, arXiv 1707.06168, section 3.1).

Legend: `I` inputs and `O` outputs of the layer, `K` inputs kept, `G` that go together, `n` tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from smi_hf.pruning.config import RIDGE

# Inputs are chosen in so many steps, or in as many as there are inputs.
_STEPS = 100
_LEAST_RIDGE = 1e-10


@dataclass
class Moments:
    """Sums over tokens, float64, added up batch by batch.

    Args:
        sum_I, sum_O: of the inputs, and of the outputs that are wanted.
        gram_II: of the products of two inputs.
        cross_IO: of the products of an input and an output.
        count: of tokens.
    """

    sum_I: Tensor
    sum_O: Tensor
    gram_II: Tensor
    cross_IO: Tensor
    count: int = 0

    @classmethod
    def empty(cls, num_inputs: int, num_outputs: int) -> "Moments":
        shapes = ((num_inputs,), (num_outputs,), (num_inputs, num_inputs), (num_inputs, num_outputs))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    def add(self, inputs_nI: Tensor, outputs_nO: Tensor) -> None:
        """Adds tokens."""
        inputs_nI, outputs_nO = inputs_nI.double(), outputs_nO.double()
        self.sum_I += inputs_nI.sum(dim=0)
        self.sum_O += outputs_nO.sum(dim=0)
        self.gram_II.addmm_(inputs_nI.T, inputs_nI)
        self.cross_IO.addmm_(inputs_nI.T, outputs_nO)
        self.count += len(inputs_nI)

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


def refit(moments: Moments, kept_K: Tensor, *, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Weights (O, K) and bias (O,), float64, of the ridge regression of the wanted outputs on some of the inputs.

    The smallest mean squared error plus `ridge * s` times the squared norm of the weights, `s` being the mean variance
    of the kept inputs; the bias costs nothing.

    Args:
        kept_K: places of the inputs that stay, int64.
        ridge: >= 0; with 0 the kept inputs must not depend on each other linearly.
    """
    kept_KK = moments.covariance_II[kept_K][:, kept_K]
    damped_KK = kept_KK + ridge * _scale(kept_KK) * torch.eye(len(kept_K), dtype=torch.float64)
    weights_OK = torch.linalg.solve(damped_KK, moments.covariance_IO[kept_K]).T
    return weights_OK, moments.mean_O - weights_OK @ moments.mean_I[kept_K]


def _scale(covariance_II: Tensor) -> Tensor:
    """The mean variance; inputs that never change have none, and need a ridge all the same."""
    return covariance_II.diagonal().mean().clamp_min(torch.finfo(torch.float64).tiny ** 0.5)
