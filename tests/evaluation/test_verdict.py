"""What a result comes to in words, of records as commands write them."""

from types import SimpleNamespace

import pytest

from smi_hf.evaluation.table import Row, Scores
from smi_hf.evaluation.verdict import controls_words, needs_no_images, quality_words, ratio_words, share_words


def row(key, *top1, label=None, **figures):
    return Row(key, label or key, tuple(Scores(value, 1.0, 1.0) for value in top1), figures)


def record(*rows, num_images=1000):
    return SimpleNamespace(rows=rows, measured=SimpleNamespace(num_images=num_images), held_out=None)


FLOAT = row("float32", 0.851, size_mb=22.0, images_per_second=100.0)
OWN = row("sparse", 0.8, 0.7, size_mb=5.5, images_per_second=170.0)


def test_accuracy_of_the_model_that_lies_there_has_an_interval():
    assert quality_words(record(FLOAT, OWN)) == (
        "top-1 80.0 % (95 % interval 77.4 to 82.4 %) of 1,000 images; float32 has 85.1 %"
    )


def test_without_photographs_agreement_counts_or_nothing():
    held_out = SimpleNamespace(agreement=0.5, num_images=2)
    assert quality_words(SimpleNamespace(rows=(), measured=None, held_out=held_out)) == (
        "agreement with the teacher 50.0 % (95 % interval 9.5 to 90.5 %) of 2 images, synthetic ones that were held "
        "out"
    )
    nothing = SimpleNamespace(rows=(), measured=None, held_out=None)
    assert quality_words(nothing).startswith("not measured")
    assert (controls_words(nothing), ratio_words(nothing)) == ("", "")
    assert share_words(1, 1) == "100.0 % (95 % interval 20.7 to 100.0 %) of 1 image"


@pytest.mark.parametrize(
    ("control", "num_images", "words"),
    [
        (row("gaussian", 0.2, 0.1, label="noise"), 1000, "noise has 15.0 %: the images are worth 60.0 points"),
        (row("gaussian", 0.75, label="noise"), 1000, "noise has 75.0 %, which is as good: images were not"),
        (row("scenes", 0.74), 1000, "scenes has 74.0 %, as good as far as 1,000 images can tell: images were"),
        (row("scenes", 0.70), 1000, "scenes has 70.0 %: the images are worth 5.0 points"),
        (row("real=cifar10", 0.9), 1000, "not measured: --controls gaussian tells whether noise would do as well"),
        (row("gaussian", 0.75, label="noise"), 20, "noise has 75.0 %; 20 images are too few to tell the two apart"),
    ],
)  # fmt: skip
def test_images_were_needed_where_nothing_without_them_does_as_well(control, num_images, words):
    assert controls_words(record(FLOAT, OWN, control, num_images=num_images)).startswith(words)


def test_photographs_and_images_of_the_model_are_images():
    free = ("gaussian", "dynamic", "scenes", "dead_leaves", "pink", "fractal")
    assert all(needs_no_images(row(key, 1)) for key in free)
    assert not any(needs_no_images(row(key, 1)) for key in ("real=x", "dense=x", "random=x", "filled", "dataset=x"))


def test_size_and_speed_are_told_beside_those_of_the_whole_model():
    assert ratio_words(record(FLOAT, OWN)) == "5.5 MB, 0.25 of float32's, 1.7 times as fast in batches of 32"
    assert ratio_words(record(row("a", 1), row("b", 1))) == ""
