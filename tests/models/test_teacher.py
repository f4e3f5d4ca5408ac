"""Loading a teacher: what is read off a checkpoint, and every reason to refuse one."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2ForImageClassification,
    ResNetConfig,
    ViTForImageClassification,
    ViTModel,
)

from smi_hf.errors import UsageError
from smi_hf.models import DenseClassifier, SparseClassifier, Teacher, load_teacher
from smi_hf.patches import PatchGrid


@pytest.fixture
def save(tmp_path, make_vit, make_processor) -> Callable[..., Path]:
    """Writes a checkpoint and returns its folder: the tiny ViT and its processor unless told otherwise."""

    def write(name: str = "tiny-vit", *, model=None, processor=None) -> Path:
        folder = tmp_path / name
        (model or make_vit()).save_pretrained(folder)
        (processor or make_processor()).save_pretrained(folder)
        return folder

    return write


def pickle_the_weights(folder: Path, model: torch.nn.Module) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def edit_json(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refused(message: str):
    return pytest.raises(UsageError, match=re.escape(message))


# What is read


def test_a_good_checkpoint_is_ready_to_be_inverted(save, make_vit):
    teacher = load_teacher(str(save()))
    assert teacher.name == "tiny-vit"
    assert teacher.revision is None
    assert teacher.model.grid.image_size == (32, 32)
    assert teacher.model.grid.num_patches == 16
    assert not any(module.training for module in teacher.model.modules())
    assert not any(weight.requires_grad for weight in teacher.model.parameters())
    pixels_1CHW = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected_1L = make_vit()(pixels_1CHW).logits
    # Float32 rounding of logits up to 5.
    torch.testing.assert_close(teacher.model(pixels_1CHW).logits, expected_1L, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("write", ["{folder}", "{folder}/", "{folder}/../tiny-vit", "./tiny-vit", "tiny-vit"])
def test_the_name_of_a_local_checkpoint_is_its_folders_and_never_a_path(save, monkeypatch, write):
    folder = save()
    monkeypatch.chdir(folder.parent)
    assert load_teacher(write.format(folder=folder)).name == "tiny-vit"


def test_the_name_of_the_current_folder_is_its_own(save, monkeypatch):
    monkeypatch.chdir(save())
    assert load_teacher(".").name == "tiny-vit"


def test_a_loaded_model_is_named_after_its_folder_even_when_that_is_gone(save, make_processor):
    folder = save()
    model = ViTForImageClassification.from_pretrained(folder)
    assert Teacher.from_model(model, make_processor()).name == "tiny-vit"
    shutil.rmtree(folder)
    assert Teacher.from_model(model, make_processor()).name == "tiny-vit"


def test_a_loaded_model_may_be_given_a_name_and_a_revision(make_vit, make_processor):
    teacher = Teacher.from_model(make_vit(), make_processor(), name="me/my-vit", revision="abc")
    assert (teacher.name, teacher.revision) == ("me/my-vit", "abc")
    assert Teacher.from_model(make_vit(), make_processor()).name == "vit"


def test_a_sparse_classifier_may_stand_for_its_model(make_vit, make_processor):
    model = make_vit()
    assert Teacher.from_model(SparseClassifier(model), make_processor()).model.model is model


def test_labels_have_the_checkpoints_names_in_the_order_of_the_labels(make_vit, make_processor):
    names = {2: "cat", 0: "dog", 1: "fish", 4: "owl", 3: "rat"}
    model = make_vit(id2label=names, label2id={name: label for label, name in names.items()})
    assert Teacher.from_model(model, make_processor()).label_names == ["dog", "fish", "cat", "rat", "owl"]


@pytest.mark.parametrize(
    ("changes", "mean", "std"),
    [
        (
            {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
            (0.485, 0.456, 0.406),
            (0.229, 0.224, 0.225),
        ),
        ({}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ({"image_mean": 0.4, "image_std": 0.2}, (0.4, 0.4, 0.4), (0.2, 0.2, 0.2)),
        ({"do_normalize": False}, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    ],
)
def test_the_normalisation_is_that_of_the_image_processor(make_vit, make_processor, changes, mean, std):
    normalization = Teacher.from_model(make_vit(), make_processor(**changes)).normalization
    assert (normalization.mean, normalization.std) == (mean, std)


def test_the_normalisation_survives_saving_and_loading(save, make_processor):
    folder = save(processor=make_processor(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]))
    normalization = load_teacher(str(folder)).normalization
    assert (normalization.mean, normalization.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_our_normalised_pixels_are_those_of_the_image_processor(make_vit, make_processor):
    image_HWC = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    processor = make_processor(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    normalization = Teacher.from_model(make_vit(), processor).normalization
    expected_CHW = torch.as_tensor(processor(image_HWC.numpy(), return_tensors="np")["pixel_values"][0])
    # Float32 rounding of values up to 3.
    torch.testing.assert_close(normalization.from_uint8(image_HWC.permute(2, 0, 1)), expected_CHW, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_are_loaded_in_float32(save, make_vit, dtype):
    """transformers 5 would keep their type, 4 would not: the same checkpoint would give other images."""
    teacher = load_teacher(str(save(model=make_vit().to(dtype))))
    assert {weight.dtype for weight in teacher.model.parameters()} == {torch.float32}


# The digest of the weights


def test_the_digest_is_the_same_after_saving_and_loading_and_changes_with_one_weight(save, make_vit, make_processor):
    model = make_vit()
    digest = Teacher.from_model(model, make_processor()).weights_sha256()
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert load_teacher(str(save(model=model))).weights_sha256() == digest
    with torch.no_grad():
        model.classifier.bias[3] += 1e-6
    assert Teacher.from_model(model, make_processor()).weights_sha256() != digest


def test_the_digest_tells_apart_equal_bytes_of_other_shapes(make_vit, make_processor):
    square, flat = make_vit(patch_size=8), make_vit(patch_size=[4, 16])
    with torch.no_grad():
        for of_square, of_flat in zip(square.parameters(), flat.parameters()):
            of_flat.copy_(of_square.reshape(of_flat.shape))
    digests = {Teacher.from_model(model, make_processor()).weights_sha256() for model in (square, flat)}
    assert len(digests) == 2


def test_the_digest_does_not_change_by_freezing_or_by_a_scoring_pass(make_vit, make_processor):
    teacher = Teacher.from_model(make_vit(), make_processor())
    digest = teacher.weights_sha256()
    every_1N = teacher.model.grid.all_patches(1)
    teacher.model.patch_attention(teacher.model.grid.cut(torch.zeros(1, 3, 32, 32)), every_1N)
    teacher.model.freeze()
    assert teacher.weights_sha256() == digest


# Image sizes


def test_a_processor_of_another_size_is_refused_with_both_sizes_and_the_way_out(save, make_processor):
    folder = save(processor=make_processor(48))
    message = (
        "the image processor makes images of 48x48 px, but the model takes 32x32; mend preprocessor_config.json, or "
        "pass --image_size 48 48 if the model is used with interpolated positions"
    )
    with refused(message):
        load_teacher(str(folder))


@pytest.mark.parametrize("image_size", [[48], [48, 48], (48, 48), 48])
def test_the_size_that_is_asked_for_goes_before_the_processors(save, make_processor, image_size):
    folder = save(processor=make_processor(48))
    assert load_teacher(str(folder), image_size=image_size).model.grid.image_size == (48, 48)


def test_the_models_own_size_may_be_asked_for(save, make_processor):
    folder = save(processor=make_processor(48))
    assert load_teacher(str(folder), image_size=[32]).model.grid.image_size == (32, 32)


def test_height_comes_before_width(make_vit, make_processor):
    teacher = Teacher.from_model(make_vit(), make_processor(), image_size=(48, 32))
    assert teacher.model.grid.image_size == (48, 32)


@pytest.mark.parametrize("image_size", [(32, 32, 32), ()])
def test_an_image_size_of_another_length_is_refused(make_vit, make_processor, image_size):
    with refused(f"image_size takes one side or height and width, but {image_size} was given"):
        Teacher.from_model(make_vit(), make_processor(), image_size=image_size)


def test_an_image_size_that_patches_do_not_tile_is_refused(make_vit, make_processor):
    with refused("image height 30 px is not a positive multiple of the patch height 8 px"):
        Teacher.from_model(make_vit(), make_processor(), image_size=(30,))


def test_a_dinov2_takes_the_size_of_its_processor(tiny, save, with_large_weights):
    model = with_large_weights(Dinov2ForImageClassification(Dinov2Config(**tiny, image_size=56, patch_size=14)))
    processor = BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28})
    teacher = load_teacher(str(save("tiny-dino", model=model, processor=processor)))
    assert teacher.model.grid.image_size == (28, 28)
    pixels_1CHW = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    # Float32 rounding of logits up to 5.
    torch.testing.assert_close(teacher.model(pixels_1CHW).logits, model(pixels_1CHW).logits, rtol=1e-5, atol=1e-5)


def test_a_processor_whose_size_depends_on_the_image_leaves_the_models_size(make_vit):
    processor = BitImageProcessor(size={"shortest_edge": 48}, do_center_crop=False)
    assert Teacher.from_model(make_vit(), processor).model.grid.image_size == (32, 32)


# Families and heads


def test_a_classifier_of_any_kind_is_a_teacher_that_is_shown_whole_images(save, resnet_checkpoint):
    teacher = load_teacher(str(resnet_checkpoint))
    assert isinstance(teacher.model, DenseClassifier) and not teacher.model.is_sparse
    assert teacher.model.grid == PatchGrid(32, 32, 16, 16)
    assert teacher.label_names == [f"LABEL_{label}" for label in range(5)]


def test_a_backbone_of_no_family_is_refused_before_its_weights_are_fetched(tmp_path):
    ResNetConfig(architectures=["ResNetModel"]).save_pretrained(tmp_path)
    with pytest.raises(
        UsageError, match=r"is a ResNetModel without a classification head.*a backbone of beit, .*vit_msn"
    ):
        load_teacher(str(tmp_path), directions=4)


def test_a_checkpoint_without_a_head_is_refused_with_what_to_give(save, make_vit):
    folder = save(model=ViTModel(make_vit().config))
    message = (
        f"model {str(folder)!r} has no classification head, so say what is to be told apart: directions, how many "
        f"targets in its embedding space (64, for instance); it has no text tower, so labels cannot be compared"
    )
    with refused(message):
        load_teacher(str(folder))


def test_labels_and_directions_are_not_for_a_classifier(save):
    folder = save()
    for options in ({"labels": ["cat", "dog"]}, {"directions": 4}):
        with refused("is an image classifier with labels of its own, so labels and directions are not for it"):
            load_teacher(str(folder), **options)


def test_a_classifier_whose_checkpoint_has_no_weights_for_its_head_is_refused(save, make_vit):
    folder = save(model=ViTModel(make_vit().config))
    edit_json(folder / "config.json", architectures=["ViTForImageClassification"])
    with refused("has no weights for classifier.bias, classifier.weight; without a trained classification head"):
        load_teacher(str(folder))


def test_a_loaded_model_without_a_head_is_refused(make_vit, make_processor):
    message = "ViTModel has no classification head, so it tells no classes apart; load the checkpoint"
    with refused(message):
        Teacher.from_model(ViTModel(make_vit().config), make_processor())


def test_one_label_is_refused(save, make_vit):
    with refused("the model has 1 label, but a classifier chooses among at least 2; a regression head cannot be"):
        load_teacher(str(save(model=make_vit(num_labels=1))))


def test_a_model_of_grey_images_is_refused(make_vit, make_processor):
    with refused("the model takes images of 1 channels, but only RGB (3) can be written to a dataset"):
        Teacher.from_model(make_vit(num_channels=1), make_processor())


# Image processors


def test_a_checkpoint_without_an_image_processor_is_refused_with_the_way_to_save_one(save):
    folder = save()
    (folder / "preprocessor_config.json").unlink()
    message = (
        f"model {str(folder)!r} has no image processor that loads (preprocessor_config.json), so its image size and "
        f"normalization are unknown; save one beside the weights with image_processor.save_pretrained(...). "
        f"transformers says: "
    )
    with refused(message):
        load_teacher(str(folder))


def test_a_processor_that_is_no_json_is_refused(save):
    folder = save()
    (folder / "preprocessor_config.json").write_text("{")
    with refused(f"model {str(folder)!r} has no image processor that loads (preprocessor_config.json)"):
        load_teacher(str(folder))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ([0.5, 0.5, 0.5], [0.5, 0.5]),
        ([0.5, 0.5, 0.5], [0.5, 0.0, 0.5]),
        ([0.5] * 4, [0.5] * 4),
        ([0.5], [0.5]),
    ],
)
def test_a_mean_and_std_that_do_not_fit_are_refused(make_vit, make_processor, mean, std):
    with refused(
        f"image mean {tuple(mean)} and std {tuple(std)} must have one value per channel, and std be positive"
    ):
        Teacher.from_model(make_vit(), make_processor(image_mean=mean, image_std=std))


# Broken files


@pytest.mark.parametrize("kept_bytes", [0, 4, 100, 5000])
def test_truncated_weights_are_refused(save, kept_bytes):
    folder = save()
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept_bytes])
    message = (
        f"the weights of model {str(folder)!r} cannot be read; the file is corrupt, truncated or of another model, "
        f"so fetch it again. "
    )
    with refused(message):
        load_teacher(str(folder))


def test_corrupt_weights_are_refused(save):
    folder = save()
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n" * 9)
    with refused(f"the weights of model {str(folder)!r} cannot be read; the file is corrupt, truncated or of another"):
        load_teacher(str(folder))


def test_weights_of_another_shape_are_refused(save):
    folder = save()
    edit_json(folder / "config.json", hidden_size=48)
    with refused(f"the weights of model {str(folder)!r} cannot be read; the file is corrupt, truncated or of another"):
        load_teacher(str(folder))


def test_a_folder_without_weights_is_refused(save):
    folder = save()
    (folder / "model.safetensors").unlink()
    with refused(f"folder {str(folder)!r} has no weights (model.safetensors); is the download complete?"):
        load_teacher(str(folder))


def test_pickled_weights_are_refused_unless_trusted(save, make_vit):
    folder = save()
    digest = load_teacher(str(folder)).weights_sha256()
    pickle_the_weights(folder, make_vit())
    message = (
        f"model {str(folder)!r} has its weights as a pickle only, which can run any code when loaded; convert it to "
        f"safetensors, or pass --allow_pickle if you trust its author"
    )
    with refused(message):
        load_teacher(str(folder))
    assert load_teacher(str(folder), allow_pickle=True).weights_sha256() == digest


def test_safetensors_are_taken_although_a_pickle_lies_beside_them(save):
    folder = save()
    (folder / "pytorch_model.bin").write_bytes(b"not to be opened")
    assert load_teacher(str(folder), allow_pickle=True).name == "tiny-vit"


def test_broken_safetensors_do_not_send_us_to_the_pickle_beside_them(save, make_vit):
    folder = save()
    pickle_the_weights(folder, make_vit())
    (folder / "model.safetensors").write_bytes(b"1234")
    with refused(f"the weights of model {str(folder)!r} cannot be read; the file is corrupt, truncated or of another"):
        load_teacher(str(folder), allow_pickle=True)


@pytest.fixture
def save_in_shards(save, make_vit) -> Callable[[], Path]:
    """Writes a checkpoint of several files, which an index lists."""

    def write() -> Path:
        folder = save()
        (folder / "model.safetensors").unlink()
        make_vit().save_pretrained(folder, max_shard_size="20KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
        return folder

    return write


def test_weights_in_shards_are_loaded(save_in_shards, make_vit, make_processor):
    digest = Teacher.from_model(make_vit(), make_processor()).weights_sha256()
    assert load_teacher(str(save_in_shards())).weights_sha256() == digest


@pytest.mark.parametrize("pickle_beside", [False, True])
def test_a_missing_shard_is_refused_and_does_not_send_us_to_a_pickle(save_in_shards, make_vit, pickle_beside):
    folder = save_in_shards()
    min(folder.glob("model-*.safetensors")).unlink()
    if pickle_beside:
        torch.save(make_vit().state_dict(), folder / "pytorch_model.bin")
    message = f"(weights of model {str(folder)!r} cannot be read|folder {str(folder)!r} has no weights)"
    with pytest.raises(UsageError, match=message):
        load_teacher(str(folder), allow_pickle=True)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half an archive"])
def test_a_corrupt_pickle_is_refused(save, content):
    folder = save()
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with refused(f"the weights of model {str(folder)!r} cannot be read; the file is corrupt, truncated or of another"):
        load_teacher(str(folder), allow_pickle=True)


def test_a_pickle_without_a_head_is_refused(save, make_vit):
    folder = save()
    pickle_the_weights(folder, ViTModel(make_vit().config))
    with refused(f"model {str(folder)!r} has no weights for classifier.bias, classifier.weight; without a trained"):
        load_teacher(str(folder), allow_pickle=True)


@pytest.mark.parametrize("content", ["{", "not JSON at all", ""])
def test_a_configuration_that_is_no_json_is_refused(save, content):
    folder = save()
    (folder / "config.json").write_text(content)
    with refused(f"config.json of model {str(folder)!r} is not valid JSON: "):
        load_teacher(str(folder))


def test_a_configuration_of_no_known_model_type_is_refused(save):
    folder = save()
    edit_json(folder / "config.json", model_type="vit_of_tomorrow")
    with refused("vit_of_tomorrow"):
        load_teacher(str(folder))


# Wrong places


def test_a_folder_without_a_configuration_is_refused(tmp_path):
    with refused(f"folder {str(tmp_path)!r} has no config.json; give a folder that save_pretrained wrote"):
        load_teacher(str(tmp_path))


@pytest.mark.parametrize("path", ["./nowhere", "/nowhere/tiny-vit", "~/nowhere", "out/runs/tiny-vit", "../tiny-vit"])
def test_a_path_to_nothing_is_refused_as_a_path(tmp_path, monkeypatch, path):
    # Beside it lies nothing that could have been meant.
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(UsageError, match=f"^there is no folder {path!r}$"):
        load_teacher(path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_is_refused_as_it_is_no_folder(save, name):
    file = save() / name
    with refused(f"there is no folder {str(file)!r}"):
        load_teacher(str(file))


@pytest.mark.parametrize("name", ["nobody/no-such-model", "no-such-model"])
def test_a_hub_name_without_a_network_is_answered_with_the_name_and_the_way_without_one(monkeypatch, name):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = (
        f"model {name!r} could not be fetched: it is not in the local cache and the Hub could not be reached. Check "
        f"the name and the network; a path to a local folder works without one. transformers says: "
    )
    with refused(message):
        load_teacher(name)


def test_the_revision_that_was_asked_for_is_named(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with refused("model 'nobody/no-such-model' at revision 'v2' could not be fetched"):
        load_teacher("nobody/no-such-model", revision="v2")


@pytest.mark.slow  # huggingface_hub waits half a minute between its retries
def test_a_hub_that_does_not_answer_is_no_traceback(tmp_path):
    """A loopback port that nobody listens on stands for the Hub, so that its refusal is real."""
    script = (
        "from smi_hf import UsageError, load_teacher\n"
        "try:\n    load_teacher('nobody/no-such-model')\n"
        "except UsageError as error:\n    print(error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
    environment = {name: value for name, value in environment.items() if not name.lower().endswith("_proxy")}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=300
    )
    assert "model 'nobody/no-such-model' could not be fetched" in run.stdout
    assert "a path to a local folder works without one" in run.stdout
