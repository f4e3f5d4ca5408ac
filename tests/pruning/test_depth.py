import copy

import pytest
import torch
from transformers import AutoModelForImageClassification

from smi_hf.errors import UsageError
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.controls.random import random_patches
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks
from smi_hf.models.depth import with_layers
from smi_hf.pruning import choose_layers


def logits(model: SparseClassifier, images) -> torch.Tensor:
    with torch.no_grad():
        return model(images.pixels_BCHW, images.kept_BK).logits


@pytest.fixture
def images(make_classifier):
    model = make_classifier("vit")
    return random_patches(gaussian_noise(model, 20), model, 9)


def silenced(model: SparseClassifier, layer: int) -> SparseClassifier:
    """The same model with a layer that adds nothing to its input."""
    still = SparseClassifier(copy.deepcopy(model.model), model.grid.image_size)
    for name, weight in find_blocks(still)[layer].named_parameters():
        if "lambda" not in name and "norm" not in name:
            torch.nn.init.zeros_(weight)
    return still


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_layer_that_adds_nothing_goes_first_and_without_any_change(case, make_classifier, images, layer):
    model = silenced(make_classifier(case), layer)
    layers = choose_layers(model, images, 2, disable_tqdm=True)
    assert layers == tuple(each for each in range(3) if each != layer)
    assert torch.allclose(logits(with_layers(model, layers), images), logits(model, images), atol=1e-5)


def test_layers_are_chosen_one_after_another_by_the_divergence_of_answers(make_classifier, images):
    model = make_classifier("vit")
    wanted = logits(model, images).double().softmax(dim=1)
    left = [0, 1, 2]
    for _ in range(2):
        costs = {}
        for layer in left:
            found = (
                logits(with_layers(model, [each for each in left if each != layer]), images).double().softmax(dim=1)
            )
            costs[layer] = torch.nn.functional.kl_div(found.log(), wanted, reduction="batchmean")
        left.remove(min(costs, key=costs.get))
        assert choose_layers(model, images, len(left), disable_tqdm=True) == tuple(left)


def test_all_layers_are_the_model_itself_and_nobody_is_changed(case, make_classifier, images):
    model = make_classifier(case)
    before = copy.deepcopy(model.model.state_dict())
    assert choose_layers(model, images, 3, disable_tqdm=True) == (0, 1, 2)
    choose_layers(model, images, 1, disable_tqdm=True)
    assert torch.equal(logits(with_layers(model, (0, 1, 2)), images), logits(model, images))
    assert with_layers(model, (1,)).config.num_hidden_layers == 1
    after = model.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert model.config.num_hidden_layers == len(find_blocks(model)) == 3


def test_stock_transformers_reads_what_is_saved(case, make_classifier, images, tmp_path):
    shallow = with_layers(make_classifier(case), (0, 2))
    shallow.model.save_pretrained(tmp_path)
    loaded = type(shallow.model).from_pretrained(tmp_path).eval()
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.num_hidden_layers == 2
    with torch.no_grad():
        assert torch.equal(loaded(images.pixels_BCHW).logits, shallow.model(images.pixels_BCHW).logits)


@pytest.mark.parametrize("num_layers", [0, 4])
def test_a_number_of_layers_out_of_range_is_refused(make_classifier, images, num_layers):
    with pytest.raises(UsageError, match=f"num_layers is {num_layers}, but the model has 3 layers"):
        choose_layers(make_classifier("vit"), images, num_layers)
