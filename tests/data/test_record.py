"""Whatever stands in smi.json, it is a record that everything of ours can read, or one sentence."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smi_hf import UsageError, load_sparse_dataset
from smi_hf.data import DatasetRecord, made_from, validate
from smi_hf.data.schema import MAX_PATCHES, distinct_names
from smi_hf.data.validation import check_fits
from smi_hf.hub.cards.dataset import render_card
from smi_hf.images.kept import sparse_images

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def valid():
    """A record that smi_hf wrote, as plain values; to be copied before it is changed."""
    return json.loads((ROOT / "model_cards" / "dataset.json").read_text())


def test_a_record_that_was_written_before_is_read(valid):
    record = DatasetRecord.from_json(json.dumps(valid), "smi.json")
    assert record.num_images == 32
    # Before sizes and pictures were recorded.
    results = {"target_top1", "mean_target_probability", "content_sha256"}
    older = valid | {"results": {name: valid["results"][name] for name in results}}
    assert DatasetRecord.from_json(json.dumps(older), "smi.json").results["target_top1"] == 0.8125


def places(value, place=()):
    """Every place in nested values."""
    yield place
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*place, key))


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, float("nan"), float("inf")])
    | st.sampled_from(["", "x", "\x1b[31mred", "\ud800", "preview.png", "../../etc/passwd", "complete", "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_change_of_a_record_gives_a_record_or_one_sentence(valid, data):
    values = copy.deepcopy(valid)
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from([place for place in places(values) if place]))
        holder = values
        for key in place[:-1]:
            holder = holder[key]
        what = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if what == "remove":
            del holder[place[-1]]
        elif what == "add" and isinstance(holder, dict):
            holder[data.draw(st.text(max_size=5))] = data.draw(JUNK)
        else:
            holder[place[-1]] = data.draw(JUNK)
    try:
        record = DatasetRecord.from_json(json.dumps(values), "smi.json")
    except UsageError as error:
        message = str(error)
        assert message.startswith("smi.json ") and "\n" not in message
        return
    # Everything that reads a record.
    record.differences(record)
    DatasetRecord.from_json(record.to_json(), "smi.json")
    if record.status == "complete":
        render_card(record)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("status", "done", "status is 'done', and neither 'running' nor 'complete'"),
        ("patch_size", [0, 16], "image height 224 px is not a positive multiple of the patch height 0 px"),
        ("patch_size", [15, 15], "is not a positive multiple"),
        ("patch_size", [1, 1], f"the grid has 50176 patches, but a dataset can number {MAX_PATCHES} at most"),
        ("image_std", [0.5, 0.0, 0.5], "those of image_std be positive"),
        ("image_mean", [0.5], "image_mean and image_std must have 3 values"),
        ("label_names", [], "label_names must be at least one name"),
        ("label_names", ["a", ""], "none of them empty"),
        ("keep_counts", [196, 200, 46], "keep_counts is .*must decrease from 196 patches"),
        ("keep_counts", [196, 0], "must decrease from 196 patches to at least 1"),
        ("keep_counts", [], "keep_counts is"),
        ("settings.num_images", 10**12, "num_images must be an integer from 1 to 10000000, not 10{12}"),
        ("settings.num_images", True, "num_images must be an integer"),
        ("settings.seed", -1, "seed must be an integer from 0"),
        ("settings.seed", 2**63, "seed must be an integer from 0"),
        ("settings.policy", 3, "policy must be the name of a policy"),
        ("settings.prune_steps", "13", "prune_steps must be a list of integers"),
        ("settings.prune_ratios", [0.3], "prune_ratios has 1 values"),
        ("settings.num_steps", None, "num_steps must be an integer of at least 1"),
        ("results.content_sha256", "abc", "content_sha256 must be 64 hexadecimal digits"),
        ("results.target_top1", "high", "target_top1 must be a number from 0 to 1"),
        ("results.pictures", ["/etc/passwd"], "pictures must be among preview.png and preview_stages.png"),
        ("results.download_size", None, "download_size must be an integer"),
        ("results.seconds_this_session", "long", "seconds_this_session must be a number"),
        ("teacher.weights_sha256", 3, "teacher.weights_sha256: Input should be a valid string"),
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


def test_names_that_look_like_ours_stay_apart():
    names = ["crane", "crane", "crane (0)", "dog"]
    assert distinct_names(names) == ["crane (0) (0)", "crane (1)", "crane (0)", "dog"]
    assert len(set(distinct_names(["a", "a", "a (0)", "a (0) (0)", "a (1)"]))) == 5


@pytest.fixture
def own(sparse_folder):
    return load_sparse_dataset(sparse_folder)


def test_a_dataset_that_the_model_would_see_in_another_range_is_refused(sparse_folder, own, teacher):
    load_sparse_dataset(sparse_folder, teacher=teacher)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    mended = replace(teacher, normalization=replace(teacher.normalization, mean=mean, std=std))
    message = r"is normalized by mean \(0.5, 0.5, 0.5\) .*, but the model by \(0.485, 0.456, 0.406\)"
    for streaming in (False, True):
        with pytest.raises(UsageError, match=message):
            load_sparse_dataset(sparse_folder, teacher=mended, streaming=streaming)
    rounded = replace(teacher.normalization, std=tuple(value + 1e-8 for value in teacher.normalization.std))
    check_fits(own.record, replace(teacher, normalization=rounded))


def test_labels_in_another_order_or_of_other_names_are_refused(own, teacher):
    swapped = replace(own.record, label_names=["LABEL_1", "LABEL_0", *own.record.label_names[2:]])
    with pytest.raises(UsageError, match="label 0 of the dataset is 'LABEL_1', but that of the model is 'LABEL_0'"):
        check_fits(swapped, teacher)
    # As stock `datasets` would tell them apart.
    teacher.model.config.id2label |= {0: "crane", 1: "crane"}
    check_fits(replace(own.record, label_names=["crane (0)", "crane (1)", *own.record.label_names[2:]]), teacher)


def test_whose_images_they_are_is_said_by_the_weights(own, teacher):
    assert made_from(own.record, teacher)
    teacher.model.model.classifier.bias.data[0] += 1
    assert not made_from(own.record, teacher)
    assert not made_from(replace(own.record, teacher=replace(own.record.teacher, weights_sha256=None)), teacher)


def test_rows_beyond_the_record_are_refused(own):
    rows = own.dataset.map(lambda row: row | {"image_index": row["image_index"] + 1}, features=own.dataset.features)
    with pytest.raises(UsageError, match=r"image 6 is in the dataset, but its smi.json promises images 0 to 5"):
        validate(rows, own.record)
    assert len(sparse_images(own)) == 6
