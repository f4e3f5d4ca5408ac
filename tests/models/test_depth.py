"""A copy of a classifier with some of its layers; tests/pruning/test_depth.py has it of every family."""

import pytest
import torch

from smi_hf import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks
from smi_hf.models.depth import check_num_layers, with_layers


@pytest.fixture
def model(make_vit):
    return SparseClassifier(make_vit(num_hidden_layers=3))


def test_the_layers_that_were_named_are_there_in_their_order_and_the_model_is_as_it_was(model):
    shallow = with_layers(model, (0, 2))
    assert shallow.config.num_hidden_layers == 2
    for copied, number in zip(find_blocks(shallow), (0, 2)):
        theirs = find_blocks(model)[number].state_dict()
        assert all(torch.equal(value, theirs[name]) for name, value in copied.state_dict().items())
    assert len(find_blocks(model)) == model.config.num_hidden_layers == 3


@pytest.mark.parametrize("layers", [(), (1, 0), (0, 0), (-1, 0), (0, 3)])
def test_layers_that_are_none_are_refused(model, layers):
    with pytest.raises(
        UsageError, match=r"layers is .*, but names those that stay, ascending, each once, from 0 to 2"
    ):
        with_layers(model, layers)


@pytest.mark.parametrize("num_layers", [0, 4])
def test_so_many_layers_as_there_are_not_are_refused(model, num_layers):
    check_num_layers(model, 3)
    with pytest.raises(UsageError, match=f"num_layers is {num_layers}, but the model has 3 layers; from 1 to that"):
        check_num_layers(model, num_layers)
