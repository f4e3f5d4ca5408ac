"""The dataset card: what stock `load_dataset` makes of it, and what a stranger reads."""

import ast
import json
import re
import shlex
from dataclasses import replace

import pytest
from datasets import load_dataset, load_dataset_builder
from datasets.exceptions import NonMatchingSplitsSizesError
from huggingface_hub import DatasetCard, metadata_load

from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import dataset_features
from smi_hf.hub.cards.dataset import render_card, shown_pictures
from smi_hf.models import License

SIZES = re.compile(r"n<1K|1K<n<10K|10K<n<100K|100K<n<1M|1M<n<10M")


def test_stock_load_dataset_believes_types_and_sizes_and_finds_them_right(dataset_folder, record):
    info = load_dataset_builder(str(dataset_folder)).info
    features = dataset_features(record.label_names)
    assert info.features == features
    split = info.splits["train"]
    shards = sorted((dataset_folder / "data").iterdir())
    assert info.download_size == sum(path.stat().st_size for path in shards)
    # What `datasets` counts by itself, without a card.
    counted = load_dataset("parquet", data_files=[str(path) for path in shards], split="train").info
    assert (split.num_examples, split.num_bytes) == (4, counted.splits["train"].num_bytes)
    assert info.dataset_size == counted.dataset_size
    assert load_dataset(str(dataset_folder), split="train").features == features


def test_a_number_that_is_wrong_would_be_noticed(dataset_folder):
    card = dataset_folder / "README.md"
    card.write_text(card.read_text().replace("num_examples: 4", "num_examples: 5"))
    with pytest.raises(NonMatchingSplitsSizesError):
        load_dataset(str(dataset_folder), split="train")


@pytest.mark.parametrize("names", [["no", "1", "a: b"], ["[", "null", "ü # x"], [f"label {n}" for n in range(1000)]])
def test_label_names_that_yaml_would_read_otherwise_are_kept(complete, tmp_path, names):
    render_card(replace(complete, label_names=names)).save(tmp_path / "README.md")
    features = metadata_load(tmp_path / "README.md")["dataset_info"]["features"]
    label = next(feature for feature in features if feature["name"] == "label")
    assert list(label["dtype"]["class_label"]["names"].values()) == names


def test_a_record_without_sizes_promises_none(complete):
    results = {name: value for name, value in complete.results.items() if name not in ("num_bytes", "download_size")}
    assert "dataset_info" not in render_card(replace(complete, results=results)).data.to_dict()


def test_the_metadata_says_that_it_is_synthetic_and_of_whom(complete):
    metadata = render_card(complete, repo_id="me/vit-smi").data.to_dict()
    assert {"synthetic", "data-free", "base_model:someone/vit"} <= set(metadata["tags"])
    assert metadata["annotations_creators"] == ["machine-generated"]
    assert metadata["task_categories"] == ["image-classification"]
    assert all(SIZES.fullmatch(size) for size in metadata["size_categories"])
    assert metadata["thumbnail"].endswith("/datasets/me/vit-smi/resolve/main/preview.png")
    assert "license" not in metadata
    local = render_card(replace(complete, teacher=replace(complete.teacher, revision=None))).data.to_dict()
    assert not any(tag.startswith("base_model:") for tag in local["tags"])
    assert "thumbnail" not in local


@pytest.mark.parametrize(("count", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (2_000_000, "1M<n<10M")])
def test_the_size_category_is_that_of_the_number_of_images(complete, count, size):
    card = render_card(replace(complete, settings=complete.settings | {"num_images": count}))
    assert card.data.size_categories == [size]


def test_the_teachers_license_is_inherited(complete):
    license = License("other", "ours-1.0", "https://example.org/ours")
    card = render_card(replace(complete, teacher=replace(complete.teacher, license=license)))
    metadata = card.data.to_dict()
    assert [metadata[f"license{part}"] for part in ("", "_name", "_link")] == ["other", "ours-1.0", license.link]
    assert "`someone/vit` is under [ours-1.0](https://example.org/ours)" in card.text


def test_a_stranger_learns_what_the_images_are_and_how_to_use_them(complete):
    pictures = {"pictures": ["preview.png", "preview_stages.png"]}
    card = render_card(replace(complete, results=complete.results | pictures), repo_id="me/vit-smi")
    assert isinstance(card, DatasetCard)
    text = card.text
    assert "someone/vit](https://huggingface.co/someone/vit/tree/abc)" in text
    assert "Only 3 of the 6 patches of each image are kept" in text
    assert "](preview.png)" in text and "](preview_stages.png)" in text
    assert "| 5 | 3 |" in text
    assert 'load_dataset("me/vit-smi", split="train")' in text
    assert 'load_teacher("someone/vit", revision="abc")' in text
    assert "smi-hf quantize --model_name_or_path someone/vit --dataset me/vit-smi" in text
    assert "smi-hf distill --teacher someone/vit" in text
    assert "mean 0.5, 0.5, 0.5 and standard deviation 0.5, 0.5, 0.5" in text
    assert "hu2024sparse" in text
    assert not re.search(r"\{\{|\{%|\bNone\b|\n\n\n\n", text)
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        compile(code, "card", "exec")


def test_a_record_from_before_licenses_is_read_and_continued(complete, tmp_path):
    values = json.loads(complete.to_json())
    del values["teacher"]["license"]
    before = DatasetRecord.from_json(json.dumps(values), "an old record")
    assert "is not known" in render_card(before).text
    licensed = replace(complete, teacher=replace(complete.teacher, license=License("mit")))
    assert licensed.differences(before) == []


@pytest.mark.parametrize(
    ("results", "pictures"),
    [
        # Records from before pictures were listed.
        ({}, ["preview.png"]),
        ({"pictures": []}, []),
        ({"pictures": ["preview_stages.png", "preview.png"]}, ["preview.png", "preview_stages.png"]),
        ({"pictures": ["/etc/x.png", "](x)", "preview.png"]}, ["preview.png"]),
        ({"pictures": "preview.png"}, []),
    ],
)
def test_the_pictures_of_a_card_are_those_that_a_run_writes(complete, results, pictures):
    complete = replace(complete, results=complete.results | results)
    assert shown_pictures(complete) == pictures
    assert re.findall(r"!\[.*\]\((.*)\)", render_card(complete).text) == pictures


def test_a_card_lists_each_loss_term_with_its_weight_and_its_source(complete):
    terms = [
        {"name": "l2", "weight": 1e-5, "source": "DeepInversion, arXiv 1912.08795"},
        {"name": "own", "weight": 2.0, "source": None},
    ]
    text = render_card(replace(complete, results=complete.results | {"loss_terms": terms})).text
    assert "| l2 | 1e-05 | DeepInversion, arXiv 1912.08795 |" in text
    assert "| own | 2 |  |" in text
    assert "minimizes the sum of the losses below" in text and "cross entropy" not in text


def test_a_card_of_a_record_that_lists_no_terms_says_what_all_of_them_minimized(complete):
    results = {name: value for name, value in complete.results.items() if name != "loss_terms"}
    text = render_card(replace(complete, results=results)).text
    assert "minimizes the cross entropy" in text and "loss term" not in text


@pytest.mark.parametrize(("license", "inherited"), [("mit", True), ("apache-2.0", False), (None, False), (3, False)])
def test_the_license_of_a_borrowed_model_counts(complete, license, inherited):
    borrowed = {"name": "tiny-resnet", "revision": None, "sha256": "0" * 64, "license": license}
    teacher = replace(complete.teacher, license=License("mit"))
    card = render_card(replace(complete, teacher=teacher, settings=complete.settings | {"batch_norm_model": borrowed}))
    assert ("license" in card.data.to_dict()) == inherited
    named = isinstance(license, str)
    assert ("`tiny-resnet` is under" if named else "The license of `tiny-resnet` is not known") in card.text


def test_what_comes_from_a_term_or_a_borrowed_model_is_text_on_the_card(complete, evil, check_text_stays_text):
    terms = [{"name": evil, "weight": 1.0, "source": evil}]
    borrowed = {"name": evil, "revision": None, "sha256": "0" * 64, "license": evil}
    changed = replace(
        complete,
        results=complete.results | {"loss_terms": terms},
        settings=complete.settings | {"student_model": borrowed},
    )
    check_text_stays_text(render_card(changed))


def test_what_comes_from_a_teacher_is_text_on_the_card(complete, evil, check_text_stays_text):
    teacher = replace(
        complete.teacher, name=evil, revision=None, license=License("other", evil, "javascript:alert(1)")
    )
    settings = complete.settings | {"policy": evil, evil: evil}
    card = render_card(replace(complete, teacher=teacher, settings=settings, label_names=[evil, "b", "c"]))
    check_text_stays_text(card)


def test_what_stands_in_an_example_stays_one_word_of_it(complete):
    name = 'x"); import os; os.system("ls'
    text = render_card(replace(complete, teacher=replace(complete.teacher, name=name, revision=None))).text
    (block,) = [
        block for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "load_teacher(" in block
    ]
    (argument,) = (call.args[0] for call in ast.walk(ast.parse(block)) if is_call(call, "load_teacher"))
    assert argument.value == f"path/to/{name}"
    name = "x; rm -rf $(pwd) `ls` | 'y"
    text = render_card(replace(complete, teacher=replace(complete.teacher, name=name, revision=None))).text
    (line,) = re.findall(r"^smi-hf quantize .*$", text, flags=re.MULTILINE)
    assert shlex.split(line)[3] == f"path/to/{name}"


def is_call(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == name


def test_the_card_is_valid_metadata_for_the_hub(dataset_folder):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(dataset_folder / "README.md")
    assert card.data.configs[0]["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    assert "sparse-model-inversion" in card.data.tags
    assert "someone/vit" in card.text and "`abc`" in card.text
    assert "No photographs and no training data were used" in card.text


# What images began as


def begun(complete, start, num_steps=10, **settings):
    return replace(complete, settings=complete.settings | {"start": start, "num_steps": num_steps} | settings)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("noise", "optimized them from Gaussian noise"),
        ("pink", "optimized them from 1/f noise"),
        ("dead_leaves", "optimized them from dead leaves"),
        ("of a newer smi_hf", "optimized them from of a newer smi_hf"),
    ],
)
def test_the_card_says_what_an_image_began_as(complete, start, words):
    card = render_card(begun(complete, start))
    assert words in card.text
    assert "No photographs and no training data were used" in card.text
    assert {"data-free", "synthetic", "model-inversion"} <= set(card.data.tags)
    assert not re.search(r"\{\{|\{%|\bNone\b|\n\n\n\n", card.text)


def test_a_record_without_a_start_began_as_noise(complete):
    assert "start" not in complete.settings
    text = render_card(complete).text
    assert "optimized them from Gaussian noise" in text
    assert "mean 0 and variance 1 in normalized units (Sparse Model Inversion, arXiv 2510.27186)" in text
    assert "| `start` | noise |" in text


def test_sources_of_a_start_are_named(complete):
    text = render_card(begun(complete, "dead_leaves")).text
    assert "Each image starts as dead leaves: disks and polygons" in text
    assert "(Lee, Mumford and Huang 2001; Baradad et al. 2021, arXiv 2106.05963)" in text


def test_pictures_of_a_dataset_are_not_called_data_free(complete):
    card = render_card(begun(complete, "dataset=me/photos:train", start_sha256="3" * 64))
    assert "**Each image began as a picture of a dataset, me/photos:train**, and may show it." in card.text
    assert "No photographs" not in card.text
    assert "data-free" not in card.data.tags and card.data.source_datasets == ["extended"]
    shown = render_card(begun(complete, "dataset=me/photos:train", 0, start_sha256="3" * 64))
    assert "**Each image is a picture of a dataset, me/photos:train**" in shown.text
    assert not {"synthetic", "data-free", "model-inversion"} & set(shown.data.tags)
    assert "They are **not** photographs" not in shown.text


def test_images_of_no_steps_promise_nothing_of_the_teacher(complete):
    card = render_card(begun(complete, "pink", 0, prune_steps=[], prune_ratios=[]))
    assert "**did not optimize them**" in card.text and "inverted" not in card.text.lower().split("## limits")[0]
    assert "no weights were used" in card.text
    assert "only a number" in card.text
    assert "learning_rate" not in card.text and "| `start` | pink |" in card.text
    assert "model-inversion" not in card.data.tags
    assert not re.search(r"\{\{|\{%|\bNone\b|\n\n\n\n", card.text)


@pytest.mark.parametrize("num_steps", [0, 10])
@pytest.mark.parametrize("prefix", ["", "dataset="])
def test_a_start_of_a_stranger_is_text_on_the_card(complete, evil, check_text_stays_text, prefix, num_steps):
    check_text_stays_text(render_card(begun(complete, prefix + evil, num_steps)))


def test_the_card_of_trajectories_says_how_images_left_and_cites_it(complete):
    settings = complete.settings | {"policy": "pri", "images_per_trajectory": 2}
    pictures = {"pictures": ["preview.png", "preview_stages.png"]}
    text = render_card(replace(complete, settings=settings, results=complete.results | pictures)).text
    assert "Each image has 3 of 6 patches" in text and "2 images come from one optimization" in text
    assert "| `trajectory`, `stage` |" in text and "2 * trajectory + stage" in text
    assert "| images that each trajectory gave | 2 |" in text
    assert "| after step | patches that go on |" in text
    assert "At some steps 3 patches leave as a finished image" in text
    assert "a row per trajectory" in text
    assert "2509.23235" in text and "heo2025patch" in text and "hu2024sparse" in text
    assert not re.search(r"\{\{|\{%|\bNone\b|\n\n\n\n", text)
    plain = render_card(complete).text
    assert "trajectory" not in plain and "2509.23235" not in plain


def test_a_card_begins_with_the_preview_and_the_lines_that_load_it(complete):
    pictures = {"pictures": ["preview.png", "preview_stages.png"]}
    card = render_card(replace(complete, results=complete.results | pictures), repo_id="me/vit-smi")
    first, rest = card.text.split("## What they are")
    assert first.index("](preview.png)") < first.index('load_dataset("me/vit-smi", split="train")')
    assert "preview_stages.png" not in first and "](preview_stages.png)" in rest.split("## How they were made")[1]
    assert "The classifier's first choice is the chosen label for 100.0 % of them." in first
    assert rest.index("## Figures") < rest.index("## Columns") < rest.index("## Use") < rest.index("## Limits")
