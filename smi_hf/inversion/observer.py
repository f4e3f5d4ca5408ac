"""What a step looks at: the teacher's answer, and whatever else the loss terms in use ask for.

Legend: `B` images, `K` kept patches, `L` labels, `C` channels, `P Q` patch pixels.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from torch import Tensor

from smi_hf.inversion.helpers import Helpers
from smi_hf.models import VisionClassifier
from smi_hf.models.watching import WATCHED, forward_watched

# From a teacher, augmented patches and their places to fields of `LossInputs`, `logits_BL` among them.
Observer = Callable[[VisionClassifier, Tensor, Tensor], dict[str, Any]]


def see_logits(model: VisionClassifier, patches_BKCPQ: Tensor, places_BK: Tensor) -> dict[str, Any]:
    """The teacher's answer and nothing else."""
    return {"logits_BL": model.forward_patches(patches_BKCPQ, places_BK).logits}


def make_observer(needs: Collection[str], helpers: Helpers) -> Observer:
    """An observer of what is needed (`smi_hf.losses.base.NEEDS`), and of nothing else."""
    return partial(_see, frozenset(needs), helpers) if needs else see_logits


def _see(
    needs: frozenset[str], helpers: Helpers, model: VisionClassifier, patches_BKCPQ: Tensor, places_BK: Tensor
) -> dict[str, Any]:
    inside = needs.intersection(WATCHED)
    if inside:
        logits_BL, seen = forward_watched(model, patches_BKCPQ, places_BK, inside)
    else:
        logits_BL, seen = see_logits(model, patches_BKCPQ, places_BK)["logits_BL"], {}
    if "batch_statistics" in needs:
        assert helpers.batch_statistics is not None, "a term asks for a helper model that was not loaded"
        seen["batch_statistics"] = helpers.batch_statistics(patches_BKCPQ, places_BK)
    if "student_logits_BL" in needs:
        assert helpers.student_logits is not None, "a term asks for a student that was not loaded"
        seen["student_logits_BL"] = helpers.student_logits(patches_BKCPQ, places_BK)
    if "memory_MD" in needs:
        assert helpers.memory_MD is not None, "a term asks for a memory that was not loaded"
        seen["memory_MD"] = helpers.memory_MD
    return {"logits_BL": logits_BL, **seen}
