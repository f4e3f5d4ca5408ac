"""Whether images, teacher and student of a lesson fit each other."""

import pytest
import torch
from family_cases import CASES
from transformers import BitImageProcessor, ResNetConfig, ResNetForImageClassification, ViTImageProcessor

from smi_hf import UsageError
from smi_hf.distillation.checks import check_grid, check_student, size_made_for
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
        (
            {"num_hidden_layers": 3},
            "3 layers of 24 channels and 1 prefix tokens, its teacher 2, 24 and 1; it",
        ),
        ({"hidden_size": 12}, "2 layers of 12 channels"),
        ({"num_hidden_layers": 1, "hidden_size": 12}, "1 layers of 12 channels"),
    ],
)
def test_matching_layers_is_refused_for_a_student_of_more_layers_or_other_tokens(
    changes, shape, make_trainer, make_vit
):
    with pytest.raises(UsageError, match=f"the student has {shape}"):
        make_trainer(model=make_vit(**changes), hidden_state_weight=1.0)


@pytest.mark.parametrize("changes", [{"num_hidden_layers": 1}, {"intermediate_size": 12}])
def test_layers_can_be_matched_of_a_student_of_fewer_layers_or_narrower_mlps(changes, make_trainer, make_vit, losses):
    trainer = make_trainer(model=make_vit(**changes), hidden_state_weight=1.0, num_train_epochs=3)
    trainer.train()
    assert "loss_hidden_states" in trainer.state.log_history[0] and losses(trainer)[-1] < losses(trainer)[0]


@pytest.mark.parametrize(("patch", "named"), [(16, 16), (-1, -1)])
def test_a_patch_off_the_grid_is_named(images, teacher, patch, named):
    check_grid(images, teacher)
    images.kept_BK[5, 2] = patch
    with pytest.raises(UsageError, match=f"the images keep patch {named}, but the teacher's grid has patches 0 to 15"):
        check_grid(images, teacher)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_student_in_half_precision_is_refused(make_vit, teacher, dtype):
    check_student(make_vit(), teacher)
    with pytest.raises(
        UsageError, match=f"weights are {str(dtype)[6:]}, which training rounds away; load it in float3"
    ):
        check_student(make_vit().to(dtype), teacher)


@pytest.mark.parametrize("is_training", [True, False])
def test_the_size_that_an_image_processor_makes_is_found_and_the_model_left_in_its_mode(make_vit, is_training):
    model = make_vit(image_size=(32, 48)).train(is_training)
    processor = ViTImageProcessor(size={"height": 32, "width": 48})
    assert size_made_for(model, processor) == (32, 48)
    assert model.training == is_training
    with pytest.raises(UsageError, match="makes images of 48x32 px, which the student does not take"):
        size_made_for(model, ViTImageProcessor(size={"height": 48, "width": 32}))
    assert model.training == is_training


def test_a_size_that_depends_on_the_picture_is_none():
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=5)
    processor = BitImageProcessor(size={"shortest_edge": 32}, do_center_crop=False)
    assert size_made_for(ResNetForImageClassification(config), processor) is None


def test_a_classifier_does_not_learn_directions_that_have_no_names(backbone_teacher, make_vit):
    with pytest.raises(UsageError, match="which are no labels; give a student without a classification head"):
        check_student(make_vit(num_labels=backbone_teacher.model.num_labels), backbone_teacher)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("siglip_vision_model", r"numbers, read off its pooler_output \(given\), and the teacher's"),
        ("clip_vision_model", r"has 16 numbers, read off its image_embeds"),
        ("beit-bare", r"read off its last_hidden_state \(patches\)"),
    ],
)
def test_embeddings_that_are_read_otherwise_are_not_compared(backbone_teacher, name, message):
    with pytest.raises(UsageError, match=message):
        check_student(CASES[name].make(), backbone_teacher)


@pytest.mark.parametrize("name", ["vit-bare", "dinov2-bare", "dinov3_vit"])
def test_backbones_that_read_their_first_token_learn_from_each_other(backbone_teacher, name):
    check_student(CASES[name].make(), backbone_teacher)
