import copy

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageClassification

from smi_hf.environment import dependency_lane
from smi_hf.errors import UsageError
from smi_hf.images.controls.gaussian import gaussian_noise
from smi_hf.images.controls.random import random_patches
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier
from smi_hf.models.depth import with_layers
from smi_hf.pruning import prune_mlps
from smi_hf.pruning.mlps import find_mlps


@pytest.fixture
def images(make_classifier) -> KeptImages:
    """20 images of noise, 9 of 16 patches each: more than a batch, and fewer patches than a grid."""
    model = make_classifier("vit")
    return random_patches(gaussian_noise(model, 20), model, 9)


def logits(model: SparseClassifier, images: KeptImages) -> torch.Tensor:
    with torch.no_grad():
        return model(images.pixels_BCHW, images.kept_BK).logits


def mlp_layers(model: SparseClassifier) -> list[tuple[torch.nn.Linear, torch.nn.Linear]]:
    return [tuple(model.model.get_submodule(name) for name in (mlp.first, mlp.second)) for mlp in find_mlps(model)]


def inputs_of(layer: torch.nn.Linear, model: SparseClassifier, images: KeptImages) -> torch.Tensor:
    """What enters a layer, a row for each token of all images."""
    seen = []
    handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].flatten(0, -2)))
    logits(model, images)
    handle.remove()
    return torch.cat(seen)


def chosen_slowly(hidden: np.ndarray, weight: np.ndarray, num_kept: int, ridge: float) -> list[int]:
    """One unit after another goes, that without which a least-squares solver leaves the smallest error."""
    centered = hidden - hidden.mean(axis=0)
    rows = np.vstack([centered, np.sqrt(len(hidden) * ridge * centered.var(axis=0).mean()) * np.eye(hidden.shape[1])])
    wanted = rows @ weight.T

    def error(kept: list[int]) -> float:
        return float(np.square(rows[:, kept] @ np.linalg.lstsq(rows[:, kept], wanted, rcond=None)[0] - wanted).sum())

    kept = list(range(hidden.shape[1]))
    while len(kept) > num_kept:
        kept.remove(min(kept, key=lambda unit: error([each for each in kept if each != unit])))
    return kept


def block_output(model: SparseClassifier, number: int, images: KeptImages) -> torch.Tensor:
    """What a block of a whole forward pass gives, a row for each token of all images."""
    seen = []

    def note(module, inputs, output):
        seen.append((output[0] if isinstance(output, tuple) else output).flatten(0, 1))

    handle = find_mlps(model)[number].block.register_forward_hook(note)
    logits(model, images)
    handle.remove()
    return torch.cat(seen)


def giving(layer: torch.nn.Linear, value: float):
    """A handle: while it is there, the layer gives this value alone."""
    return layer.register_forward_hook(lambda module, inputs, output: torch.full_like(output, value))


def ridge_regression(inputs: np.ndarray, outputs: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias by a least-squares solver."""
    strength = np.sqrt(len(inputs) * ridge * inputs.var(axis=0).mean())
    system = np.hstack([inputs, np.ones((len(inputs), 1))])
    system = np.vstack([system, strength * np.eye(inputs.shape[1], inputs.shape[1] + 1)])
    wanted = np.vstack([outputs, np.zeros((inputs.shape[1], outputs.shape[1]))])
    solution = np.linalg.lstsq(system, wanted, rcond=None)[0]
    return solution[:-1].T, solution[-1]


def corrected_slowly(inputs: np.ndarray, lacking: np.ndarray, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """The regression of what lacks that serves the other half of the images best, even ones and odd ones."""
    is_odd = np.repeat(np.arange(num_images) % 2, len(inputs) // num_images).astype(bool)

    def error(ridge: float | None) -> float:
        total = 0.0
        for half in (is_odd, ~is_odd):
            weights, _ = ridge_regression(inputs[half], lacking[half], ridge or 1.0)
            rest = lacking[~half] - (inputs[~half] @ weights.T if ridge else 0)
            total += np.square(rest - rest.mean(axis=0)).mean(axis=0).sum()
        return total

    best = min((None, 1e-3, 1e-2, 0.1, 1.0, 10.0), key=error)
    if best is None:
        return np.zeros((lacking.shape[1], inputs.shape[1])), lacking.mean(axis=0)
    return ridge_regression(inputs, lacking, best)


def halved_slowly(model: SparseClassifier, images: KeptImages, ridge: float) -> SparseClassifier:
    """Unit by unit and by whole forward passes, with float64 and a least-squares solver; units are zeroed."""
    pruned = SparseClassifier(copy.deepcopy(model.model), model.grid.image_size)
    for number, (_, second) in enumerate(mlp_layers(pruned)):
        hidden = inputs_of(second, pruned, images).double().numpy()
        weight, bias = (each.detach().double().numpy() for each in (second.weight, second.bias))
        without, with_ones = (_with(second, value, pruned, number, images) for value in (0.0, 1.0))
        scale = (with_ones - without).mean(dim=0)
        wanted = ((block_output(model, number, images) - without) / scale).double().numpy()
        added, shift = corrected_slowly(hidden, wanted - hidden @ weight.T - bias, len(images))
        weight, bias = weight + added, bias + shift
        kept = chosen_slowly(hidden, weight * scale.double().numpy()[:, None], hidden.shape[1] // 2, ridge)
        weight, bias = ridge_regression(hidden[:, kept], hidden @ weight.T + bias, ridge)
        with torch.no_grad():
            second.weight.zero_()
            second.weight[:, kept] = torch.from_numpy(weight).float()
            second.bias.copy_(torch.from_numpy(bias).float())
    return pruned


def _with(second, value, model, number, images) -> torch.Tensor:
    handle = giving(second, value)
    output = block_output(model, number, images)
    handle.remove()
    return output


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
def test_halving_is_what_a_slow_reference_makes_of_every_family(case, make_classifier, images, ridge):
    model = make_classifier(case)
    fast, slow = prune_mlps(model, images, ridge=ridge, disable_tqdm=True), halved_slowly(model, images, ridge)
    others = gaussian_noise(model, 3, seed=1)
    # Layers are in float32 in both.
    assert torch.allclose(logits(fast, others), logits(slow, others), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(logits(fast, others), logits(model, others), atol=1e-2)


def test_what_went_before_a_layer_is_made_up_for_in_it(case, make_classifier, images):
    model, layers = make_classifier(case), [0, 2]
    left = with_layers(model, layers)
    refitted = prune_mlps(model, images, keep=1.0, layers=layers, disable_tqdm=True)
    assert refitted.config.num_hidden_layers == 2
    wanted = logits(model, images)
    errors = [float((logits(each, images) - wanted).square().mean()) for each in (refitted, left)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("case", ["vit", "dinov2"])
def test_fitted_by_gradient_it_is_nearer_and_the_seed_decides(case, make_classifier):
    # What a block gives is nearer; behind further ones that need not show.
    model = make_classifier(case, num_hidden_layers=1)
    # Enough tokens that what is learned holds for others.
    images, others = gaussian_noise(model, 300), gaussian_noise(model, 10, seed=1)
    closed = prune_mlps(model, images, disable_tqdm=True)
    fitted, again, other = (
        prune_mlps(model, images, num_epochs=15, seed=seed, disable_tqdm=True) for seed in (0, 0, 1)
    )
    wanted = logits(model, others)
    errors = [float((logits(each, others) - wanted).square().mean()) for each in (fitted, closed)]
    assert errors[0] < errors[1]
    assert torch.equal(logits(fitted, images), logits(again, images))
    assert not torch.equal(logits(fitted, images), logits(other, images))


def test_images_may_keep_different_numbers_of_patches(make_classifier, images):
    model = make_classifier("vit")
    dense = gaussian_noise(model, 5, seed=3)
    both = prune_mlps(model, [images, dense], disable_tqdm=True)
    assert not torch.equal(logits(both, images), logits(prune_mlps(model, images, disable_tqdm=True), images))
    with pytest.raises(UsageError, match="num_epochs is -1, but must be 0 or more"):
        prune_mlps(model, images, num_epochs=-1)


def test_half_of_the_hidden_units_are_really_gone(case, make_classifier, images):
    model = make_classifier(case)
    before = [first.out_features for first, _ in mlp_layers(model)]
    layers = mlp_layers(prune_mlps(model, images, disable_tqdm=True))
    assert [first.out_features for first, _ in layers] == [count // 2 for count in before]
    assert all(second.in_features == first.out_features for first, second in layers)
    assert [first.out_features for first, _ in mlp_layers(model)] == before, "the model itself is left as it is"


def test_the_model_that_is_pruned_is_left_as_it_is(make_classifier, images):
    model = make_classifier("vit")
    weights = copy.deepcopy(model.model.state_dict())
    prune_mlps(model, images, disable_tqdm=True)
    after = model.model.state_dict()
    assert weights.keys() == after.keys()
    assert all(torch.equal(weights[name], after[name]) for name in weights)
    assert model.config.intermediate_size == 40


def test_units_that_never_change_can_go_for_nothing_however_much_they_add(case, make_classifier, images):
    model = make_classifier(case)
    with torch.no_grad():
        for first, second in mlp_layers(model):
            still = slice(0, first.out_features, 2)
            first.weight[still], first.bias[still] = 0.0, 2.0
            second.weight[:, still] *= 3
    others = gaussian_noise(model, 3, seed=1)
    pruned = prune_mlps(model, images, ridge=1e-9, disable_tqdm=True)
    assert torch.allclose(logits(pruned, others), logits(model, others), rtol=1e-3, atol=1e-3)


def test_all_units_kept_is_the_model_itself(case, make_classifier, images):
    model = make_classifier(case)
    pruned = prune_mlps(model, images, keep=1.0, ridge=0.0, disable_tqdm=True)
    assert torch.allclose(logits(pruned, images), logits(model, images), rtol=1e-3, atol=1e-3)


def test_it_is_nearer_to_the_model_than_without_refitting_and_on_its_own_images_nearest(make_classifier, images):
    model = make_classifier("vit")
    refitted, shrunk = (prune_mlps(model, images, ridge=ridge, disable_tqdm=True) for ridge in (1e-3, 1e6))
    errors = [float((logits(each, images) - logits(model, images)).square().mean()) for each in (refitted, shrunk)]
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(("keep", "num_units"), [(0.25, 10), (0.01, 1), (0.99, 40), (1.0, 40)])
def test_the_share_that_stays_is_rounded_and_at_least_one_unit(keep, num_units, make_classifier, images):
    pruned = prune_mlps(make_classifier("vit"), images, keep=keep, disable_tqdm=True)
    assert {first.out_features for first, _ in mlp_layers(pruned)} == {num_units}


def test_stock_transformers_reads_what_is_saved(case, make_classifier, images, tmp_path):
    model = make_classifier(case)
    if case == "deit" and dependency_lane() == "latest":
        model.model.config.architectures = ["DeiTForImageClassification"]
    pruned = prune_mlps(model, images, disable_tqdm=True)
    pruned.model.save_pretrained(tmp_path)
    loaded = type(pruned.model).from_pretrained(tmp_path).eval()
    assert isinstance(AutoModelForImageClassification.from_pretrained(tmp_path).config, type(pruned.config))
    with torch.no_grad():
        assert torch.equal(loaded(images.pixels_BCHW).logits, pruned.model(images.pixels_BCHW).logits)


def test_what_is_not_kept_is_not_looked_at(make_classifier, images):
    model = make_classifier("vit")
    black = model.grid.paste(model.grid.cut(images.pixels_BCHW, images.kept_BK), images.kept_BK, fill=0)
    filled = KeptImages(black, images.kept_BK, "black")
    first, second = (prune_mlps(model, each, disable_tqdm=True).model.state_dict() for each in (images, filled))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(keep, make_classifier, images):
    with pytest.raises(UsageError, match=r"keep is .* above 0 and at most 1"):
        prune_mlps(make_classifier("vit"), images, keep=keep)


@pytest.mark.parametrize("ridge", [-1e-3, float("inf"), float("nan")])
def test_a_ridge_out_of_range_is_refused(ridge, make_classifier, images):
    with pytest.raises(UsageError, match=r"ridge is .* 0 or more, and finite"):
        prune_mlps(make_classifier("vit"), images, ridge=ridge)
