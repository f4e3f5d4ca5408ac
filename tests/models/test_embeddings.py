"""Embeddings as answers of a classifier."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from smi_hf.errors import UsageError
from smi_hf.models.embeddings import HEAD_FILE, EmbeddingHead, Reading, as_head, head_in

GIVEN = Reading("image_embeds", "given")


def make_head(**changes) -> EmbeddingHead:
    options = {"kind": "zero-shot", "scale": 10.0, "bias": -1.0, "prompts": [["a cat"], ["a dog", "one dog"]]}
    return EmbeddingHead(torch.tensor([[3.0, 0.0], [0.0, 0.5]]), ["cat", "dog"], GIVEN, **options | changes)


def test_logits_are_scaled_cosines_whatever_the_lengths():
    logits = make_head()(torch.tensor([[2.0, 0.0], [3.0, 3.0]]))
    half = 10 * 0.5**0.5 - 1
    torch.testing.assert_close(logits, torch.tensor([[9.0, -1.0], [half, half]]))


def test_a_center_is_taken_off_first():
    head = make_head(center_D=torch.tensor([1.0, 1.0]))
    torch.testing.assert_close(head(torch.tensor([[1.0, 3.0]])), torch.tensor([[-1.0, 9.0]]))


def test_arrays_and_tensors_give_the_same_logits():
    embeddings = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    head = make_head()
    assert np.array_equal(head.logits(embeddings.numpy()), head(embeddings).numpy())


def test_half_precision_is_compared_in_float32_and_double_in_double():
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        assert make_head()(torch.ones(1, 2, dtype=dtype)).dtype == expected


@pytest.mark.parametrize(
    ("reading", "expected"),
    [
        (Reading("last_hidden_state", "first"), [[0.0, 1.0]]),
        (Reading("last_hidden_state", "patches", 1), [[3.0, 4.0]]),
        (Reading("last_hidden_state", "patches", 0), [[2.0, 3.0]]),
    ],
)
def test_embeddings_are_read_off_tokens_alike_as_tensors_and_arrays(reading, expected):
    tokens = torch.arange(6.0).reshape(1, 3, 2)
    assert reading(tokens).tolist() == expected and reading(tokens.numpy()).tolist() == expected
    assert GIVEN(tokens) is tokens


def test_a_head_is_read_back_as_it_was_saved(tmp_path):
    head = make_head(center_D=torch.tensor([0.1, 0.2]))
    head.save(tmp_path)
    loaded = EmbeddingHead.load(tmp_path / HEAD_FILE)
    assert loaded.sha256() == head.sha256() and loaded.prompts == head.prompts and loaded.reading == head.reading
    assert torch.equal(loaded(torch.ones(1, 2)), head(torch.ones(1, 2)))
    # Nothing of smi_hf is needed to use it.
    assert load_file(tmp_path / HEAD_FILE).keys() == {"directions", "center"}


def test_a_digest_changes_with_all_that_decides_the_logits():
    head = make_head()
    others = [make_head(scale=9.0), make_head(bias=0.0), make_head(center_D=torch.ones(2)), make_head(prompts=[])]
    others.append(EmbeddingHead(torch.tensor([[3.0, 0.1], [0.0, 0.5]]), ["cat", "dog"], GIVEN, kind="zero-shot"))
    assert len({each.sha256() for each in [head, *others]}) == 6
    assert copy.deepcopy(head).sha256() == head.sha256()


def test_an_embedding_of_another_size_is_refused():
    with pytest.raises(UsageError, match="gives embeddings of 3 numbers, but the embedding head is for 2"):
        make_head()(torch.ones(1, 3))


@pytest.mark.parametrize(
    ("directions", "names", "message"),
    [
        (torch.ones(2, 3), ["one"], "directions of shape (2, 3) and 1 names"),
        (torch.ones(1, 3), ["one"], "at least two"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), ["a", "b"], "zero or not finite"),
        (torch.tensor([[1.0, 0.0], [float("nan"), 0.0]]), ["a", "b"], "zero or not finite"),
    ],
)
def test_what_makes_no_head_is_refused(directions, names, message):
    with pytest.raises(UsageError) as refusal:
        EmbeddingHead(directions, names, GIVEN, kind="random")
    assert message in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"no safetensors", None, {}])
def test_a_file_that_is_no_head_is_one_sentence(tmp_path, content):
    path = tmp_path / HEAD_FILE
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file({"directions": torch.ones(2, 2), "center": torch.zeros(2)}, path)
    with pytest.raises(UsageError, match="is no embedding head of smi_hf"):
        EmbeddingHead.load(path)


def test_a_head_is_ready_or_a_file_or_in_a_folder(tmp_path):
    head = EmbeddingHead(torch.randn(2, 4), ["a", "b"], Reading("pooler_output", "given"), kind="random")
    assert head_in(tmp_path) is None and as_head(head) is head
    path = head.save(tmp_path)
    for named in (path, str(path), tmp_path, str(tmp_path)):
        assert as_head(named).sha256() == head.sha256()
    assert head_in(tmp_path).sha256() == head.sha256()
    with pytest.raises(UsageError, match="is no embedding head"):
        as_head(tmp_path / "elsewhere")
