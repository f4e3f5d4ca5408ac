"""What the settings and the results of a record must hold; every other value is named."""

import copy
import json

import pytest

from smi_hf import UsageError
from smi_hf.data import DatasetRecord


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("settings.num_images", 10**12, "num_images must be an integer from 1 to 10000000, not 10{12}"),
        ("settings.num_images", True, "num_images must be an integer"),
        ("settings.seed", -1, "seed must be an integer from 0"),
        ("settings.seed", 2**63, "seed must be an integer from 0"),
        ("settings.num_views", 0, "num_views must be an integer of at least 1, not 0"),
        ("settings.num_views", None, "num_views must be an integer of at least 1"),
        ("settings.policy", 3, "policy must be the name of a policy"),
        ("settings.prune_steps", "13", "prune_steps must be a list of integers"),
        ("settings.prune_ratios", [0.3], "prune_ratios has 1 values"),
        ("settings.num_steps", None, "num_steps must be an integer of at least 0"),
        ("settings.start", 3, "settings.start must be text, not 3"),
        ("settings.start", "", "settings.start must be text"),
        ("settings.start_sha256", None, "settings.start_sha256 must be text"),
        ("settings.policy", "pri", "images_per_trajectory must be an integer from 2"),
        ("settings.images_per_trajectory", "4", "images_per_trajectory must be an integer from 2"),
        ("settings.images_per_trajectory", 10**7, "images_per_trajectory must be an integer from 2 to"),
        ("settings.images_per_trajectory", 3, "num_images must be a multiple of images_per_trajectory 3, not 32"),
        ("settings.images_per_trajectory", 8, "keep_counts ends with"),
        ("results.content_sha256", "abc", "content_sha256 must be 64 hexadecimal digits"),
        ("results.target_top1", "high", "target_top1 must be a number from 0 to 1"),
        ("results.pictures", ["/etc/passwd"], "pictures must be among preview.png and preview_stages.png"),
        ("results.loss_terms", "l2", "loss_terms must be a list of names, weights and sources"),
        ("results.loss_terms", [{"name": "l2", "weight": "x", "source": None}], "loss_terms must be a list of names"),
        ("results.loss_terms", [{"name": 2, "weight": 1.0, "source": None}], "loss_terms must be a list of names"),
        ("results.loss_terms", [{"name": "l2", "weight": 1.0, "source": 3}], "loss_terms must be a list of names"),
        ("results.download_size", None, "download_size must be an integer"),
        ("results.seconds_this_session", "long", "seconds_this_session must be a number"),
    ],
)
def test_a_value_that_cannot_be_is_named(valid, place, value, message):
    values = copy.deepcopy(valid)
    *holders, name = place.split(".")
    holder = values
    for key in holders:
        holder = holder[key]
    holder[name] = value
    with pytest.raises(UsageError, match=message):
        DatasetRecord.from_json(json.dumps(values), "smi.json")
