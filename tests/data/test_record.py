"""Whatever stands in smi.json, it is a record that everything of ours can read, or one sentence."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smi_hf import UsageError
from smi_hf.data import DatasetRecord
from smi_hf.data.schema import MAX_PATCHES
from smi_hf.hub.cards.dataset import render_card


def test_a_record_that_was_written_before_is_read(valid):
    record = DatasetRecord.from_json(json.dumps(valid), "smi.json")
    assert record.num_images == 32
    # Before sizes and pictures were recorded.
    results = {"target_top1", "mean_target_probability", "content_sha256"}
    older = valid | {"results": {name: valid["results"][name] for name in results}}
    assert DatasetRecord.from_json(json.dumps(older), "smi.json").results["target_top1"] == 0.8125


def test_a_record_from_before_starts_is_continued_and_means_noise(valid):
    valid = copy.deepcopy(valid)
    valid["settings"].pop("start", None)
    before = DatasetRecord.from_json(json.dumps(valid), "smi.json")
    assert before.full_settings["start"] == "noise" and "start" not in before.settings

    def begun(start):
        return replace(before, settings=before.settings | {"start": start})

    assert begun("noise").differences(before) == []
    assert begun("pink").differences(before) == ["start was 'noise' and is now 'pink'"]


def test_a_dataset_from_before_a_setting_is_continued_by_a_run_that_does_what_was_done_then(valid):
    added = {"move": "pixels", "move_options": None, "lr_schedule": "constant", "num_views": 1}
    before = copy.deepcopy(valid)
    for name in added:
        before["settings"].pop(name, None)
    now = copy.deepcopy(before)
    now["settings"] |= added
    old, new = (DatasetRecord.from_json(json.dumps(values), "smi.json") for values in (before, now))
    assert new.differences(old) == old.differences(new) == []
    now["settings"]["move"] = "growing"
    moved = DatasetRecord.from_json(json.dumps(now), "smi.json")
    assert moved.differences(old) == ["move was 'pixels' and is now 'growing'"]


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
