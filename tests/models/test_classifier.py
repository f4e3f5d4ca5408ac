"""Image classifiers of any family."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ResNetModel,
    SwinConfig,
    SwinForImageClassification,
    ViTImageProcessor,
)

from smi_hf import UsageError
from smi_hf.models import License, load_classifier
from smi_hf.models.classifier import weights_sha256

MODELS = {
    "resnet": lambda: ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=5)
    ),
    "convnext": lambda: ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=5)
    ),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(
            image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, num_labels=5
        )
    ),
}


@pytest.fixture
def save(tmp_path):
    def write(model, processor=None):
        folder = tmp_path / "model"
        model.save_pretrained(folder)
        (processor or ViTImageProcessor(size={"height": 32, "width": 32})).save_pretrained(folder)
        return folder

    return write


@pytest.mark.parametrize("family", MODELS)
def test_a_classifier_of_any_family_is_loaded_as_it_was_saved(save, family):
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    folder = save(model, ConvNextImageProcessor(size={"shortest_edge": 32}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    loaded = load_classifier(str(folder))
    assert (loaded.name, loaded.revision, loaded.license) == ("model", None, License("mit"))
    assert loaded.label_names == [f"LABEL_{label}" for label in range(5)]
    assert not loaded.model.training
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(loaded.model(pixels).logits, model(pixels).logits)


def test_a_vit_is_one_too(tiny_checkpoint):
    assert load_classifier(str(tiny_checkpoint)).name == "tiny-vit"


def test_half_precision_weights_are_loaded_in_float32(save):
    loaded = load_classifier(str(save(MODELS["resnet"]().to(torch.bfloat16))))
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}


def test_a_configuration_that_asks_for_tuples_is_answered_all_the_same(save):
    folder = save(MODELS["resnet"]())
    values = json.loads((folder / "config.json").read_text()) | {"return_dict": False}
    (folder / "config.json").write_text(json.dumps(values))
    assert load_classifier(str(folder)).model(torch.zeros(1, 3, 32, 32)).logits.shape == (1, 5)


def test_a_checkpoint_without_a_head_is_refused(save):
    folder = save(ResNetModel(MODELS["resnet"]().config))
    with pytest.raises(UsageError, match=r"has no weights for classifier\..*; without a trained classification head"):
        load_classifier(str(folder))


def test_a_pickle_is_refused_unless_trusted(save):
    model = MODELS["resnet"]()
    folder = save(model)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(UsageError, match="has its weights as a pickle only, which can run any code when loaded"):
        load_classifier(str(folder))
    assert load_classifier(str(folder), allow_pickle=True).name == "model"


def test_a_quantized_checkpoint_is_refused(save):
    folder = save(MODELS["resnet"]())
    values = json.loads((folder / "config.json").read_text()) | {"quantization_config": {"quant_method": "quanto"}}
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(UsageError, match=r"is quantized already \(quantization_config, method quanto\)"):
        load_classifier(str(folder))


def test_one_label_is_refused(save):
    model = ResNetForImageClassification(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_labels=1))
    with pytest.raises(UsageError, match="the model has 1 label, but a classifier chooses among at least 2"):
        load_classifier(str(save(model)))


def test_a_checkpoint_without_an_image_processor_is_refused(save):
    folder = save(MODELS["resnet"]())
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match=r"has no image processor that loads \(preprocessor_config\.json\)"):
        load_classifier(str(folder))


def test_a_reference_names_the_folder_and_the_weights(save):
    first = load_classifier(str(save(MODELS["resnet"]()))).reference()
    assert first.model_type == "resnet" and "/" not in first.name and first.revision is None
    again = load_classifier(str(save(MODELS["resnet"]())))
    with torch.no_grad():
        next(again.model.parameters()).add_(1)
    assert len(first.weights_sha256) == 64
    assert again.reference().weights_sha256 != first.weights_sha256


# The digest of the weights


def test_a_digest_of_weights_changes_with_value_place_and_type_and_not_with_a_copy(make_vit):
    model = make_vit()
    digest = weights_sha256(model)
    assert weights_sha256(make_vit()) == weights_sha256(model.eval()) == digest
    changed = make_vit()
    with torch.no_grad():
        changed.classifier.bias[0] += 1
    moved = make_vit()
    layers = [module.weight for name, module in moved.named_modules() if name.endswith("layernorm_before")]
    layers[0].data, layers[1].data = layers[1].data, layers[0].data
    others = [changed, moved, make_vit().half(), make_vit().vit]
    assert len({digest, *map(weights_sha256, others)}) == 5


def test_a_digest_tells_apart_equal_bytes_of_other_types_and_shapes():
    def holding(values):
        module = torch.nn.Module()
        module.register_buffer("values", values)
        return module

    values = torch.arange(4.0)
    others = [values, values.view(torch.int32), values.view(2, 2)]
    assert len({weights_sha256(holding(each)) for each in others}) == 3


DIGESTS = {
    "ViTForImageClassification": "f6fbf55b9b9bafbd",
    "DeiTForImageClassification": "0c892e7b96f5ba8a",
    "ViTMSNForImageClassification": "f6fbf55b9b9bafbd",
    "Dinov2ForImageClassification": "cd23f1ed57d2511b",
    "Dinov2WithRegistersForImageClassification": "41053a836ef0aae9",
}


@pytest.mark.parametrize("name", DIGESTS)
def test_the_digest_is_the_same_under_every_version_of_transformers(tiny, tmp_path, name):
    classifier = getattr(transformers, name)
    classifier(classifier.config_class(**tiny)).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    # transformers 5 leaves out the prefix of some names of a ViT-MSN.
    for number, key in enumerate(sorted(weights, key=lambda key: key.removeprefix("vit."))):
        weights[key] = (torch.arange(weights[key].numel()) / 1024 + number).reshape(weights[key].shape)
    save_file(weights, path, metadata={"format": "pt"})
    assert weights_sha256(classifier.from_pretrained(tmp_path))[:16] == DIGESTS[name]
