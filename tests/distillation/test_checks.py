"""Whether images, teacher and student of a lesson fit each other."""

import pytest

from smi_hf import UsageError
from smi_hf.images.kept import KeptImages


def test_images_in_memory_of_another_size_or_grid_are_refused_before_anything_runs(make_trainer, make_images):
    images = make_images()
    with pytest.raises(UsageError, match="images of 16x32 px were given, but this grid has 32x32 px"):
        make_trainer(train_dataset=KeptImages(images.pixels_BCHW[:, :, :16], images.kept_BK, "cut"))
    shifted_BK = images.kept_BK.clone()
    shifted_BK[0, -1] = 16
    with pytest.raises(UsageError, match="patch 16, but the teacher's grid has patches 0 to 15"):
        make_trainer(train_dataset=KeptImages(images.pixels_BCHW, shifted_BK, "shifted"))


def test_a_student_of_another_number_of_labels_is_refused(make_trainer, make_vit):
    with pytest.raises(UsageError, match=r"the student has 3 labels, but its teacher has 5; .*load_student"):
        make_trainer(model=make_vit(num_labels=3))


def test_a_student_that_is_the_teacher_itself_is_refused(make_trainer, teacher):
    with pytest.raises(UsageError, match="student and teacher are the same model"):
        make_trainer(model=teacher.model.model)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({"num_hidden_layers": 1}, "1 layers of 24 channels and 1 prefix tokens, its teacher 2, 24 and 1"),
        ({"hidden_size": 12}, "2 layers of 12 channels"),
    ],
)
def test_matching_every_layer_is_refused_for_a_student_of_another_shape(changes, shape, make_trainer, make_vit):
    with pytest.raises(UsageError, match=f"the student has {shape}"):
        make_trainer(model=make_vit(**changes), hidden_state_weight=1.0)
