"""A classifier with some of its layers: a copy that is a stock checkpoint, of fewer blocks."""

import copy
from collections.abc import Sequence

from smi_hf.errors import UsageError
from smi_hf.models.blocks import find_block_list
from smi_hf.models.sparse import SparseClassifier


def with_layers(model: SparseClassifier, layers: Sequence[int]) -> SparseClassifier:
    """A copy of a classifier with some of its layers, whose configuration says how many: a stock checkpoint.

    Args:
        model: left as it is.
        layers: numbers from 0, ascending, none twice.

    Raises:
        UsageError: `layers` is empty, not ascending, or names one that there is not.
    """
    check_layers(model, layers)
    shallow = model.around(copy.deepcopy(model.model).eval())
    blocks = find_block_list(shallow)
    for number in reversed(range(len(blocks))):
        if number not in layers:
            del blocks[number]
    shallow.family.tell_depth(shallow.model, len(layers))
    return shallow


def check_num_layers(model: SparseClassifier, num_layers: int) -> None:
    """Checks that so many layers of a model can stay.

    Raises:
        UsageError: they cannot.
    """
    total = len(find_block_list(model))
    if not 1 <= num_layers <= total:
        raise UsageError(f"num_layers is {num_layers}, but the model has {total} layers; from 1 to that many stay")


def check_layers(model: SparseClassifier, layers: Sequence[int]) -> None:
    """Checks that layers of these numbers can stay.

    Raises:
        UsageError: there are none, they are not ascending, or there is no such layer.
    """
    total = len(find_block_list(model))
    if not layers or sorted(set(layers)) != list(layers) or not 0 <= layers[0] <= layers[-1] < total:
        raise UsageError(
            f"layers is {' '.join(map(str, layers)) or 'empty'}, but names those that stay, ascending, each once, "
            f"from 0 to {total - 1}"
        )
