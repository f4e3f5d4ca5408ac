"""Towers and backbones become classifiers of what was asked for; what cannot is one sentence."""

import json

import pytest
import torch
from family_kinds import KINDS, LABELS
from towers import BACKBONE, TOWER, save
from transformers import AutoModel, CLIPModel

from smi_hf import UsageError, load_teacher
from smi_hf.models import EmbeddingHead
from smi_hf.models.embeddings import HEAD_FILE
from smi_hf.models.references import ZERO_SHOT


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return save(TOWER, tmp_path_factory.mktemp("tower"))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return save(BACKBONE, tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def tower_alone(tmp_path_factory):
    """The image tower of a CLIP, saved without its texts."""
    return save("clip_vision_model", tmp_path_factory.mktemp("alone"))


def random_pixels() -> torch.Tensor:
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_zero_shot_head_gives_the_logits_of_stock_clip(tower):
    from transformers import AutoTokenizer

    teacher = load_teacher(str(tower), labels=LABELS)
    texts = AutoTokenizer.from_pretrained(tower)(
        [f"a photo of a {name}." for name in LABELS], padding=True, return_tensors="pt", return_token_type_ids=False
    )
    with torch.no_grad():
        stock_BL = CLIPModel.from_pretrained(tower)(**texts, pixel_values=random_pixels()).logits_per_image
        ours_BL = teacher.model(random_pixels()).logits
    torch.testing.assert_close(ours_BL, stock_BL, atol=1e-3, rtol=1e-4)
    assert teacher.label_names == list(LABELS) and teacher.model.head.kind == ZERO_SHOT


def test_texts_of_several_templates_are_averaged(tower):
    one = load_teacher(str(tower), labels=LABELS, prompts=["a {}"]).model.head
    two = load_teacher(str(tower), labels=LABELS, prompts=["the {}"]).model.head
    both = load_teacher(str(tower), labels=LABELS, prompts=["a {}", "the {}"]).model.head
    mean_LD = torch.nn.functional.normalize(one.directions_LD + two.directions_LD, dim=1)
    torch.testing.assert_close(both.directions_LD, mean_LD)


def test_only_the_image_tower_is_held_and_says_which_class_it_is(tower):
    model = load_teacher(str(tower), labels=LABELS).model.model
    assert type(model).__name__ == "CLIPVisionModelWithProjection"
    assert model.config.architectures == ["CLIPVisionModelWithProjection"]
    assert not [name for name, _ in model.named_parameters() if "text" in name]


@pytest.mark.parametrize("kind", ["random", "orthogonal", "scenes"])
def test_directions_need_no_texts(backbone, tower_alone, kind):
    for folder in (backbone, tower_alone):
        head = load_teacher(str(folder), directions=3, directions_from=kind).model.head
        assert (len(head.names), head.kind) == (3, kind)
        again = load_teacher(str(folder), directions=3, directions_from=kind).model.head
        assert again.sha256() == head.sha256()


def test_a_head_beside_the_checkpoint_is_found(backbone, tmp_path):
    head = load_teacher(str(backbone), directions=3).model.head
    model = AutoModel.from_pretrained(backbone)
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text((backbone / "preprocessor_config.json").read_text())
    head.save(tmp_path)
    assert load_teacher(str(tmp_path)).model.head.sha256() == head.sha256()


@pytest.mark.parametrize("of_file", [True, False])
def test_a_head_may_be_named_by_its_file_or_folder(backbone, tmp_path, of_file):
    head = load_teacher(str(backbone), directions=3).model.head
    path = head.save(tmp_path)
    given = load_teacher(str(backbone), head=path if of_file else tmp_path).model.head
    assert given.sha256() == EmbeddingHead.load(path).sha256() == head.sha256()


def test_a_head_for_embeddings_of_another_size_is_refused(backbone, tower_alone, tmp_path):
    head = load_teacher(str(backbone), directions=3).model.head
    wrong = EmbeddingHead(torch.randn(3, 7), ["a", "b", "c"], head.reading, kind="random")
    with pytest.raises(UsageError, match=r"for embeddings of 7 numbers .* gives 24 .*make a head for this model"):
        load_teacher(str(backbone), head=wrong)
    wrong.save(tmp_path)
    with pytest.raises(UsageError, match="for embeddings of 7 numbers"):
        load_teacher(str(backbone), head=tmp_path / HEAD_FILE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "has no classification head.*labels, names that its text tower reads, or directions"),
        ({"labels": LABELS, "directions": 3}, "labels and directions are different ways"),
        ({"prompts": ["a {}"]}, "prompts say how labels are written out, but there are no labels"),
        ({"directions_from": "scenes"}, "directions_from says where directions come from, but there are none"),
        ({"directions": 3, "directions_from": "scense"}, "scense.*did you mean 'scenes'"),
        ({"labels": ["cat", "cat"]}, "the label 'cat' comes twice"),
        ({"labels": ["cat", "dog"], "prompts": ["a photo."]}, "has no {} where the name of a label goes"),
        ({"labels": ["cat", " "]}, "empty name"),
        ({"labels": ["cat"]}, "at least two"),
    ],
)
def test_what_asks_for_no_classifier_is_one_sentence(tower, options, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_teacher(str(tower), **options)
    assert "\n" not in str(caught.value)


def test_a_tower_without_its_text_side_compares_no_labels(tower_alone, backbone):
    for folder in (tower_alone, backbone):
        with pytest.raises(UsageError, match=r"has no text tower.*directions instead of labels"):
            load_teacher(str(folder), labels=LABELS)
        with pytest.raises(UsageError, match=r"say what is to be told apart: directions.*labels cannot be compared"):
            load_teacher(str(folder))


def test_a_tower_without_its_tokenizer_says_how_to_save_one(tmp_path):
    save(TOWER, tmp_path)
    for file in tmp_path.glob("*token*"):
        file.unlink()
    # transformers 5 makes one that knows no word.
    with pytest.raises(UsageError, match=r"tokenizer.*save.*beside the weights with tokenizer\.save_pretrained"):
        load_teacher(str(tmp_path), labels=LABELS)


def test_a_model_type_that_nobody_knows_is_refused_with_what_is_served(tmp_path):
    save(BACKBONE, tmp_path, model_type="dinov9", architectures=["DinoV9Model"])
    with pytest.raises(UsageError, match="dinov9"):
        load_teacher(str(tmp_path), directions=3)


def test_a_backbone_of_no_family_is_refused_with_those_that_are_served(tmp_path):
    KINDS["swin"].save(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "architectures": ["SwinModel"]}))
    with pytest.raises(UsageError, match=r"'swin' is not served as that.*dinov2"):
        load_teacher(str(tmp_path), directions=3)
