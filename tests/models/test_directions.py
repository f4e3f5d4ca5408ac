"""Directions in embedding space."""

import pytest
import torch

from smi_hf.errors import UsageError
from smi_hf.models.directions import direction_head
from smi_hf.models.embeddings import Reading

READING = Reading("last_hidden_state", "first")


@pytest.mark.parametrize("kind", ["random", "orthogonal"])
def test_the_same_seed_gives_the_same_directions_and_another_one_others(kind):
    one, same, other = (direction_head(8, READING, 5, kind=kind, seed=seed) for seed in (0, 0, 1))
    assert one.sha256() == same.sha256() != other.sha256()
    assert one.directions_LD.shape == (5, 8) and one.kind == kind and not one.has_labels
    torch.testing.assert_close(one.directions_LD.norm(dim=1), torch.ones(5))


def test_orthogonal_ones_are_orthogonal():
    directions_MD = direction_head(8, READING, 8, kind="orthogonal").directions_LD
    torch.testing.assert_close(directions_MD @ directions_MD.T, torch.eye(8), rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="9 directions cannot be orthogonal in the 8 dimensions"):
        direction_head(8, READING, 9, kind="orthogonal")


def test_those_of_pictures_point_from_their_mean_to_each_and_each_picture_chooses_its_own():
    embeddings_MD = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) + 3
    head = direction_head(4, READING, 6, kind="scenes", embed=lambda count: embeddings_MD[:count])
    torch.testing.assert_close(head.center_D, embeddings_MD.mean(dim=0))
    assert head(embeddings_MD).argmax(dim=1).tolist() == list(range(6))


def test_pictures_of_one_embedding_show_no_directions():
    with pytest.raises(UsageError, match="gives pictures of noise the same embedding"):
        direction_head(4, READING, 3, kind="noise", embed=lambda count: torch.ones(count, 4))


@pytest.mark.parametrize("count", [0, 1, 10_001])
def test_too_few_or_too_many_are_refused(count):
    with pytest.raises(UsageError, match=f"directions must be from 2 to 10000, but {count} was given"):
        direction_head(8, READING, count, kind="random")
