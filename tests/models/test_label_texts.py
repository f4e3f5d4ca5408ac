"""Names and texts of labels, as people write them."""

import json

import pytest

from smi_hf.errors import UsageError
from smi_hf.models.label_texts import read_label_texts

TEMPLATES = ["a photo of a {}.", "a {}."]


@pytest.fixture
def write(tmp_path):
    def save(text: str, name: str = "labels.txt") -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return [str(tmp_path / name)]

    return save


def test_names_get_the_texts_of_the_templates():
    assert read_label_texts(["cat", "dog"], TEMPLATES) == {
        "cat": ("a photo of a cat.", "a cat."),
        "dog": ("a photo of a dog.", "a dog."),
    }


def test_a_file_has_a_name_a_line_with_a_text_of_its_own_or_several(write):
    labels = write("cat\n\ndog\ta good dog\ndog\tone more dog\n été \n")
    assert read_label_texts(labels, TEMPLATES[:1]) == {
        "cat": ("a photo of a cat.",),
        "dog": ("a good dog", "one more dog"),
        "été": ("a photo of a été.",),
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["cat", "dog"], {"cat": ("a cat.",), "dog": ("a dog.",)}),
        ({"cat": "my cat", "dog": ["a", "b"]}, {"cat": ("my cat",), "dog": ("a", "b")}),
    ],
)
def test_a_json_file_has_a_list_or_texts_by_name(write, value, expected):
    assert read_label_texts(write(json.dumps(value), "labels.json"), ["a {}."]) == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat"], "labels name 1 label, but a classifier tells at least two apart"),
        (["cat", " "], "a label has an empty name"),
        (["cat", "cat"], "the label 'cat' comes twice"),
        (["missing.txt"], "there is no file of labels 'missing.txt'"),
        ("cat", "labels name 1 label"),
    ],
)
def test_names_that_make_no_classifier_are_refused(labels, message):
    with pytest.raises(UsageError, match=message):
        read_label_texts(labels, TEMPLATES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\ta text\ndog\ta text\n", "'cat' and 'dog' have the same texts, so nothing tells them apart"),
        ("cat\t \ndog\n", "the label 'cat' has an empty text"),
        ("\ta text\ndog\n", "line 1 of .* has a text, and no name before it"),
        ("cat\ncat\n", "line 2 of .* has the label 'cat' again"),
        ("", "labels name 0 label"),
    ],
)
def test_lines_that_make_no_classifier_are_refused(write, text, message):
    with pytest.raises(UsageError, match=message):
        read_label_texts(write(text), TEMPLATES)


@pytest.mark.parametrize("text", ["{", "[1, 2]", '{"a": 1}', '{"": "x", "b": "y"}', '"cat"'])
def test_json_of_something_else_is_one_sentence(write, text):
    with pytest.raises(UsageError, match=r"is not valid JSON|must hold a list of names"):
        read_label_texts(write(text, "labels.json"), TEMPLATES)


def test_a_template_without_a_place_for_the_name_is_refused():
    with pytest.raises(UsageError, match=r"prompt 'a photo' has no \{\} where the name of a label goes"):
        read_label_texts(["cat", "dog"], ["a photo"])


def test_a_file_that_is_no_text_is_one_sentence(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_label_texts([str(tmp_path / "labels.txt")], TEMPLATES)
