"""Modules are as they were afterwards, also after an error."""

import pytest
import torch
from torch import nn

from smi_hf.models.for_a_while import evaluating, method_replaced


def test_a_method_is_replaced_for_one_module_alone():
    replaced, other = nn.Identity(), nn.Identity()
    ones = torch.ones(2)

    def fail():
        with method_replaced(replaced, "forward", lambda values: 2 * values):
            assert torch.equal(replaced(ones), 2 * ones) and torch.equal(other(ones), ones)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(replaced(ones), ones) and "forward" not in vars(replaced)


def test_each_module_goes_back_to_its_own_mode():
    whole = nn.Sequential(nn.Dropout(), nn.Dropout())
    whole[1].eval()

    def fail():
        with evaluating(whole):
            assert not any(module.training for module in whole.modules())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [module.training for module in whole.modules()] == [True, True, False]
