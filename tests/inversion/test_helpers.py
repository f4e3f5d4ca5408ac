"""What loss terms borrow: loaded safely, shown the right pixels, and named in the record."""

import shutil
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from smi_hf import SparseInversionConfig, UsageError, invert, load_sparse_dataset
from smi_hf.inversion.helpers import ask_student, load_helpers, watch_batch_norms
from smi_hf.losses import LOSSES, LossInputs
from smi_hf.models import load_classifier
from smi_hf.models.watching import forward_watched

OPTION_OF = {"batch_norm": "batch_norm_model", "disagreement": "student_model", "contrast": "memory_dataset"}


@pytest.fixture
def view(teacher):
    """Two images of the teacher: patches in its units, and places."""
    kept_BK = torch.tensor([[0, 3, 5, 6], [15, 2, 1, 8]])
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return teacher.model.grid.cut(pixels, kept_BK).requires_grad_(), kept_BK


@pytest.fixture
def images(teacher, view):
    """What a helper is to see, patch by patch: pixels in [0, 1], normalized as it does, its mean color elsewhere."""

    def make(mean, std):
        patches, kept = view
        given_mean, given_std, mean, std = (
            torch.tensor(values)[:, None, None]
            for values in (teacher.normalization.mean, teacher.normalization.std, mean, std)
        )
        whole = torch.zeros(2, 3, 32, 32)
        for image in range(2):
            for slot, place in enumerate(kept[image].tolist()):
                y, x = 8 * (place // 4), 8 * (place % 4)
                in_unit_range = patches[image, slot].detach() * given_std + given_mean
                whole[image, :, y : y + 8, x : x + 8] = (in_unit_range - mean) / std
        return whole

    return make


@contextmanager
def arguments_of(layers):
    """Notes each layer and what it is called with, in the order of the calls."""
    seen = []
    handles = [
        layer.register_forward_pre_hook(lambda module, given: seen.append((module, given[0]))) for layer in layers
    ]
    yield seen
    for handle in handles:
        handle.remove()


def test_batch_norm_statistics_are_those_of_each_image_with_pruned_patches_in_the_mean_color(
    teacher, view, images, resnet_checkpoint
):
    classifier = load_classifier(str(resnet_checkpoint))
    found = watch_batch_norms(classifier, teacher, "cpu")(*view)
    shown = images([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])
    layers = [module for module in classifier.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(found) == len(layers) > 3
    for image in range(2):
        with arguments_of(layers) as seen, torch.no_grad():
            classifier.model(shown[image : image + 1])
        for statistics, (layer, (channels_CHW,)) in zip(found, seen, strict=True):
            assert (
                statistics.trained_mean_C is layer.running_mean and statistics.trained_variance_C is layer.running_var
            )
            for channel, pixels in enumerate(channels_CHW.double()):
                assert statistics.mean_BC[image, channel].item() == pytest.approx(float(pixels.mean()), abs=1e-5)
                assert statistics.variance_BC[image, channel].item() == pytest.approx(
                    float(pixels.square().mean() - pixels.mean().square()), rel=1e-4, abs=1e-5
                )
    (gradient,) = torch.autograd.grad(sum(each.mean_BC.sum() for each in found), view[0])
    assert (gradient != 0).any()
    assert not any(parameter.requires_grad for parameter in classifier.model.parameters())


def test_a_model_without_batch_normalization_is_refused(teacher, tiny_checkpoint):
    with pytest.raises(
        UsageError, match=r"'tiny-vit' is a 'vit' model without batch normalization .* such as a ResNet"
    ):
        watch_batch_norms(load_classifier(str(tiny_checkpoint)), teacher, "cpu")


def test_a_student_of_the_same_grid_sees_the_kept_patches_alone(teacher, view, tiny_checkpoint):
    answer = ask_student(load_classifier(str(tiny_checkpoint)), teacher, "cpu")
    assert torch.equal(answer(*view), teacher.model.forward_patches(*view).logits)


def test_a_student_that_cannot_sees_whole_images(teacher, view, images, resnet_checkpoint):
    classifier = load_classifier(str(resnet_checkpoint))
    found = ask_student(classifier, teacher, "cpu")(*view)
    expected = classifier.model(images([0.4, 0.5, 0.6], [0.2, 0.25, 0.3])).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def other_vit(tmp_path):
    """Saves a ViT of another grid; returns its folder."""

    def save(**settings):
        torch.manual_seed(3)
        sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 24}
        config = ViTConfig(**({"image_size": 32, "patch_size": 8, "num_labels": 5} | sizes | settings))
        ViTForImageClassification(config).save_pretrained(tmp_path / "other")
        side = {"height": config.image_size, "width": config.image_size}
        ViTImageProcessor(size=side).save_pretrained(tmp_path / "other")
        return str(tmp_path / "other")

    return save


@pytest.mark.parametrize("settings", [{"patch_size": 16}, {"image_size": 64}])
def test_a_student_of_another_grid_sees_whole_images_of_its_size(teacher, view, other_vit, settings):
    classifier = load_classifier(other_vit(**settings))
    logits = ask_student(classifier, teacher, "cpu")(*view)
    assert logits.shape == (2, 5)
    (gradient,) = torch.autograd.grad(logits.sum(), view[0])
    assert (gradient != 0).any()


def test_a_student_of_other_labels_is_refused(teacher, other_vit):
    classifier = load_classifier(other_vit(num_labels=7))
    with pytest.raises(
        UsageError, match="student_model 'other' has 7 labels, but the teacher has 5; give a classifier"
    ):
        ask_student(classifier, teacher, "cpu")


def helping(teacher, term, **options):
    return load_helpers(SparseInversionConfig(loss_weights=[f"{term}=1"], **options), teacher)


def test_nothing_is_loaded_where_no_term_asks(teacher):
    helpers = load_helpers(SparseInversionConfig(), teacher)
    assert helpers.batch_statistics is helpers.student_logits is helpers.memory_MD is None
    assert helpers.settings == {}


@pytest.mark.parametrize("term", ["batch_norm", "disagreement"])
def test_a_record_gets_name_and_digest_of_a_model_never_its_path(teacher, resnet_checkpoint, term):
    helpers = helping(teacher, term, **{OPTION_OF[term]: str(resnet_checkpoint)})
    (setting,) = helpers.settings.values()
    assert setting == {
        "name": "tiny-resnet",
        "revision": None,
        "sha256": load_classifier(str(resnet_checkpoint)).reference().weights_sha256,
        "license": None,
    }


def test_a_pickle_is_not_loaded_unasked(teacher, resnet_checkpoint, tmp_path):
    folder = shutil.copytree(resnet_checkpoint, tmp_path / "pickled")
    model = load_classifier(str(folder)).model
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(
        UsageError, match=r"batch_norm_model: .* as a pickle only, .*, or pass --helper_allow_pickle if"
    ):
        helping(teacher, "batch_norm", batch_norm_model=str(folder))
    helpers = helping(teacher, "batch_norm", batch_norm_model=str(folder), helper_allow_pickle=True)
    assert helpers.batch_statistics is not None


@pytest.mark.parametrize(("term", "option"), OPTION_OF.items())
def test_a_helper_that_is_not_there_is_said_to_be_so_by_the_name_of_the_option(teacher, tmp_path, term, option):
    with pytest.raises(UsageError, match=f"^{option}: "):
        helping(teacher, term, **{option: str(tmp_path / "nothing")})


def test_a_memory_is_the_teachers_features_of_the_first_images(teacher, sparse_folder, kept_images):
    helpers = helping(teacher, "contrast", memory_dataset=str(sparse_folder), memory_images=4)
    assert helpers.memory_MD.shape == (4, 24) and not helpers.memory_MD.requires_grad
    patches = teacher.model.grid.cut(kept_images.pixels_BCHW[:4], kept_images.kept_BK[:4])
    _, seen = forward_watched(teacher.model, patches, kept_images.kept_BK[:4], ["features_BD"])
    # Four together round otherwise than one by one.
    torch.testing.assert_close(helpers.memory_MD, seen["features_BD"], rtol=1e-4, atol=1e-5)
    assert helpers.settings["memory_images"] == 4
    assert helpers.settings["memory_dataset"]["name"] == "set"
    assert len(helpers.settings["memory_dataset"]["sha256"]) == 64


def test_a_memory_of_fewer_images_than_asked_for_is_all_of_them(teacher, sparse_folder):
    helpers = helping(teacher, "contrast", memory_dataset=str(sparse_folder))
    assert len(helpers.memory_MD) == helpers.settings["memory_images"] == 6


def test_images_of_a_memory_are_contrasted_with_and_others_less(teacher, sparse_folder):
    """End to end: an image that the memory holds has more of the loss than noise has."""
    helpers = helping(teacher, "contrast", memory_dataset=str(sparse_folder))
    batch = load_sparse_dataset(sparse_folder, teacher=teacher).batch([0])
    kept = batch["kept_patches"]
    noise = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    losses = []
    for pixels in (batch["pixel_values"], noise):
        patches = teacher.model.grid.cut(pixels, kept)
        logits, seen = forward_watched(teacher.model, patches, kept, ["features_BD"])
        inputs = LossInputs(
            logits, torch.tensor([0]), patches, kept, teacher.model.grid, memory_MD=helpers.memory_MD, **seen
        )
        losses.append(float(LOSSES.get("contrast")(inputs)))
    assert losses[0] > losses[1]


@pytest.mark.parametrize("term", OPTION_OF)
def test_a_run_is_continued_with_the_same_helper_wherever_it_lies_and_refused_with_another(
    teacher, config, resnet_checkpoint, sparse_folder, tmp_path, term
):
    option = OPTION_OF[term]
    first = shutil.copytree(sparse_folder if term == "contrast" else resnet_checkpoint, tmp_path / "first")
    settings = {"loss_weights": [f"{term}=1"], "num_steps": 2, "prune_steps": [1]}
    invert(teacher, config(**settings, **{option: str(first)}))
    moved = shutil.move(first, tmp_path / "moved")
    dataset = invert(teacher, config(**settings, **{option: str(moved)}, num_images=6))
    assert len(dataset) == 6
    if term == "contrast":
        other = tmp_path / "other"
        invert(teacher, config(output_dir=str(other), num_steps=2, prune_steps=[1]))
    else:
        classifier = load_classifier(str(resnet_checkpoint))
        with torch.no_grad():
            next(classifier.model.parameters()).add_(1)
        other = shutil.copytree(resnet_checkpoint, tmp_path / "other")
        classifier.model.save_pretrained(other)
    with pytest.raises(UsageError, match=f"{option} was 'sha256 [0-9a-f]{{64}}' and is now 'sha256 [0-9a-f]{{64}}'"):
        invert(teacher, config(**settings, **{option: str(other)}, num_images=6))
    with pytest.raises(UsageError, match=f"{option} was 'sha256 [0-9a-f]{{64}}' and is now None"):
        invert(teacher, config(num_steps=2, prune_steps=[1]))
