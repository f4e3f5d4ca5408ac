"""What is said at the end of a push, of real records."""

from pathlib import Path

from smi_hf.cli.push_summary import closing_of


def test_a_published_dataset_is_told_with_what_it_is_good_for(sparse_folder, parse_command):
    said = closing_of(Path(sparse_folder), "https://hub.example/datasets/me/set/commit/1")
    assert said.made == "dataset me/set on the Hub"
    assert "95 % interval" in said.quality and "https://hub.example/datasets/me/set/commit/1" in said.where
    (words,) = said.steps.values()
    options = parse_command(" ".join(words))
    assert any(getattr(each, "dataset", None) == ["me/set"] for each in options)
