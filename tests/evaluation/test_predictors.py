"""Classifiers that can be asked what they see."""

import numpy as np
import torch
from transformers import ViTForImageClassification

from smi_hf.evaluation.predictors import predictor_of, pytorch_predictor
from smi_hf.models import load_classifier


def test_logits_are_the_models_and_pixels_its_image_processors(tiny_checkpoint, photographs, image_processor):
    from smi_hf.images.real import load_image_set

    model = ViTForImageClassification.from_pretrained(tiny_checkpoint).train()
    predictor = pytorch_predictor(model, image_processor)
    assert not model.training
    assert predictor.label_names == [f"LABEL_{label}" for label in range(5)]
    pictures, _ = load_image_set(str(photographs), predictor.label_names).batch([0, 1, 2])
    pixels = predictor.preprocess(pictures)
    expected = image_processor(pictures, return_tensors="np")["pixel_values"]
    np.testing.assert_array_equal(pixels, expected)
    with torch.no_grad():
        logits = model(torch.from_numpy(pixels)).logits.numpy()
    np.testing.assert_array_equal(predictor(pixels), logits)


def test_a_teacher_a_classifier_and_a_predictor_are_all_predictors(teacher, tiny_checkpoint):
    pixels = np.random.default_rng(0).standard_normal((2, 3, 32, 32), dtype=np.float32)
    of_classifier = predictor_of(load_classifier(str(tiny_checkpoint)))
    assert predictor_of(of_classifier) is of_classifier
    # Float32 rounding: the sparse forward embeds patches by a linear map.
    np.testing.assert_allclose(predictor_of(teacher)(pixels), of_classifier(pixels), rtol=1e-4, atol=1e-5)


def test_a_configuration_that_asks_for_tuples_is_answered_all_the_same(tiny_checkpoint, image_processor):
    model = ViTForImageClassification.from_pretrained(tiny_checkpoint, return_dict=False)
    pixels = np.zeros((2, 3, 32, 32), dtype=np.float32)
    assert pytorch_predictor(model, image_processor)(pixels).shape == (2, 5)


def test_a_model_in_half_precision_gives_float32(tiny_checkpoint, image_processor):
    model = ViTForImageClassification.from_pretrained(tiny_checkpoint).to(torch.bfloat16)
    logits = pytorch_predictor(model, image_processor)(np.zeros((2, 3, 32, 32), dtype=np.float32))
    assert logits.dtype == np.float32
