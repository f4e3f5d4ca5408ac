import logging

import pytest
import torch
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    SwinConfig,
    SwinForImageClassification,
    ViTImageProcessor,
    ViTMSNConfig,
    ViTMSNForImageClassification,
)

from smi_hf import Teacher
from smi_hf.distillation.loading import head_modules
from smi_hf.distillation.students import (
    DenseStudent,
    SparseStudent,
    has_unused_weights,
    make_student,
)
from smi_hf.patches import Normalization

SMALL = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "num_labels": 5}
SIZES = {"image_size": 32, "patch_size": 8}
OTHER = Normalization((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))


def make_resnet(num_labels=5):
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    config.num_labels = num_labels
    torch.manual_seed(0)
    return ResNetForImageClassification(config)


FAMILIES = {
    "deit with one head": lambda: DeiTForImageClassification(DeiTConfig(intermediate_size=48, **SIZES, **SMALL)),
    "deit with two heads": lambda: DeiTForImageClassificationWithTeacher(
        DeiTConfig(intermediate_size=48, **SIZES, **SMALL)
    ),
    "vit_msn": lambda: ViTMSNForImageClassification(ViTMSNConfig(intermediate_size=48, **SIZES, **SMALL)),
    "dinov2": lambda: Dinov2ForImageClassification(Dinov2Config(mlp_ratio=2, **SIZES, **SMALL)),
    "dinov2_with_registers": lambda: Dinov2WithRegistersForImageClassification(
        Dinov2WithRegistersConfig(mlp_ratio=2, **SIZES, **SMALL)
    ),
}


@pytest.fixture(params=["vit", *FAMILIES])
def model(request, make_vit):
    """A classifier of each family whose positions, prefix tokens and heads are far from their initial zeros."""
    torch.manual_seed(0)
    model = make_vit() if request.param == "vit" else FAMILIES[request.param]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return model.eval()


def cut(teacher, images):
    return teacher.model.grid.cut(images.pixels_BCHW, images.kept_BK), images.kept_BK


# What a student sees


def test_with_all_patches_kept_a_sparse_student_is_the_stock_model(model, teacher, make_images):
    images = make_images(4, num_kept=16)
    student = make_student(model, teacher)
    assert isinstance(student, SparseStudent) and student.sees == "kept patches"
    with torch.no_grad():
        expected = model(pixel_values=images.pixels_BCHW).logits
        # The same sums in another order.
        assert torch.allclose(student.forward(model, *cut(teacher, images)).logits, expected, atol=1e-5)


def test_the_head_gives_of_a_summary_what_the_model_gives_of_the_patches(model, teacher, images):
    student = make_student(model, teacher)
    with torch.no_grad():
        expected = student.forward(model, *cut(teacher, images)).logits
        summary = student.summarize(*cut(teacher, images))
        got = student.forward_summary(model, summary).logits
    assert torch.allclose(got, expected, atol=1e-5)
    assert summary.shape == (len(images), student.sparse.num_prefix_tokens + 1, 24)
    assert float(expected.std(dim=0).min()) > 0.05, "the logits hardly depend on the image"
    # And the model is as it was: nothing is bypassed any more.
    with torch.no_grad():
        assert torch.equal(student.forward(model, *cut(teacher, images)).logits, expected)


def test_a_head_learns_from_a_summary_what_it_learns_from_patches(model, teacher, images):
    student = make_student(model, teacher)
    heads = [weight for module in head_modules(model) for weight in module.parameters()]
    assert heads
    whole = student.forward(model, *cut(teacher, images)).logits.square().sum()
    summary = student.forward_summary(model, student.summarize(*cut(teacher, images))).logits.square().sum()
    for expected, got in zip(torch.autograd.grad(whole, heads), torch.autograd.grad(summary, heads)):
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_only_the_heads_of_a_model_are_its_head_modules(model):
    backbone = set(model.base_model.parameters())
    heads = {weight for module in head_modules(model) for weight in module.parameters()}
    assert heads == set(model.parameters()) - backbone


@pytest.mark.parametrize("kind", ["another patch size", "resnet"])
def test_a_student_that_cannot_see_kept_patches_sees_filled_images_and_a_log_line_says_so(
    kind, teacher, images, make_vit, caplog
):
    model = (make_vit(patch_size=16) if kind == "another patch size" else make_resnet()).eval()
    with caplog.at_level(logging.INFO, "smi_hf"):
        student = make_student(model, teacher)
    assert isinstance(student, DenseStudent) and student.sees == "filled images"
    why = "has another patch grid than its teacher" if model.config.model_type == "vit" else "cannot be shown some"
    assert why in caplog.text and "pruned patches are filled" in caplog.text
    patches, kept = cut(teacher, images)
    filled = teacher.model.grid.paste(patches, kept, fill=0)
    assert (filled == 0).float().mean() > 0.6
    with torch.no_grad():
        assert torch.equal(student.forward(model, patches, kept).logits, model(pixel_values=filled).logits)


def test_a_student_of_another_image_size_sees_images_of_its_size(teacher, images, make_vit):
    model = make_vit(image_size=48).eval()
    student = make_student(model, teacher)
    assert isinstance(student, DenseStudent)
    seen = []
    model.register_forward_pre_hook(lambda module, arguments, given: seen.append(given), with_kwargs=True)
    student.forward(model, *cut(teacher, images))
    assert seen[0]["pixel_values"].shape == (len(images), 3, 48, 48)


def test_a_swin_of_another_image_size_sees_images_of_its_size(teacher, images):
    config = SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1], num_heads=[2], window_size=4)
    config.num_labels = 5
    model = SwinForImageClassification(config).eval()
    assert make_student(model, teacher).forward(model, *cut(teacher, images)).logits.shape == (len(images), 5)


def test_a_dinov2_sees_kept_patches_of_the_size_that_its_teacher_sees(teacher, images):
    # Its configuration says 518 px whatever its image processor makes, and it interpolates by itself.
    torch.manual_seed(0)
    model = Dinov2ForImageClassification(Dinov2Config(image_size=64, patch_size=8, mlp_ratio=2, **SMALL)).eval()
    student = make_student(model, teacher)
    assert isinstance(student, SparseStudent)
    every = teacher.model.grid.all_patches(len(images))
    with torch.no_grad():
        got = student.forward(model, teacher.model.grid.cut(images.pixels_BCHW), every).logits
        assert torch.allclose(got, model(pixel_values=images.pixels_BCHW).logits, atol=1e-5)


def test_a_dinov2_of_another_patch_size_sees_filled_images_of_its_teachers_size(teacher, images):
    model = Dinov2ForImageClassification(Dinov2Config(image_size=70, patch_size=14, mlp_ratio=2, **SMALL)).eval()
    student = make_student(model, teacher)
    assert isinstance(student, DenseStudent)
    patches, kept = cut(teacher, images)
    with torch.no_grad():
        expected = model(pixel_values=teacher.model.grid.paste(patches, kept)).logits
        assert torch.equal(student.forward(model, patches, kept).logits, expected)


def test_weights_that_no_answer_depends_on_are_found(model, teacher):
    # The mask token of a DINOv2 is for its own training.
    model.train()
    is_dinov2 = model.config.model_type.startswith("dinov2")
    assert has_unused_weights(make_student(model, teacher), teacher.model.grid) == is_dinov2
    assert model.training and all(weight.grad is None for weight in model.parameters())
    model.base_model.requires_grad_(False)
    assert not has_unused_weights(make_student(model, teacher), teacher.model.grid)


def test_a_dense_student_uses_all_its_weights(teacher):
    assert not has_unused_weights(make_student(make_resnet(), teacher), teacher.model.grid)


# Normalisation


def test_rescaling_is_a_way_through_pixels_between_0_and_1():
    ours = Normalization((0.5, 0.5, 0.5), (0.5, 0.4, 0.3))
    plain = torch.rand(2, 6, 3, 8, 8)

    def normalized(by):
        return (plain - torch.tensor(by.mean)[:, None, None]) / torch.tensor(by.std)[:, None, None]

    # Two roundings of float32 more.
    assert torch.allclose(ours.converted(normalized(ours), OTHER), normalized(OTHER), atol=1e-5)
    assert torch.allclose(OTHER.converted(normalized(OTHER), ours), normalized(ours), atol=1e-5)
    assert torch.equal(ours.converted(plain, ours), plain)


def test_rescaling_puts_channels_into_the_other_order():
    ours, theirs = Normalization((0.5,) * 3, (0.5,) * 3), Normalization((0.0,) * 3, (1.0,) * 3, is_bgr=True)
    plain = torch.rand(2, 6, 3, 8, 8)
    assert torch.allclose(ours.converted(2 * plain - 1, theirs), plain.flip(-3), atol=1e-6)
    assert torch.allclose(theirs.converted(plain.flip(-3), ours), 2 * plain - 1, atol=1e-6)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_a_student_gets_pixels_in_its_own_normalisation(kind, teacher, images, make_vit):
    model = (make_vit() if kind == "sparse" else make_vit(patch_size=16)).eval()
    patches, kept = cut(teacher, images)
    rescaled = teacher.normalization.converted(patches, OTHER)
    with torch.no_grad():
        expected = make_student(model, teacher).forward(model, rescaled, kept).logits
        student = make_student(model, teacher, OTHER)
        assert torch.equal(student.forward(model, patches, kept).logits, expected)
        if kind == "sparse":
            summary = student.summarize(patches, kept)
            assert torch.allclose(student.forward_summary(model, summary).logits, expected, atol=1e-5)


def test_a_teacher_that_is_another_student_can_be_taught_from(images):
    """Teachers of several prefix tokens cut and count their patches as a ViT does."""
    torch.manual_seed(0)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    teacher = Teacher.from_model(FAMILIES["dinov2_with_registers"](), processor)
    assert isinstance(make_student(FAMILIES["deit with two heads"](), teacher), SparseStudent)


@pytest.mark.parametrize("image_size", [None, (48, 64)])
def test_a_dense_student_learns_in_the_size_that_its_image_processor_makes(image_size, teacher, images):
    model = make_resnet().eval()
    seen = []
    model.register_forward_hook(
        lambda module, arguments, options, output: seen.append(options["pixel_values"].shape[2:]), with_kwargs=True
    )
    make_student(model, teacher, image_size=image_size).forward(model, *cut(teacher, images))
    assert seen == [image_size or (32, 32)]
