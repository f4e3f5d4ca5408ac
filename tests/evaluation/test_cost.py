from types import SimpleNamespace

import pytest
import torch
from family_cases import CASES
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Config, Dinov2ForImageClassification, ViTConfig, ViTForImageClassification

from smi_hf import SparseInversionConfig, invert
from smi_hf.evaluation.cost import forward_macs, record_macs, schedule_macs
from smi_hf.models import SparseClassifier
from smi_hf.patches import PruneSchedule

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}


@pytest.mark.parametrize("num_kept", [16, 7, 1])
def test_macs_are_those_that_torch_counts(num_kept):
    config = ViTConfig(image_size=32, patch_size=8, intermediate_size=48, attn_implementation="eager", **SMALL)
    model = SparseClassifier(ViTForImageClassification(config)).freeze()
    kept = torch.arange(num_kept)[None]
    patches = model.grid.cut(torch.randn(1, 3, 32, 32), kept)
    with FlopCounterMode(display=False) as counter:
        model.forward_patches(patches, kept)
    assert counter.get_total_flops() == 2 * forward_macs(model, num_kept)


def test_a_model_that_gives_its_mlp_as_a_ratio_is_counted_too():
    config = Dinov2Config(image_size=28, patch_size=14, mlp_ratio=2, attn_implementation="eager", **SMALL)
    model = SparseClassifier(Dinov2ForImageClassification(config)).freeze()
    kept = torch.arange(4)[None]
    with FlopCounterMode(display=False) as counter:
        model.forward_patches(model.grid.cut(torch.randn(1, 3, 28, 28)), kept)
    # Its head reads the CLS token and the mean of the patches: twice the hidden size.
    assert counter.get_total_flops() == 2 * (forward_macs(model, 4) + 24 * 5)


def test_a_schedule_costs_the_sum_of_its_stages(teacher):
    schedule = PruneSchedule((2, 5), (0.3, 0.3))
    expected = sum(steps * forward_macs(teacher.model, kept) for steps, kept in ((2, 16), (3, 11), (3, 7)))
    assert schedule_macs(teacher.model, schedule, 8) == expected


def test_a_dataset_costs_each_view_of_each_step(teacher):
    settings = {"num_steps": 8, "prune_steps": [2, 5], "prune_ratios": [0.3, 0.3]}
    once = schedule_macs(teacher.model, PruneSchedule((2, 5), (0.3, 0.3)), 8)
    # The first records do not say how many views there were: one.
    assert record_macs(teacher.model, SimpleNamespace(settings=settings, num_stages=1)) == once
    assert record_macs(teacher.model, SimpleNamespace(settings=settings | {"num_views": 3}, num_stages=1)) == 3 * once


def test_images_of_a_trajectory_share_its_cost(teacher, tmp_path):
    settings = {"output_dir": str(tmp_path / "set"), "num_images": 4, "num_steps": 9, "disable_tqdm": True}
    dataset = invert(teacher, SparseInversionConfig(policy="pri", **settings))
    expected = sum(2 * forward_macs(teacher.model, kept) for kept in (16, 12, 8, 4)) // 4
    assert record_macs(teacher.model, dataset.record) == expected


def test_a_backbone_with_directions_costs_what_a_classifier_of_as_many_labels_does():
    torch.manual_seed(0)
    # Attends by a fused kernel, as it was loaded.
    backbone = CASES["vit-bare"].wrap(CASES["vit-bare"].make())
    classifier = CASES["vit"].wrap(CASES["vit"].make())
    assert backbone.config._attn_implementation == "sdpa"
    assert forward_macs(backbone, 16) == forward_macs(classifier, 16)
