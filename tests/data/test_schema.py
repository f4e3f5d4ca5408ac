"""What stock `datasets` finds in a dataset folder: columns, types and names of labels."""

from datasets import ClassLabel, load_dataset

from smi_hf.data.schema import distinct_names


def test_labels_that_share_a_name_stay_apart(dataset_folder):
    feature = load_dataset(str(dataset_folder), split="train").features["label"]
    assert isinstance(feature, ClassLabel)
    assert feature.names == ["crane (0)", "dog", "crane (2)"] == distinct_names(["crane", "dog", "crane"])


def test_names_that_look_like_ours_stay_apart():
    names = ["crane", "crane", "crane (0)", "dog"]
    assert distinct_names(names) == ["crane (0) (0)", "crane (1)", "crane (0)", "dog"]
    assert len(set(distinct_names(["a", "a", "a (0)", "a (0) (0)", "a (1)"]))) == 5
