"""What a step looks at: what is asked for, and nothing else."""

import pytest
import torch

from smi_hf.inversion.helpers import Helpers
from smi_hf.inversion.observer import make_observer, see_logits
from smi_hf.losses.base import NEEDS


@pytest.fixture
def view(teacher, state):
    return teacher.model, state.patches_BKCPQ, state.kept_BK


@pytest.fixture
def helpers():
    """Helpers that say that they were asked."""
    return Helpers(
        batch_statistics=lambda patches, places: ("statistics", patches.shape[1]),
        student_logits=lambda patches, places: ("student", patches.shape[1]),
        memory_MD=torch.ones(2, 24),
    )


def test_where_nothing_is_needed_the_answer_alone_is_looked_at(helpers):
    assert make_observer(frozenset(), helpers) is see_logits


@pytest.mark.parametrize("need", NEEDS)
def test_what_is_needed_is_there_and_what_is_not_is_not(view, helpers, need):
    seen = make_observer([need], helpers)(*view)
    assert set(seen) == {"logits_BL", need}
    # Eager attention rounds in another order.
    torch.testing.assert_close(seen["logits_BL"], see_logits(*view)["logits_BL"], rtol=1e-4, atol=1e-4)


def test_helpers_are_shown_what_the_teacher_is_shown(view, helpers):
    seen = make_observer(NEEDS, helpers)(*view)
    assert set(seen) == {"logits_BL", *NEEDS}
    assert seen["batch_statistics"] == ("statistics", 16)
    assert seen["student_logits_BL"] == ("student", 16)


@pytest.mark.parametrize("need", ["batch_statistics", "student_logits_BL", "memory_MD"])
def test_a_helper_that_was_not_loaded_is_missed(view, need):
    with pytest.raises(AssertionError, match="was not loaded"):
        make_observer([need], Helpers())(*view)
