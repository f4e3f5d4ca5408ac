"""`evaluate`: a predictor, a teacher or any classifier on real images."""

import math
from dataclasses import replace

import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Picture
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from smi_hf import UsageError
from smi_hf.evaluation.intervals import wilson_interval
from smi_hf.evaluation.run import evaluate
from smi_hf.images.real import ImageSet, load_image_set
from smi_hf.models import load_classifier, load_teacher


def test_the_figures_are_those_of_the_images(images, make_predictor):
    found = evaluate(make_predictor(-4), images, batch_size=5, disable_tqdm=True)
    assert (found.top1, found.top5, found.num_images, found.backend) == (0.0, 1.0, 12, "by hand")
    assert found.interval == wilson_interval(0.0, 12)
    assert found.latency_ms > 0


def test_with_ten_labels_or_fewer_there_is_no_top5(images, make_predictor):
    few = replace(make_predictor(), label_names=["a"] * 10)
    assert evaluate(few, replace(images, label_names=None), disable_tqdm=True).top5 is None
    more = replace(make_predictor(), label_names=["a"] * 11)
    assert evaluate(more, replace(images, label_names=None), disable_tqdm=True).top5 == 1.0


def test_a_teacher_and_the_same_classifier_are_worth_the_same(tiny_checkpoint, photographs):
    teacher, classifier = load_teacher(str(tiny_checkpoint)), load_classifier(str(tiny_checkpoint))
    images = load_image_set(str(photographs), teacher.label_names)
    of_teacher, of_classifier = (evaluate(model, images, disable_tqdm=True) for model in (teacher, classifier))
    assert of_teacher.top1 == of_classifier.top1
    assert of_teacher.backend == "pytorch"


@pytest.fixture
def resnet(tmp_path, photographs):
    """A checkpoint that cannot be inverted, of a family with normalization by batches."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5,
    )  # fmt: skip
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(tmp_path / "resnet")
    return tmp_path / "resnet"


def test_a_resnet_is_evaluated(resnet, photographs):
    classifier = load_classifier(str(resnet))
    images = load_image_set(str(photographs), classifier.label_names)
    found = evaluate(classifier, images, batch_size=7, disable_tqdm=True)
    pictures, labels = images.batch(range(len(images)))
    with torch.no_grad():
        pixels = classifier.image_processor(pictures, return_tensors="pt")["pixel_values"]
        expected = (classifier.model(pixels).logits.argmax(1).numpy() == labels).mean()
    assert found.top1 == pytest.approx(expected)
    assert found.num_images == 20


@pytest.mark.parametrize("batch_size", [0, -1])
def test_no_batch_is_refused_at_once(tiny_checkpoint, photographs, batch_size):
    teacher = load_teacher(str(tiny_checkpoint))
    images = load_image_set(str(photographs), teacher.label_names)
    with pytest.raises(UsageError, match=f"batch_size is {batch_size}, but must be at least 1"):
        evaluate(teacher, images, batch_size=batch_size, disable_tqdm=True)


def test_an_image_processor_of_another_size_than_the_models_is_one_sentence(tiny_checkpoint, photographs):
    classifier = load_classifier(str(tiny_checkpoint))
    other = replace(classifier, image_processor=ViTImageProcessor(size={"height": 40, "width": 40}))
    images = load_image_set(str(photographs), classifier.label_names)
    with pytest.raises(UsageError, match="the model does not take what its image processor makes, images of 40x40 px"):
        evaluate(other, images, disable_tqdm=True)


@pytest.mark.parametrize("changes", [{"do_resize": False}, {"size": {"shortest_edge": 32}}])
def test_pictures_of_several_sizes_that_stay_so_are_one_sentence(tiny_checkpoint, changes):
    classifier = load_classifier(str(tiny_checkpoint))
    pictures = [Picture.new("RGB", size) for size in ((32, 48), (40, 33))]
    features = Features({"image": Image(), "label": ClassLabel(num_classes=5)})
    images = ImageSet(Dataset.from_dict({"image": pictures, "label": [0, 1]}, features=features), "image", "label")
    other = replace(classifier, image_processor=ViTImageProcessor(**changes))
    with pytest.raises(UsageError, match=r"the image processor (makes images of different sizes|fails)"):
        evaluate(other, images, disable_tqdm=True)


def test_a_teacher_of_another_size_than_its_checkpoints_is_shown_that_size(tiny_checkpoint, photographs):
    teacher = load_teacher(str(tiny_checkpoint), image_size=48)
    images = load_image_set(str(photographs), teacher.label_names)
    assert not math.isnan(evaluate(teacher, images, disable_tqdm=True).top1)
