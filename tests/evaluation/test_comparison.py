"""Rows of a table: the same figures alone and side by side."""

import numpy as np
import pytest
import torch
from transformers import ViTImageProcessor

from smi_hf.evaluation.comparison import compare
from smi_hf.evaluation.predictors import pytorch_predictor
from smi_hf.evaluation.run import evaluate
from smi_hf.evaluation.table import Scores
from smi_hf.images.real import load_image_set


def test_runs_figures_and_agreement_stand_in_their_rows(images, make_predictor):
    models = {"float32": [make_predictor()], "sparse": [make_predictor(), make_predictor(1)]}
    labels = {"float32": "Float", "sparse": "Kept patches"}
    reference, sparse = compare(models, images, labels, figures={"sparse": {"size_mb": 2.5}}, disable_tqdm=True)
    assert (reference.key, reference.label, reference.runs) == ("float32", "Float", (Scores(1.0, 1.0, 1.0),))
    assert (sparse.key, sparse.label) == ("sparse", "Kept patches")
    assert sparse.runs == (Scores(1.0, 1.0, 1.0), Scores(0.0, 0.0, 0.0))
    assert (reference.figures, sparse.figures) == ({}, {"size_mb": 2.5})


@pytest.fixture
def two_models(tmp_path):
    """Two ViTs that differ in everything that an image processor does: mean, std and size."""
    from transformers import ViTConfig, ViTForImageClassification

    models = []
    for side, mean, std in ((32, 0.5, 0.5), (48, 0.1, 0.3)):
        torch.manual_seed(side)
        config = ViTConfig(
            image_size=side, patch_size=8, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
            intermediate_size=48, num_labels=5, initializer_range=0.2,
        )  # fmt: skip
        processor = ViTImageProcessor(size={"height": side, "width": side}, image_mean=[mean] * 3, image_std=[std] * 3)
        models.append(pytorch_predictor(ViTForImageClassification(config), processor))
    return models


def test_each_model_is_judged_with_its_own_preprocessing_as_it_is_alone(two_models, photographs):
    images = load_image_set(str(photographs), two_models[0].label_names)
    rows = compare(
        {"teacher": [two_models[0]], "student": [two_models[1]]},
        images,
        {"teacher": "teacher", "student": "student"},
        batch_size=6,
        disable_tqdm=True,
    )
    alone = [evaluate(model, images, batch_size=7, disable_tqdm=True).top1 for model in two_models]
    assert [row.runs[0].top1 for row in rows] == alone
    pictures, _ = images.batch(range(20))
    first, second = (model(model.preprocess(pictures)).argmax(1) for model in two_models)
    assert rows[1].runs[0].agreement == np.mean(first == second)
