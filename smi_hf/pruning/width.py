"""Narrower MLPs: hidden units go, and what is left is refitted in closed form, then by gradient, block by block.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size, `I` hidden units of an MLP.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from smi_hf import progress
from smi_hf.errors import UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import BlockInputs, find_blocks, first_block_inputs
from smi_hf.models.depth import with_layers
from smi_hf.pruning.compensation import Moments, choose_inputs, correction, refit
from smi_hf.pruning.config import KEEP, RIDGE
from smi_hf.pruning.fitting import activation_of, fit_mlp
from smi_hf.pruning.mlps import Mlp, find_mlps, find_mlps_beside
from smi_hf.pruning.targets import mlp_tokens, output_scale

_BATCH_SIZE = 16


def prune_mlps(
    model: SparseClassifier,
    images: KeptImages | Sequence[KeptImages],
    *,
    keep: float = KEEP,
    layers: Sequence[int] | None = None,
    ridge: float = RIDGE,
    num_epochs: int = 0,
    seed: int = 0,
    disable_tqdm: bool = False,
) -> SparseClassifier:
    """A copy of a classifier whose MLPs have a part of their hidden units, and compute as nearly the same as they can.

    Block after block, for what enters it from the pruned blocks before: the second Linear layer is corrected, so that
    the block gives more nearly what that of the whole model gives (`correction`, `mlp_tokens`); then the units go that
    the others can best make up for (`choose_inputs`), and the layer becomes the ridge regression of its output on the
    units that stay (`refit`). Both layers are smaller then, and with `num_epochs` they are fitted on by gradient to
    what the whole corrected MLP gives (`fit_mlp`). Where layers go as well, a block is to give what the last of those
    that went behind it gave.

    Args:
        model: in float32 on the CPU; left as it is.
        images: calibration set, kept patches alone; labels are not looked at. Several may keep different numbers of
            patches.
        keep: share of the hidden units that stay, in (0, 1], rounded to whole units, at least one.
        layers: numbers of the layers that stay, as of `with_layers`; all if None.
        ridge: strength of the regression, as a share of the mean variance of the kept units.
        num_epochs: passes over the tokens of the images; 0 leaves what closed form gives, and no step is random then.
        seed: of the order of tokens in an epoch.

    Returns:
        The copy, in evaluation mode. Its configuration has the new number of hidden units, so `save_pretrained` of
        its `model` writes a checkpoint that stock transformers reads; that of DINOv2 can say multiples of the hidden
        size alone, and is otherwise left as it was.

    Raises:
        UsageError: `keep`, `layers`, `ridge` or `num_epochs` is out of range, or the model has no plain MLPs.
    """
    if not 0 < keep <= 1:
        raise UsageError(f"keep is {keep}, but the share of hidden units that stay is above 0 and at most 1")
    if not 0 <= ridge < float("inf"):
        raise UsageError(f"ridge is {ridge}, but must be 0 or more, and finite")
    if num_epochs < 0:
        raise UsageError(f"num_epochs is {num_epochs}, but must be 0 or more")
    blocks = find_blocks(model)
    layers = range(len(blocks)) if layers is None else layers
    pruned = with_layers(model, layers)
    sets = [images] if isinstance(images, KeptImages) else images
    mlps = find_mlps(pruned)
    with torch.no_grad():
        batches = list(first_block_inputs(pruned, chain.from_iterable(each.batches(_BATCH_SIZE) for each in sets)))
        # The same tokens on their way through the whole model.
        whole = [batch.within(model) for batch in batches]
        ends = [*layers[1:], len(blocks)]
        for number, mlp in enumerate(progress.each(mlps, "Pruning", unit="block", disable=disable_tqdm)):
            for block in blocks[ends[number - 1] if number else 0 : ends[number]]:
                for batch in whole:
                    batch.advance(block)
            _prune_block(pruned, mlp, batches, [batch.hidden_BTD for batch in whole], keep, ridge, num_epochs, seed)
            for batch in batches:
                batch.advance(mlp.block)
        for mlp in find_mlps_beside(pruned):
            _prune_beside(pruned, mlp, sets, keep, ridge)
    pruned.family.tell_width(pruned.model, mlps[0].num_units(pruned))
    return pruned


def _prune_block(
    model: SparseClassifier,
    mlp: Mlp,
    batches: list[BlockInputs],
    wanted: list[Tensor],
    keep: float,
    ridge: float,
    num_epochs: int,
    seed: int,
) -> None:
    """Replaces the two layers of an MLP by smaller ones, and fits them to the block's wanted outputs."""
    first, second = (model.model.get_submodule(name) for name in (mlp.first, mlp.second))
    scale_D = output_scale(model, mlp, batches[0])
    halves = [Moments.empty(second.in_features, second.out_features) for _ in range(2)]
    inputs = []
    for batch, block_output_BTD in zip(batches, wanted, strict=True):
        tokens = mlp_tokens(model, mlp, batch, block_output_BTD, scale_D)
        lacking_BTD = tokens.wanted_BTD - tokens.given_BTD
        for half, moments in enumerate(halves):
            moments.add(tokens.hidden_BTI[half::2].flatten(0, 1), lacking_BTD[half::2].flatten(0, 1))
        if num_epochs:
            activation = activation_of(model, mlp, tokens.inputs_BTD, tokens.hidden_BTI)
            inputs.append(tokens.inputs_BTD.flatten(0, 1))
    # The MLP as it should be, still of all its units.
    added_OI, added_O = correction(halves)
    weights_OI = second.weight + added_OI
    bias_O = added_O if second.bias is None else second.bias + added_O
    moments = halves[0] + halves[1]
    kept_K = choose_inputs(moments, weights_OI * scale_D[:, None], _num_kept(keep, second.in_features), ridge=ridge)
    small = _smaller(first, moments, kept_K, weights_OI, bias_O, ridge)
    if num_epochs:
        whole = (first, _linear(weights_OI, bias_O))
        fit_mlp(small, whole, activation, torch.cat(inputs), scale_D, num_epochs=num_epochs, seed=seed)
    _replace(model, mlp, small)


def _prune_beside(model: SparseClassifier, mlp: Mlp, sets: Sequence[KeptImages], keep: float, ridge: float) -> None:
    """Replaces the two layers of an MLP behind the blocks, whose output is fitted to what it gives now."""
    first, second = (model.model.get_submodule(name) for name in (mlp.first, mlp.second))
    moments = Moments.empty(second.in_features, second.out_features)

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        moments.add(inputs[0].flatten(0, -2), torch.zeros_like(output).flatten(0, -2))

    handle = second.register_forward_hook(note)
    try:
        for pixels_BCHW, kept_BK in chain.from_iterable(each.batches(_BATCH_SIZE) for each in sets):
            model(pixels_BCHW, kept_BK)
    finally:
        handle.remove()
    bias_O = torch.zeros(second.out_features) if second.bias is None else second.bias
    kept_K = choose_inputs(moments, second.weight, _num_kept(keep, second.in_features), ridge=ridge)
    _replace(model, mlp, _smaller(first, moments, kept_K, second.weight, bias_O, ridge))


def _smaller(
    first: nn.Linear, moments: Moments, kept_K: Tensor, weights_OI: Tensor, bias_O: Tensor, ridge: float
) -> tuple[nn.Linear, nn.Linear]:
    """The two layers of an MLP with some of its hidden units, the second refitted."""
    first_bias_K = None if first.bias is None else first.bias[kept_K]
    second = _linear(*refit(moments, kept_K, weights_OI, bias_O, ridge=ridge))
    return _linear(first.weight[kept_K], first_bias_K), second


def _replace(model: SparseClassifier, mlp: Mlp, small: tuple[nn.Linear, nn.Linear]) -> None:
    for name, layer in zip((mlp.first, mlp.second), small, strict=True):
        model.model.set_submodule(name, layer)


def _linear(weights_OI: Tensor, bias_O: Tensor | None) -> nn.Linear:
    """A Linear layer of these weights in float32, which requires no gradient."""
    num_outputs, num_inputs = weights_OI.shape
    layer = nn.Linear(num_inputs, num_outputs, bias=bias_O is not None, device="meta").to_empty(device="cpu")
    layer.weight.copy_(weights_OI)
    if bias_O is not None:
        layer.bias.copy_(bias_O)
    return layer.requires_grad_(False)


def check_stock_width(model: SparseClassifier, keep: float) -> None:
    """Checks that a configuration of the family can say how wide the MLPs would be: a stock checkpoint needs that.

    Raises:
        UsageError: it cannot; names the shares that it can.
    """
    step = model.family.width_step(model.model)
    if step == 1:
        return
    num_units = find_mlps(model)[0].num_units(model)
    if _num_kept(keep, num_units) % step:
        ratio = num_units // step
        shares = ", ".join(f"{part / ratio:g}" for part in range(1, ratio + 1))
        raise UsageError(
            f"MLPs of a {model.config.model_type!r} checkpoint are a whole multiple of its {step} hidden "
            f"dimensions wide, and {keep:g} of {num_units} units is none; keep_mlp can be {shares}"
        )


def _num_kept(keep: float, num_units: int) -> int:
    return max(1, round(keep * num_units))
