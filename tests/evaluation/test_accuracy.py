import numpy as np
import pytest
from datasets import Value

from smi_hf.evaluation.accuracy import rank_labels
from smi_hf.evaluation.metrics import Agreement, TopKAccuracy
from smi_hf.images.real import load_image_set

NAMES = ["cat", "dog", "boat"]


def test_top_k_accuracy_and_agreement_need_no_hub():
    ranked = [[0, 1, 2], [1, 0, 2], [2, 1, 0], [0, 2, 1]]
    figures = TopKAccuracy().compute(predictions=ranked, references=[0, 0, 0, 1], k=(1, 2, 3))
    assert figures == {"top1": 0.25, "top2": 0.5, "top3": 1.0}
    assert Agreement().compute(predictions=[0, 1, 2, 2], references=[0, 1, 1, 2]) == {"agreement": 0.75}


def test_every_model_sees_every_image_once_and_in_order(saved):
    images = load_image_set(saved([0, 1, 2, 0, 1], Value("int64")), NAMES)
    seen = []

    def processor(pictures, return_tensors):
        return {"pixel_values": np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in pictures])}

    def right(pixels):
        seen.extend(pixels[:, 0, 0, 0].tolist())
        return np.eye(3)[pixels[:, 0, 0, 0].astype(int) % 3]

    def wrong(pixels):
        return np.tile([0.0, 0.0, 1.0], (len(pixels), 1))

    choices = rank_labels(images, {"right": right, "wrong": wrong}, processor, batch_size=2, disable_tqdm=True)
    assert seen == [0, 1, 2, 3, 4]
    assert choices["right"].accuracy() == {"top1": 1.0, "top5": 1.0}
    assert choices["wrong"].accuracy()["top1"] == pytest.approx(1 / 5)
    assert choices["wrong"].agreement(choices["right"]) == pytest.approx(1 / 5)
