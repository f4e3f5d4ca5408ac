"""What happens inside a teacher while it answers: attention, what heads read, features after the last block.

Legend: `B` images, `K` kept patches, `T` tokens, `D` hidden size, `L` labels, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from smi_hf.models.blocks import find_blocks
from smi_hf.models.sparse import SparseClassifier

# By the names of `smi_hf.losses.LossInputs`.
WATCHED = ("attentions", "head_outputs", "features_BD")


def forward_watched(
    model: SparseClassifier, patches_BKCPQ: Tensor, kept_BK: Tensor, wanted: Collection[str]
) -> tuple[Tensor, dict[str, Any]]:
    """The logits (B, L) of kept patches, and what is wanted of `WATCHED` under its name, with gradients.

    Attention is only there under eager attention, which is switched on for this call alone, and no hook outlives it.
    """
    blocks, tokens_BTD = find_blocks(model), model.embed(patches_BKCPQ, kept_BK)
    seen: dict[str, Any] = {}
    with ExitStack() as stack:
        if "head_outputs" in wanted:
            read: list[Tensor] = []
            for block in blocks:
                mixer = model.family.head_mixer(block)
                stack.callback(mixer.register_forward_pre_hook(_note_heads(read, model)).remove)
        if "features_BD" in wanted:
            last: list[Tensor] = []
            stack.callback(blocks[-1].register_forward_hook(_note_features(last, model)).remove)
        if "attentions" in wanted:
            output, seen["attentions"] = model.attentions(tokens_BTD, kept_BK)
        else:
            output = model.forward_tokens(tokens_BTD, kept_BK)
    if "head_outputs" in wanted:
        seen["head_outputs"] = tuple(read)
    if "features_BD" in wanted:
        (seen["features_BD"],) = last
    return model.answered(output).logits, seen


def _note_heads(notes: list[Tensor], model: SparseClassifier) -> Any:
    num_heads = model.shape.num_heads

    def note(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        notes.append(arguments[0].unflatten(2, (num_heads, -1)))

    return note


def _note_features(notes: list[Tensor], model: SparseClassifier) -> Any:
    """The CLS token where the answer is read from it, else the mean of the patches."""
    reads_cls, num_prefix = model.reads_from == "cls", model.num_prefix_tokens

    def note(module: nn.Module, arguments: tuple[Any, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        # transformers 4 gives a tuple of some families.
        tokens_BTD = output[0] if isinstance(output, tuple) else output
        notes.append(tokens_BTD[:, 0] if reads_cls else tokens_BTD[:, num_prefix:].mean(dim=1))

    return note
