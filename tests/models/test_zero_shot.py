"""Zero-shot heads: what the text tower makes of labels."""

import pytest
import torch
from family_kinds import LABELS
from towers import TOWER, save

from smi_hf import UsageError, load_teacher
from smi_hf.models.embeddings import Reading
from smi_hf.models.loading import find_checkpoint, read_config
from smi_hf.models.references import ZERO_SHOT
from smi_hf.models.zero_shot import zero_shot_head

READING = Reading("image_embeds", "given")


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return save(TOWER, tmp_path_factory.mktemp("tower"))


def head_of(folder, labels=LABELS, **options):
    source = find_checkpoint(str(folder))
    return zero_shot_head(source, read_config(source), READING, labels, **options)


def test_scale_and_names_are_the_models(tower):
    from transformers import AutoModel

    head = head_of(tower)
    assert (head.kind, head.names, head.reading) == (ZERO_SHOT, LABELS, READING)
    assert head.scale == pytest.approx(float(AutoModel.from_pretrained(tower).logit_scale.detach().exp()))
    assert head.bias == 0
    torch.testing.assert_close(head.directions_LD.norm(dim=1), torch.ones(4))


def test_a_file_of_texts_is_read(tower, tmp_path):
    (tmp_path / "labels.txt").write_text("cat\ta photo of a cat.\ndog\n", encoding="utf-8")
    head = head_of(tower, [str(tmp_path / "labels.txt")], prompts=["a photo of a {}."])
    assert torch.equal(head.directions_LD, head_of(tower, ["cat", "dog"]).directions_LD)


def test_a_siglip_has_a_bias(tmp_path):
    from transformers import AutoModel

    save("siglip-tower", tmp_path)
    model = AutoModel.from_pretrained(tmp_path)
    model.logit_bias.data.fill_(-3)
    model.save_pretrained(tmp_path)
    head = load_teacher(str(tmp_path), labels=LABELS).model.head
    assert head.bias == -3 and head.prompts[0] == ("This is a photo of cat.",)


def test_a_tokenizer_of_another_model_is_one_sentence(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    save(TOWER, tmp_path)
    words = {word: number + 10_000 for number, word in enumerate(("a", "photo", "of", "<unknown>"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="a", unk_token="<unknown>").save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"fails on what its tokenizer makes.*the two are of different models"):
        head_of(tmp_path)


def test_labels_that_the_tokenizer_does_not_tell_apart_are_refused(tower):
    with pytest.raises(UsageError, match="gives the labels 'zebra' and 'gnu' the same embedding"):
        head_of(tower, ["cat", "zebra", "gnu"])
