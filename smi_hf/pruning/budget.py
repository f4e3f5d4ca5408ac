"""Budgets: what a pruned model may cost, and the widest MLPs that this leaves room for.

All MLPs get one width: a stock checkpoint holds one.
"""

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_CEILING, Context

import numpy as np
from torch import nn

from smi_hf.errors import UsageError
from smi_hf.evaluation.cost import size_figures
from smi_hf.evaluation.latency import latencies_ms
from smi_hf.evaluation.predictors import pytorch_predictor
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks
from smi_hf.models.depth import with_layers
from smi_hf.pruning.config import KEEP, PruningConfig
from smi_hf.pruning.mlps import Mlp, find_mlps, find_mlps_beside

logger = logging.getLogger(__name__)

# A processor computes 8 or 16 numbers at a time.
_STEP = 8
_REPEATS = 15
# Option -> what it limits; those that are counted also by their key in `size_figures`.
_UNITS = {"max_parameters": "million parameters", "max_gmacs": "GMACs", "max_ms": "ms for one image"}
_COUNTED = {"max_parameters": "parameters", "max_gmacs": "macs"}
_CEILING = Context(prec=4, rounding=ROUND_CEILING)


def within_budget(model: SparseClassifier, config: PruningConfig) -> PruningConfig:
    """The same configuration with the share of hidden units that stays, in place of a budget.

    Args:
        model: before its layers go. Only how many stay is looked at: they all cost the same.
        config: with a budget, with `keep_mlp`, or with neither, which is `KEEP`.

    Raises:
        UsageError: no width meets the budget, the whole model does, or the model has no plain MLPs.
    """
    budget = config.budget()
    if not budget:
        return config if config.keep_mlp is not None else replace(config, keep_mlp=KEEP)
    total = len(find_blocks(model))
    num_layers = config.num_layers or len(config.layers) or total
    width, costs = choose_width(with_layers(model, range(num_layers)), budget)
    whole = find_mlps(model)[0].num_units(model)
    if width == whole and num_layers == total:
        raise UsageError(
            f"{_limits(budget)}, which the whole model meets with {_amounts(costs, budget)}, so nothing would be "
            f"pruned; give less"
        )
    logger.info(
        "%s: %d of %d hidden units of each MLP stay (%.1f %%), which with %d layers comes to %s",
        _limits(budget),
        width,
        whole,
        100 * width / whole,
        num_layers,
        _amounts(costs, costs),
    )
    return replace(config, keep_mlp=width / whole, **dict.fromkeys(budget))


def choose_width(model: SparseClassifier, budget: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """The most hidden units that every MLP of a model can have under a budget, and what the model then costs.

    Parameters and MACs are linear in the width: two widths tell all others. Milliseconds are measured at the least,
    the middle and the whole width. Lines between these name a width, which is measured in turn with the least and the
    whole; if it is too slow, the lines between those name a smaller one.

    Args:
        model: as wide as it can be; left as it is.
        budget: of one option of `PruningConfig` at least: its name and the most that a model may cost.

    Returns:
        The width, a multiple of 8 or of what the family can hold, or the whole width; and its costs by option.
        Milliseconds are among them if the budget limits them.

    Raises:
        UsageError: the least width costs more, or the model has no plain MLPs.
    """
    mlps = find_mlps(model)
    widths = _widths(model, mlps)
    least, tried, whole = widths[0], widths[len(widths) // 2], widths[-1]
    ends = {width: size_figures(_narrowed(model, mlps, width)) for width in (least, whole)}
    known = {option: {width: ends[width][key] for width in ends} for option, key in _COUNTED.items()}
    while True:
        if "max_ms" in budget:
            # By turns, and none from before: a machine that is slower now is so for all of them.
            known["max_ms"] = _milliseconds(model, mlps, [least, tried, whole])
        _check_least({option: known[option][least] for option in budget}, budget, model.shape.num_layers)
        costs = {option: _along(points, widths) for option, points in known.items()}
        width = max(each for each in widths if all(costs[option][each] <= budget[option] for option in budget))
        if "max_ms" not in budget or width in known["max_ms"]:
            return width, {option: costs[option][width] for option in costs}
        tried, widths = width, [each for each in widths if each <= width]


def _widths(model: SparseClassifier, mlps: Sequence[Mlp]) -> list[int]:
    """Numbers of hidden units that MLPs could have, ascending; as they are, they are the last."""
    whole = mlps[0].num_units(model)
    step = model.family.width_step(model.model)
    step = _STEP if step == 1 else step
    return [*range(step, whole, step), whole]


def _narrowed(model: SparseClassifier, mlps: Sequence[Mlp], num_units: int) -> SparseClassifier:
    """A copy whose MLPs have their first hidden units alone: what it costs, not what it knows. The rest is shared."""
    shared = {id(weight): weight for weight in model.model.parameters()}
    narrow = model.around(copy.deepcopy(model.model, shared))
    for mlp in (*mlps, *find_mlps_beside(narrow)):
        first, second = (narrow.model.get_submodule(name) for name in (mlp.first, mlp.second))
        first.out_features = second.in_features = num_units
        first.weight = nn.Parameter(first.weight[:num_units].detach().clone())
        if first.bias is not None:
            first.bias = nn.Parameter(first.bias[:num_units].detach().clone())
        second.weight = nn.Parameter(second.weight[:, :num_units].detach().contiguous())
    narrow.family.tell_width(narrow.model, num_units)
    return narrow


def _milliseconds(model: SparseClassifier, mlps: Sequence[Mlp], widths: Sequence[int]) -> dict[int, float]:
    """Measured for one image, by width."""
    # Images are noise of the model's own size, so no image processor is needed.
    models = {str(width): pytorch_predictor(_narrowed(model, mlps, width), None) for width in widths}
    shape = (model.num_channels, *model.grid.image_size)
    found = latencies_ms(models, shape, batch_size=1, repeats=_REPEATS)
    return {width: found[str(width)] for width in widths}


def _along(points: Mapping[int, float], widths: Sequence[int]) -> dict[int, float]:
    """Costs by width, on straight lines between those that are known."""
    known = sorted(points)
    found = np.interp(widths, known, [points[width] for width in known])
    # Single parameters and MACs, in millions and 10^9, are exact so, and equal to what `size_figures` gives.
    return dict(zip(widths, found.round(9).tolist(), strict=True))


def _check_least(costs: Mapping[str, float], budget: Mapping[str, float], num_layers: int) -> None:
    unmet = {option: limit for option, limit in budget.items() if costs[option] > limit}
    if unmet:
        fewer = ", or leave fewer layers (--num_layers), which makes it smaller" if num_layers > 1 else ""
        layers = f"{num_layers} layers" if num_layers > 1 else "one layer"
        raise UsageError(
            f"{_limits(unmet)}, but the smallest model with {layers} costs {_amounts(costs, unmet)}; give at least "
            f"that{fewer}"
        )


def _limits(budget: Mapping[str, float]) -> str:
    return " and ".join(f"{option} is {limit:g}" for option, limit in budget.items())


def _amounts(costs: Mapping[str, float], options: Mapping[str, float]) -> str:
    # Rounded up, so that a budget of what is said is met.
    return ", ".join(f"{float(_CEILING.create_decimal(repr(costs[option]))):g} {_UNITS[option]}" for option in options)
