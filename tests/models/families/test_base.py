"""What families say of the sizes of their models."""

import pytest
from family_cases import CASES

from smi_hf.models.lookup import find_family


@pytest.mark.parametrize("name", CASES)
def test_what_a_family_says_of_sizes_is_so(name):
    model = CASES[name].make()
    family = find_family(model)
    shape, projection = family.shape(model), family.find_projection(model)
    assert (shape.hidden_size, shape.num_layers, shape.num_heads, shape.mlp_size) == (24, 2, 3, 48) or "dinov2" in name
    assert projection.out_channels == shape.hidden_size
    assert projection.kernel_size == projection.stride == family.native_grid(model).patch_size
