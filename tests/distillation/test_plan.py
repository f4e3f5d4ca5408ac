"""What `distill` is asked for: requests that cannot be are refused before anything is taught."""

import pytest

from smi_hf import UsageError
from smi_hf.distillation import StudentModel
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
    with pytest.raises(UsageError, match="more than one dataset makes further runs of a table"):
        run(datasets=[dataset, dataset])


def test_a_dataset_of_another_teacher_is_refused_before_anything_is_taught(run, dataset, make_vit, image_processor):
    from smi_hf import Teacher

    other = Teacher.from_model(make_vit(7), image_processor, name="somebody/else")
    with pytest.raises(UsageError, match=r"inverted from 'tiny-vit' .* not those"):
        run(of=other)
