"""`smi-hf evaluate`, as a user meets it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

from smi_hf.evaluation.run import evaluate
from smi_hf.images.real import load_image_set
from smi_hf.models import load_classifier


@pytest.fixture
def given(tiny_checkpoint, photographs):
    return ["evaluate", "--model_name_or_path", tiny_checkpoint, "--dataset", photographs, "--disable_tqdm"]


def test_it_prints_what_python_finds_with_its_interval_and_how_labels_were_matched(given, smi, photographs, tmp_path):
    answer = smi(*given, "--json", tmp_path / "out.json")
    assert answer.code == 0, answer
    classifier = load_classifier(str(given[2]))
    found = evaluate(classifier, load_image_set(str(photographs), classifier.label_names), disable_tqdm=True)
    low, high = (100 * bound for bound in found.interval)
    words = f"top-1 {100 * found.top1:.2f} % (95 % interval {low:.1f} to {high:.1f} %) of 20 images"
    assert f"quality   {words}; labels matched by name" in answer.out
    assert "back end pytorch" in answer.out
    # Of five labels every one is among the first five choices.
    assert "top-5" not in answer.out
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["top1"], report["top5"], report["num_images"]) == (found.top1, None, 20)
    assert (report["model"], report["images"]["dataset"]) == ("tiny-vit", "test.parquet")
    assert smi(*given, "--json", tmp_path / "out.json").code == 0


def test_a_resnet_is_evaluated(smi, photographs, tmp_path):
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=5)
    ResNetForImageClassification(config).save_pretrained(tmp_path / "resnet")
    ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(tmp_path / "resnet")
    answer = smi("evaluate", "--model_name_or_path", tmp_path / "resnet", "--dataset", photographs, "--disable_tqdm")
    assert answer.code == 0, answer
    assert "of 20 images; labels matched by name" in answer.out


def test_another_size_than_the_checkpoints_may_be_asked_for(given, smi):
    answer = smi(*given, "--image_size", "48")
    assert answer.code == 0, answer


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--batch_size", "0"], "batch_size must be at least 1, but 0 was given"),
        (["--max_images", "0"], "max_images must be at least 1, but 0 was given"),
        (["--image_column", "picture"], "has no column 'picture'"),
        (["--label_column", "lable"], "has no column 'lable' (did you mean 'label'?); it has image, label"),
        (["--split", "tset"], "has no split 'tset'"),
        (["--json", "missing/out.json"], "there is no folder missing; make it first"),
    ],
)
def test_a_slip_is_one_sentence(given, smi, options, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = smi(*given, *options)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert not list(tmp_path.glob("*.json"))


def test_a_foreign_file_stays_as_it_is_and_is_refused_before_the_model_is_loaded(given, smi, tmp_path):
    (tmp_path / "mine.json").write_text('{"mine": 1}')
    given[2] = "/nowhere"
    answer = smi(*given, "--json", tmp_path / "mine.json")
    assert answer.code == 2
    assert "exists and is not a report of smi-hf evaluate" in answer.sentence
    assert (tmp_path / "mine.json").read_text() == '{"mine": 1}'


def test_synthetic_images_are_warned_of(given, smi, sparse_folder):
    given[4] = sparse_folder
    answer = smi(*given)
    assert answer.code == 0, answer
    assert "its images were made to please a model, so accuracy on them says nothing of photographs" in answer.err


@pytest.mark.parametrize(
    ("names", "code", "words"),
    [
        (["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4"], 0, "labels matched by name"),
        (["eins", "zwei", "drei", "vier", "fuenf"], 0, "labels matched by number"),
        (["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABLE_4"], 2, "'LABLE_4' (did you mean 'LABEL_4'?)"),
        (["eins", "zwei"], 2, "none of which is a name of the model's 5"),
    ],
)
def test_folders_of_pictures_are_matched_warned_of_or_refused(given, smi, tmp_path, names, code, words):
    generator = np.random.default_rng(0)
    for name in names:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    given[4] = tmp_path / "photos"
    answer = smi(*given)
    assert answer.code == code, answer
    assert words in answer.out + answer.err
    assert ("no label name of dataset" in answer.err) == ("by number" in words)


def test_a_picture_that_is_damaged_is_named(given, smi, tmp_path):
    for name in range(5):
        (tmp_path / "photos" / f"LABEL_{name}").mkdir(parents=True)
        Image.new("RGB", (40, 36)).save(tmp_path / "photos" / f"LABEL_{name}" / "0.png")
    bad = tmp_path / "photos" / "LABEL_3" / "0.png"
    bad.write_bytes(bad.read_bytes()[:60])
    given[4] = tmp_path / "photos"
    answer = smi(*given)
    assert answer.code == 2
    assert "the image of row 3 of dataset photos cannot be decoded" in answer.sentence
    shutil.rmtree(tmp_path / "photos")
