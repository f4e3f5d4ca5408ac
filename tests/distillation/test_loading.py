"""Students as they are loaded and made: weights, head, image processor, origin."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, BertConfig, ViTImageProcessor

from smi_hf import UsageError
from smi_hf.distillation import StudentModel, StudentOrigin, load_student
from smi_hf.distillation.loading import head_modules

OURS = [f"LABEL_{label}" for label in range(5)]
AS_MANY = ["cat", "dog", "owl", "fox", "bee"]
FEWER = ["cat", "dog", "owl"]


@pytest.fixture
def saved(make_vit, tmp_path):
    """Writes a ViT whose labels have these names, and returns its path."""

    def save(names=OURS, **changes):
        model = make_vit(num_labels=len(names), **changes)
        model.config.id2label = dict(enumerate(names))
        model.config.label2id = {name: label for label, name in enumerate(names)}
        model.save_pretrained(tmp_path / "student")
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "student")
        return str(tmp_path / "student")

    return save


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def backbone(model):
    return {name: value for name, value in weights(model).items() if not name.startswith("classifier")}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


# The head


@pytest.mark.parametrize("names", [OURS, [name.lower() for name in OURS], [OURS[0].title(), *OURS[1:]]])
def test_a_student_of_the_teachers_labels_keeps_its_head_in_whatever_case(names, saved, teacher):
    path = saved(names)
    expected = AutoModelForImageClassification.from_pretrained(path)
    for replace_head in (True, False):
        student = load_student(path, teacher, replace_head=replace_head)
        assert equal(weights(student.model), weights(expected))
        assert not student.origin.has_new_head
        assert student.model.config.id2label == dict(enumerate(OURS))


@pytest.mark.parametrize("names", [FEWER, AS_MANY, OURS[::-1]], ids=["fewer", "as many", "in another order"])
def test_a_student_of_other_labels_gets_a_new_head_and_keeps_its_backbone(names, saved, teacher):
    path = saved(names)
    before = AutoModelForImageClassification.from_pretrained(path)
    student = load_student(path, teacher)
    assert student.origin.has_new_head
    assert equal(backbone(student.model), backbone(before))
    assert student.model.classifier.weight.shape == (5, 24)
    assert student.model.config.id2label == dict(enumerate(OURS))
    assert student.model.config.label2id == {name: label for label, name in enumerate(OURS)}
    # Not a row of the old head has stayed.
    rows = {tuple(row) for row in before.classifier.weight.tolist()}
    assert not rows & {tuple(row) for row in student.model.classifier.weight.tolist()}
    assert student.model.classifier.weight.std() > 0


@pytest.mark.parametrize(("names", "count"), [(AS_MANY, "5 of its 5"), ([*OURS[:4], "bee"], "1 of its 5")])
def test_a_log_line_says_how_many_labels_differ_where_a_head_is_replaced(names, count, saved, teacher, caplog):
    with caplog.at_level(logging.INFO, "smi_hf"):
        load_student(saved(names), teacher)
    assert f"is replaced by a new one: {count} labels are not the teacher's 5" in caplog.text


def test_a_checkpoint_without_a_head_gets_one_that_the_seed_decides(saved, teacher):
    path = saved()
    file = f"{path}/model.safetensors"
    headless = {name: value for name, value in load_file(file).items() if not name.startswith("classifier")}
    save_file(headless, file, metadata={"format": "pt"})
    first, same, other = (load_student(path, teacher, seed=seed) for seed in (0, 0, 1))
    assert first.origin.has_new_head
    assert equal(weights(first.model), weights(same.model))
    assert not torch.equal(first.model.classifier.weight, other.model.classifier.weight)


def test_a_checkpoint_that_lacks_weights_of_its_backbone_is_refused(saved, teacher):
    path = saved()
    file = f"{path}/model.safetensors"
    values = load_file(file)
    name = next(name for name in values if "position_embeddings" in name)
    save_file({key: value for key, value in values.items() if key != name}, file, metadata={"format": "pt"})
    with pytest.raises(UsageError, match=r"it has no weights that fit .*position_embeddings"):
        load_student(path, teacher)


@pytest.mark.parametrize("names", [FEWER, AS_MANY], ids=["fewer", "as many"])
def test_the_seed_decides_about_a_new_head_and_the_callers_random_state_is_left_alone(names, saved, teacher):
    path = saved(names)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, same, other = (load_student(path, teacher, seed=seed).model for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert equal(weights(first), weights(same))
    assert not torch.equal(first.classifier.weight, other.classifier.weight)
    assert equal(backbone(first), backbone(other))


def test_a_new_head_may_be_forbidden(saved, teacher):
    with pytest.raises(
        UsageError, match=r"student .* has 3 labels \('cat', \.\.\.\), its teacher 5 \('LABEL_0', "
    ) as e:
        load_student(saved(FEWER), teacher, replace_head=False)
    assert "--replace_head true" in str(e.value) and "\n" not in str(e.value)


def test_a_model_that_is_all_backbone_is_refused(make_vit, monkeypatch):
    model = make_vit()
    monkeypatch.setattr(type(model), "base_model_prefix", "")
    with pytest.raises(UsageError, match="ViTForImageClassification has no layer outside its backbone"):
        head_modules(model)


# From scratch


def test_from_scratch_takes_the_architecture_alone(saved, teacher):
    path = saved(FEWER)
    before = AutoModelForImageClassification.from_pretrained(path)
    first, same, other = (load_student(path, teacher, from_scratch=True, seed=seed).model for seed in (0, 0, 1))
    assert equal(weights(first), weights(same))
    for name in ("vit.embeddings.patch_embeddings.projection.weight", "classifier.weight"):
        assert not torch.equal(first.state_dict()[name], other.state_dict()[name])
        assert not torch.equal(first.state_dict()[name][:3], before.state_dict()[name][:3])
    assert first.config.hidden_size == 24 and first.num_labels == 5


@pytest.mark.parametrize("from_scratch", [True, False])
@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_student_is_in_float32_whatever_its_checkpoint_says(from_scratch, kind, saved, teacher, tmp_path):
    path = saved()
    AutoModelForImageClassification.from_pretrained(path).to(getattr(torch, kind)).save_pretrained(path)
    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert kind in (config.get("dtype"), config.get("torch_dtype"))
    model = load_student(path, teacher, from_scratch=from_scratch).model
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_configuration_alone_is_enough_from_scratch_and_gets_the_teachers_image_processor(
    saved, teacher, tmp_path, caplog
):
    path = saved()
    for name in ("model.safetensors", "preprocessor_config.json"):
        (tmp_path / "student" / name).unlink()
    with caplog.at_level(logging.INFO, "smi_hf"):
        student = load_student(path, teacher, from_scratch=True)
    assert student.image_processor.to_dict() == teacher.image_processor.to_dict()
    assert "has no image processor and gets the teacher's" in caplog.text
    with pytest.raises(UsageError, match=r"student .* cannot be loaded"):
        load_student(path, teacher)


# Where it comes from


@pytest.mark.parametrize("from_scratch", [True, False])
def test_a_student_says_where_it_comes_from_without_a_path(from_scratch, saved, teacher, tmp_path):
    path = saved(AS_MANY)
    (tmp_path / "student" / "README.md").write_text("---\nlicense: mit\n---\n")
    origin = load_student(path, teacher, from_scratch=from_scratch).origin
    assert (origin.name, origin.revision, origin.license.id) == ("student", None, "mit")
    assert (origin.from_scratch, origin.has_new_head) == (from_scratch, True)


@pytest.mark.parametrize("from_scratch", [True, False])
def test_another_student_of_the_kind_is_what_loading_with_its_seed_gives(from_scratch, saved, teacher):
    path = saved(AS_MANY)
    first = load_student(path, teacher, from_scratch=from_scratch, seed=5)
    for run in (0, 1, 2):
        expected = load_student(path, teacher, from_scratch=from_scratch, seed=5 + run).model
        another = first.another(run)
        assert equal(weights(another.model), weights(expected))
        assert another.model is not first.model and another.seed == 5 + run


def test_another_of_a_student_that_drew_nothing_is_a_copy(make_vit, image_processor):
    student = StudentModel(make_vit(), image_processor)
    assert student.origin == StudentOrigin(name=None)
    another = student.another(3)
    assert equal(weights(another.model), weights(student.model)) and another.model is not student.model


def test_a_student_whose_layers_were_changed_makes_no_other_one(saved, teacher):
    student = load_student(saved(), teacher, from_scratch=True)
    student.model.classifier = torch.nn.Linear(24, 5, bias=False)
    assert equal(weights(student.another().model), weights(student.model))
    with pytest.raises(UsageError, match="layers were changed after load_student"):
        student.another(1)


# What cannot be loaded


def test_what_is_no_classifier_is_refused_in_one_sentence(teacher, tmp_path):
    BertConfig().save_pretrained(tmp_path)
    ViTImageProcessor().save_pretrained(tmp_path)
    for from_scratch in (False, True):
        with pytest.raises(UsageError, match=r"student .* cannot be loaded") as error:
            load_student(str(tmp_path), teacher, from_scratch=from_scratch)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="there is no folder"):
        load_student(str(tmp_path / "nowhere" / "at" / "all"), teacher)


def test_a_pickle_is_not_loaded(saved, teacher, tmp_path):
    path = saved()
    torch.save(load_file(f"{path}/model.safetensors"), tmp_path / "student" / "pytorch_model.bin")
    (tmp_path / "student" / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"student .* cannot be loaded"):
        load_student(path, teacher)


def test_python_of_a_checkpoint_is_not_run(saved, teacher, tmp_path):
    path = saved()
    file = tmp_path / "student" / "config.json"
    ran = tmp_path / "ran"
    config = json.loads(file.read_text())
    config |= {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Theirs"}}
    file.write_text(json.dumps(config))
    (tmp_path / "student" / "theirs.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(UsageError) as error:
        load_student(path, teacher)
    assert "\n" not in str(error.value) and not ran.exists()


def test_damaged_weights_are_one_sentence(saved, teacher, tmp_path):
    path = saved()
    file = tmp_path / "student" / "model.safetensors"
    shutil.copy(file, tmp_path / "whole")
    for content in (b"", file.read_bytes()[:200], b"\0" * 300):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"student .* cannot be loaded") as error:
            load_student(path, teacher)
        assert "\n" not in str(error.value)
