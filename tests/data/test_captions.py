"""Words about an image and a dataset: what the rows and the record say, and nothing that they do not."""

from dataclasses import replace

import pytest

from smi_hf import concatenate
from smi_hf.data.captions import image_words, in_percent, label_words, record_words


def test_percents_do_not_round_to_all_or_nothing():
    assert [in_percent(share) for share in (0, 0.001, 0.234, 0.999, 1)] == ["0 %", "< 1 %", "23 %", "> 99 %", "100 %"]


def test_a_label_that_is_a_number_is_called_a_label():
    assert [label_words(name) for name in ("7", "dog", "7 dogs")] == ["label 7", "dog", "7 dogs"]


def test_an_image_is_told_by_label_probability_and_share(dataset):
    row = dataset.dataset[0] | {"target_probability": 0.994, "kept_patches": [0, 1, 2, 3]}
    assert image_words(dataset.record, row) == [
        dataset.record.label_names[row["label"]],
        "teacher: 99 %",
        "kept: 25 %",
    ]


def test_a_dataset_is_told_by_its_record(dataset):
    record = dataset.record
    words = record_words(record)
    assert words["made from"] == record.teacher.name and words["state"] == ""
    assert words["images"] == "6 of 32 x 32 px, 5 labels"
    assert words["patches kept"].startswith(f"{record.keep_counts[-1]} of 16 (")
    assert words["made how"].startswith(f"{record.settings['num_steps']} steps, policy smi")
    assert in_percent(record.results["target_top1"]) in words["the teacher sees the label in"]
    assert words["files"].endswith(" kB")


def test_what_is_not_known_is_not_told(dataset):
    record = dataset.record
    running = record_words(replace(record, status="running", results={}))
    assert running["the teacher sees the label in"] == running["files"] == "" and "not complete" in running["state"]
    started = replace(record, settings=record.settings | {"num_steps": 0, "start": "scenes"})
    assert record_words(started)["made how"].startswith("not optimized, start scenes")


def test_of_concatenated_datasets_settings_that_differ_are_not_told(dataset):
    other = replace(
        dataset, record=replace(dataset.record, settings=dataset.record.settings | {"start": "scenes", "seed": 7})
    )
    other = replace(other, dataset=other.dataset.remove_columns("seed").add_column("seed", [7] * 6))
    how = record_words(concatenate([dataset, other]).record)["made how"]
    assert "start" not in how and "seed" not in how and "policy smi" in how


@pytest.mark.parametrize("name", ["made from", "images", "patches kept", "made how"])
def test_what_is_always_known_is_always_told(dataset, name):
    assert record_words(dataset.record)[name]
