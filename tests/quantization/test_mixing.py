"""Mixed precision that is found: on models with one layer that 16 bits mend, or that floating point alone mends."""

import json

import pytest
import torch
import yaml

from smi_hf import RunError, UsageError
from smi_hf.quantization.config import QuantizationConfig
from smi_hf.quantization.mixing import describe, find_mixture, load_mixture, save_mixture
from smi_hf.quantization.quantizer import Quantizer

HEAD = "classifier"


@pytest.fixture
def pixels(teacher, calibration):
    return [batch.numpy() for batch in calibration.filled_images(teacher.model.grid)]


@pytest.fixture
def find(teacher, calibration, pixels):
    def run(**settings):
        config = QuantizationConfig(**{"backend": "simulated", "mixed": "auto", **settings})
        with Quantizer(teacher, config) as quantizer:
            mixture = find_mixture(quantizer, calibration, pixels, disable_tqdm=True)
            return mixture, quantizer.layers

    return run


@pytest.fixture
def spoiled_weights(teacher):
    """One weight of the head, the same for every label, dwarfs all others: rounding the head's weights ruins it."""
    with torch.no_grad():
        teacher.model.model.classifier.weight[:, 0] = 100.0


@pytest.fixture
def spoiled_activations(teacher):
    """All logits far from zero alike: in a few bits their differences are lost, in 16 they are not."""
    with torch.no_grad():
        teacher.model.model.classifier.bias += 1000.0


def test_a_model_that_loses_nothing_is_left_as_it_is(find):
    mixture, _ = find(activations=12)
    assert (mixture.wide, mixture.float, mixture.before) == ([], [], mixture.after)
    assert "every layer alike" in describe(mixture)


@pytest.mark.usefixtures("spoiled_activations")
def test_16_bits_go_to_the_layer_that_they_mend(find, calibration):
    mixture, _ = find(max_loss=0, operators=["Linear"])
    assert mixture.before.agreement < 1.0
    assert (mixture.wide, mixture.float, mixture.after.agreement) == ([HEAD], [], 1.0)
    assert mixture.num_images == len(calibration)


@pytest.mark.usefixtures("spoiled_weights")
def test_a_layer_that_16_bits_do_not_mend_stays_in_floating_point(find):
    mixture, _ = find(max_loss=0, weights=4, activations=8, operators=["Linear"])
    assert mixture.before.agreement < mixture.after.agreement == 1.0
    assert mixture.float[0] == HEAD


@pytest.mark.usefixtures("spoiled_weights")
def test_a_larger_loss_changes_fewer_layers(find):
    strict, loose = (find(max_loss=loss, weights=3, activations=4)[0] for loss in (0, 50))
    assert loose.after.agreement >= 0.5
    assert len(loose.wide) + len(loose.float) < len(strict.wide) + len(strict.float)


@pytest.mark.usefixtures("spoiled_weights")
def test_the_settings_that_were_found_make_the_model_that_was_measured(find, teacher, calibration, pixels):
    settings = {"backend": "simulated", "weights": 4, "activations": 5, "operators": ["Linear", "GELU"]}
    mixture, layers = find(max_loss=0, **settings)
    chosen = mixture.settings(QuantizationConfig(mixed="auto", max_loss=0, **settings))
    assert chosen.mixed is None
    with Quantizer(teacher, chosen) as quantizer:
        assert set(quantizer.layers) == set(layers) - set(mixture.float)
        assert set(quantizer.wide) == set(mixture.wide)
        from smi_hf.quantization.costs import CostMeter

        again = CostMeter(quantizer, calibration, pixels).cost("all of them", quantizer.layers)
    assert again == mixture.after


@pytest.mark.usefixtures("spoiled_weights")
def test_a_back_end_without_16_bits_has_floating_point_alone(find):
    mixture, _ = find(backend="quanto", weights=4, activations=8, max_loss=0)
    assert mixture.wide == [] and mixture.float
    assert mixture.before.agreement < mixture.after.agreement == 1.0
    assert mixture.after.size_mb > mixture.before.size_mb


@pytest.mark.usefixtures("spoiled_weights")
def test_a_size_is_kept_and_one_that_is_too_small_is_refused(find):
    free, _ = find(backend="quanto", weights=4, activations=8, max_loss=0)
    small, large = free.before.size_mb, free.after.size_mb
    limit = (small + large) / 2
    kept, _ = find(backend="quanto", weights=4, activations=8, max_size_mb=limit)
    assert small <= kept.after.size_mb <= limit
    assert len(kept.float) < len(free.float)
    with pytest.raises(RunError, match=rf"at most 0 % of 6 images within {limit:g} MB: with 0 layers in 16 bits"):
        find(backend="quanto", weights=4, activations=8, max_size_mb=limit, max_loss=0)
    with pytest.raises(
        UsageError, match=r"with every layer quantized the model has 0\.0 MB, but max_size_mb is 0\.001"
    ):
        find(backend="quanto", weights=4, activations=8, max_size_mb=0.001)


def test_the_recipe_is_read_by_the_command(find, tmp_path, parse_command):
    settings = {"backend": "simulated", "weights": 3, "activations": 4, "operators": ["all"]}
    config = QuantizationConfig(mixed="auto", max_loss=0, **settings)
    mixture, _ = find(max_loss=0, **settings)
    assert mixture.wide or mixture.float
    save_mixture(mixture, config, tmp_path)
    assert load_mixture(tmp_path) == mixture
    assert "agreement with float32 100.0 % of 6 images" in (tmp_path / "recipe.yaml").read_text().splitlines()[0]
    assert "output_dir" not in yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    *_, read = parse_command(f"smi-hf quantize --config {tmp_path / 'recipe.yaml'} --model_name_or_path x")
    assert read == mixture.settings(config)
    assert json.loads((tmp_path / "mixed.json").read_text())["num_images"] == 6
