"""Head similarity: the heads of a block should look at an image in like ways, as they do at photographs.

Legend: `B` images, `K` kept patches, `T` tokens, `H` heads.
"""

import torch
from torch import Tensor

from smi_hf.losses.base import LossInputs, full_precision, register_loss

# Of structural similarity, for values of about 1.
_MEANS, _VARIANCES = 0.01**2, 0.03**2


@register_loss(
    "head_similarity", needs=("attentions",), source="MimiQ, arXiv 2407.20021, inter-head attention similarity"
)
def head_similarity(inputs: LossInputs) -> Tensor:
    """1 - |structural similarity| of the attention of two heads, mean over pairs, patches and blocks, (B,), in [0, 1].

    What two heads attend to from the same patch is compared as two pictures (MimiQ, arXiv 2407.20021, synthetic data
    generation by aligning the attention of heads from each query patch). A model with one head has none to compare: 0.
    Differs from MimiQ: one window over the kept patches, as pictures with holes have no smaller ones, of attention
    times the number of kept patches, so that attention spread evenly is 1; constants 0.01^2 and 0.03^2
    (`tests/losses/test_head_similarity.py`).
    """
    num_kept = inputs.kept_BK.shape[1]
    distances = [_distance(full_precision(attention[..., -num_kept:, -num_kept:])) for attention in inputs.attentions]
    return sum(distances) / len(distances)


def _distance(attention_BHKK: Tensor) -> Tensor:
    """Of one block, (B,)."""
    H, K = attention_BHKK.shape[1:3]
    first, second = torch.triu_indices(H, H, 1, device=attention_BHKK.device)
    if not len(first):
        return 0 * attention_BHKK.flatten(1).sum(dim=1)
    maps_BKHK = K * attention_BHKK.transpose(1, 2)
    mean_BKH = maps_BKHK.mean(dim=3)
    centered_BKHK = maps_BKHK - mean_BKH[..., None]
    covariance_BKHH = centered_BKHK @ centered_BKHK.transpose(2, 3) / K
    variance_BKH = covariance_BKHH.diagonal(dim1=2, dim2=3)
    means = (2 * mean_BKH[..., first] * mean_BKH[..., second] + _MEANS) / (
        mean_BKH[..., first].square() + mean_BKH[..., second].square() + _MEANS
    )
    structures = (2 * covariance_BKHH[..., first, second] + _VARIANCES) / (
        variance_BKH[..., first] + variance_BKH[..., second] + _VARIANCES
    )
    return 1 - (means * structures).abs().mean(dim=(1, 2))
