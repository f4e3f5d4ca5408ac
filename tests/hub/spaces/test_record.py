"""The record of a Space: what it shows, and in which versions."""

from dataclasses import replace

import pytest

from smi_hf import UsageError
from smi_hf.data.record import DatasetRecord
from smi_hf.environment import Environment
from smi_hf.evaluation.record import Runtime
from smi_hf.hub.spaces.record import Shown, SpaceRecord, describe_space

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PACKAGES = {"python": "3.12.1", "smi-hf": "0.1.0", "torch": "2.13.0+cpu", "transformers": "4.57.6"}
PACKAGES |= {"accelerate": "1.15.0", "datasets": "5.0.1", "optimum": "2.1.0", "pillow": "13.0.0"}
ONNX = {"optimum-onnx": "0.1.0", "onnx": "1.23.2", "onnxruntime": "1.31.1"}


@pytest.fixture
def quantized(model_record):
    return replace(
        model_record,
        kind="quantized",
        student=None,
        settings={"backend": "onnx", "weights": 8, "activations": 8},
        environment=Environment("full", "cpu", PACKAGES | ONNX),
        runtime=Runtime("ONNX Runtime", "optimum"),
    )


@pytest.fixture
def images(folder):
    return replace(DatasetRecord.load(folder), environment=Environment("full", "cpu", PACKAGES))


def test_a_models_space_shows_it_with_the_images_that_its_record_names_on_the_hub(quantized):
    space = describe_space(quantized, "me/int8", revision="v2")
    assert (space.model, space.dataset, space.loader) == (Shown("me/int8", "v2"), None, "optimum onnx")
    (images,) = quantized.datasets
    on_hub = replace(quantized, datasets=(images, replace(images, name="me/set", revision=COMMIT)))
    assert describe_space(on_hub, "me/int8").dataset == Shown("me/set", COMMIT)
    assert describe_space(on_hub, "me/int8", space_dataset="me/other").dataset == Shown("me/other")


def test_a_datasets_space_shows_its_images_and_its_teacher_where_that_is_on_the_hub(images):
    alone = describe_space(images, "me/set")
    assert (alone.dataset, alone.model, alone.loader) == (Shown("me/set"), None, None)
    teacher = replace(images.teacher, name="someone/vit", revision=COMMIT)
    both = describe_space(replace(images, teacher=teacher), "me/set")
    assert (both.model, both.loader) == (Shown("someone/vit", COMMIT), "transformers")
    with pytest.raises(UsageError, match="is itself a dataset, and its Space shows its images; leave space_dataset"):
        describe_space(images, "me/set", space_dataset="me/set")


def test_a_space_needs_what_its_app_imports_in_the_versions_of_the_record_and_no_smi_hf(quantized, images):
    space = describe_space(quantized, "me/int8", space_dataset="me/set")
    core = {name: PACKAGES[name] for name in ("datasets", "optimum", "torch", "transformers")}
    assert space.packages == core | ONNX and space.python == "3.12.1"
    assert "datasets" not in describe_space(quantized, "me/int8").packages
    assert describe_space(images, "me/set").packages == {"datasets": "5.0.1"}
    unknown = describe_space(replace(images, environment=None), "me/set")
    assert (unknown.packages, unknown.python) == ({"datasets": None}, None)


def test_the_sentences_are_those_of_the_record(quantized, images):
    assert describe_space(quantized, "me/int8").sentences == ()
    (sentence,) = describe_space(images, "me/set").sentences
    assert sentence.startswith("6 synthetic images, optimized from Gaussian noise until tiny-vit saw a chosen label")


def test_a_model_that_needs_smi_hf_has_no_space(quantized):
    settings = quantized.settings | {"backend": "simulated"}
    with pytest.raises(UsageError, match=r"no Space can be made of this model: .* executorch, onnx, openvino, torch"):
        describe_space(replace(quantized, settings=settings), "me/int8")


def test_a_record_is_read_back_and_one_that_shows_nothing_is_refused(quantized):
    space = describe_space(quantized, "me/int8")
    assert SpaceRecord.from_json(space.to_json(), "it") == space
    for change, message in (
        ({"loader": "os.system"}, "loader is 'os.system', which loads no model"),
        ({"loader": None}, "loader is None"),
        ({"model": None, "loader": None}, "shows neither a model nor a dataset"),
    ):
        with pytest.raises(UsageError, match=message):
            SpaceRecord.from_json(replace(space, **change).to_json(), "it")
