"""What `distill` is asked for: requests that cannot be are refused before anything is taught."""

import pytest

from smi_hf import UsageError, environment
from smi_hf.distillation import StudentModel
from smi_hf.distillation.plan import check_request
from smi_hf.environment import missing_packages
from smi_hf.quantization.qat import QuantizationAwareTraining

needs_quanto = pytest.mark.skipif(bool(missing_packages("quanto")), reason="the quanto extra is absent")


@needs_quanto
def test_quantization_is_refused_for_a_student_that_sees_whole_images(run, make_vit, image_processor, folder):
    student = StudentModel(make_vit(patch_size=16), image_processor)
    with pytest.raises(UsageError, match="quantization calibrates on the kept patches alone"):
        run(student=student, quantization=QuantizationAwareTraining(8))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"controls": ["gaussian"]}, "give --eval_dataset as well"),
        ({"controls": ["gausian"]}, "did you mean 'gaussian'"),
        ({"datasets": []}, "there is no dataset to teach on"),
        ({"num_images": 7}, "num_images is 7, but the dataset has 6 images"),
        ({"resume_from_checkpoint": "nowhere"}, "no complete checkpoint of a distillation to resume from in nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_taught(options, message, run, folder):
    with pytest.raises(UsageError, match=message):
        run(**options)
    assert not folder.exists()


def test_two_datasets_without_images_to_judge_on_are_refused(run, dataset):
    with pytest.raises(UsageError, match="more than one dataset makes further runs of a result table"):
        run(datasets=[dataset, dataset])


def test_a_dataset_of_another_teacher_is_refused_before_anything_is_taught(run, dataset, make_vit, image_processor):
    from smi_hf import Teacher

    other = Teacher.from_model(make_vit(7), image_processor, name="somebody/else")
    with pytest.raises(UsageError, match=r"inverted from 'tiny-vit' .* not those"):
        run(of=other)


FITTING = {"num_datasets": 1, "has_images": True}


@pytest.mark.parametrize(
    ("request_changes", "settings", "message"),
    [
        ({"num_datasets": 0}, {}, "there is no dataset to teach on"),
        ({"num_datasets": 2, "has_images": False}, {}, "more than one dataset makes further runs of a result table"),
        ({"controls": ["gaussian"], "has_images": False}, {}, "controls are rows of a result table"),
        ({"controls": ["gausian"], "has_images": False}, {}, "there is no control 'gausian'"),
        ({"has_rounds": True}, {}, "rounds grow one dataset of their own"),
        ({"has_rounds": True, "num_datasets": 0}, {"num_images": 3}, "rounds grow one dataset of their own"),
        ({"has_rounds": True, "num_datasets": 0, "controls": ["gaussian"]}, {}, "rounds grow one dataset"),
        ({"has_rounds": True, "num_datasets": 0}, {"resume_from_checkpoint": "x"}, "rounds continue by themselves"),
        ({}, {"resume_from_checkpoint": "x"}, "no complete checkpoint"),
        ({}, {"output_dir": "a\0b"}, "output_dir must name a folder"),
        (
            {"has_rounds": True, "num_datasets": 0, "quantization": QuantizationAwareTraining(8)},
            {},
            "quantization needs images to calibrate on before the first step; leave out rounds",
        ),
    ],
)
def test_a_request_that_does_not_fit_together_is_refused_before_anything_is_loaded(
    request_changes, settings, message, make_args
):
    with pytest.raises(UsageError, match=message) as refusal:
        check_request(make_args(**settings), **FITTING | request_changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "request_changes",
    [
        {},
        {"has_images": False},
        {"num_datasets": 3},
        {"controls": ["gaussian", "real=cifar10"]},
        {"has_rounds": True, "num_datasets": 0},
        {"has_rounds": True, "num_datasets": 0, "has_images": False},
    ],
)
def test_a_request_that_fits_writes_nothing(request_changes, make_args, tmp_path):
    check_request(make_args(), **FITTING | request_changes)
    assert not list(tmp_path.iterdir())


def test_a_curve_that_cannot_be_drawn_is_refused_before_anything_is_taught(make_args, monkeypatch):
    monkeypatch.setattr(environment, "package_version", lambda name: "4.57" if name == "transformers" else None)
    check_request(make_args(), **FITTING)
    check_request(make_args(eval_strategy="epoch"), num_datasets=1)
    with pytest.raises(UsageError, match=r"the learning curve \(eval_strategy\) needs matplotlib"):
        check_request(make_args(eval_strategy="epoch"), **FITTING)
