import pytest
import torch
from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher, Dinov2Config, Dinov2ForImageClassification

from smi_hf.errors import UsageError
from smi_hf.models import SparseClassifier
from smi_hf.models.blocks import find_blocks, first_block_inputs


@pytest.fixture(params=["vit", "deit", "dinov2"])
def model(request, tiny, make_vit, with_large_weights) -> SparseClassifier:
    if request.param == "vit":
        return SparseClassifier(make_vit())
    torch.manual_seed(0)
    sizes = tiny | {"image_size": 32, "patch_size": 8}
    if request.param == "deit":
        made = DeiTForImageClassificationWithTeacher(DeiTConfig(**sizes))
    else:
        del sizes["intermediate_size"]
        made = Dinov2ForImageClassification(Dinov2Config(**sizes, mlp_ratio=2))
    return SparseClassifier(with_large_weights(made))


@pytest.fixture
def batches() -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    kept = torch.tensor([[0, 3, 7, 8, 15], [1, 2, 3, 9, 10], [0, 4, 5, 6, 12]])
    pixels = torch.randn(3, 3, 32, 32, generator=generator)
    return [(pixels[:2], kept[:2]), (pixels[2:], kept[2:])]


def test_block_by_block_is_what_the_whole_forward_gives(model, batches):
    inputs = list(first_block_inputs(model, batches))
    blocks = find_blocks(model)
    assert len(inputs) == 2
    assert len(blocks) == model.config.num_hidden_layers
    for (pixels, kept), each in zip(batches, inputs):
        with torch.no_grad():
            states = model(pixels, kept, output_hidden_states=True).hidden_states
        assert torch.equal(each.hidden_BTD, states[0])
        for number, block in enumerate(blocks[:-1]):
            each.advance(block)
            assert torch.allclose(each.hidden_BTD, states[number + 1], atol=1e-5)


def test_looking_does_not_advance(model, batches):
    (first, *_) = first_block_inputs(model, batches)
    before = first.hidden_BTD.clone()
    assert not torch.allclose(first.through(find_blocks(model)[0]), before)
    assert torch.equal(first.hidden_BTD, before)


def test_nothing_behind_the_first_block_is_run_and_no_hook_stays(model, batches):
    block = find_blocks(model)[0]
    run = []
    handle = block.register_forward_hook(lambda *_: run.append(1))
    list(first_block_inputs(model, batches))
    handle.remove()
    assert not run
    assert not block._forward_pre_hooks


def test_a_model_without_a_list_of_blocks_is_refused(make_vit):
    model = SparseClassifier(make_vit())
    model.config.num_hidden_layers = 7
    with pytest.raises(UsageError, match="no list of 7 blocks"):
        find_blocks(model)
