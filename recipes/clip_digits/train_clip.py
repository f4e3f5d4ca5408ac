"""Trains a small CLIP on generated digits and their captions, and prints its zero-shot accuracy on held-out ones.

    python recipes/clip_digits/train_clip.py --output_dir out/clip-digits

The image tower begins as the embedded teacher of digits, the text tower from nothing. The loss is CLIP's (Radford et
al., 2021, section 2.3), where captions of one digit in a batch are all right for its images.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    HfArgumentParser,
    PreTrainedTokenizerFast,
    ViTForImageClassification,
    get_cosine_schedule_with_warmup,
)

from smi_hf import load_image_set, load_predictor
from smi_hf.demo import TEACHER_PATH
from smi_hf.demo.digits import IMAGE_SIZE, digits_dataset, generate_digits
from smi_hf.evaluation.run import evaluate

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = ("a photo of a {}.", "a photo of the digit {}.", "the number {}.", "a {}.", "{}")
_SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
_LENGTH = 12


@dataclass
class Arguments:
    """What to train and where to save it."""

    output_dir: Path = field(metadata={"help": "Folder of the checkpoint."})
    num_steps: int = field(default=1500, metadata={"help": "Steps, each with freshly drawn images."})
    batch_size: int = field(default=50, metadata={"help": "Images per step."})
    learning_rate: float = field(default=1e-3, metadata={"help": "Peak of the cosine schedule."})
    seed: int = field(default=0, metadata={"help": "Seed of weights, captions and images."})
    num_test_images: int = field(default=2_000, metadata={"help": "Held-out images of the final accuracy."})


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word of the captions."""
    words = sorted({word for caption in CAPTIONS for word in caption.replace(".", " .").split()} - {"{}"})
    vocabulary = {token: number for number, token in enumerate((*_SPECIAL, *words, *NAMES))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
        model_max_length=_LENGTH,
    )


def build_model(vocabulary_size: int) -> CLIPModel:
    """A CLIP of 0.5 million parameters whose image tower is laid out as the teacher of digits is."""
    encoder = {"num_hidden_layers": 4, "num_attention_heads": 3, "hidden_size": 96, "intermediate_size": 192}
    config = CLIPConfig(
        vision_config={**encoder, "image_size": IMAGE_SIZE, "patch_size": 8, "hidden_act": "gelu"},
        text_config={
            **encoder,
            "num_hidden_layers": 2,
            "hidden_act": "gelu",
            "vocab_size": vocabulary_size,
            "max_position_embeddings": _LENGTH,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        projection_dim=64,
        # The usual 0.02 is meant for widths near 768.
        initializer_factor=2.0,
    )
    return CLIPModel(config)


def take_over(model: CLIPModel, teacher: ViTForImageClassification) -> None:
    """Gives the image tower the teacher's weights, as far as both have them."""
    tower, vit = model.vision_model, teacher.vit
    convolution = vit.embeddings.patch_embeddings.projection
    positions_TD = vit.embeddings.position_embeddings[0].clone()
    # CLIP's patches have no bias, so their places carry it.
    positions_TD[1:] += convolution.bias
    with torch.no_grad():
        tower.embeddings.patch_embedding.weight.copy_(convolution.weight)
        tower.embeddings.class_embedding.copy_(vit.embeddings.cls_token[0, 0])
        tower.embeddings.position_embedding.weight.copy_(positions_TD)
        for theirs, ours in zip(vit.encoder.layer, tower.encoder.layers):
            attention = theirs.attention.attention
            pairs = {
                ours.self_attn.q_proj: attention.query,
                ours.self_attn.k_proj: attention.key,
                ours.self_attn.v_proj: attention.value,
                ours.self_attn.out_proj: theirs.attention.output.dense,
                ours.layer_norm1: theirs.layernorm_before,
                ours.layer_norm2: theirs.layernorm_after,
                ours.mlp.fc1: theirs.intermediate.dense,
                ours.mlp.fc2: theirs.output.dense,
            }
            for mine, other in pairs.items():
                mine.load_state_dict(other.state_dict())


def clip_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor, labels_B: Tensor) -> Tensor:
    """Cross entropy of each image among the captions, and of each caption among the images."""
    logits_BB = scale.exp() * F.normalize(image_BD, dim=1) @ F.normalize(text_BD, dim=1).T
    same_BB = (labels_B[:, None] == labels_B).float()
    targets_BB = same_BB / same_BB.sum(1, keepdim=True)
    return (F.cross_entropy(logits_BB, targets_BB) + F.cross_entropy(logits_BB.T, targets_BB)) / 2


def train(arguments: Arguments) -> None:
    """Trains the model and saves it with tokenizer and image processor."""
    torch.manual_seed(arguments.seed)
    drawn = np.random.default_rng(arguments.seed)
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer))
    take_over(model, ViTForImageClassification.from_pretrained(TEACHER_PATH))
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = get_cosine_schedule_with_warmup(optimizer, arguments.num_steps // 10, arguments.num_steps)
    bar = tqdm(range(arguments.num_steps))
    for step in bar:
        images_BHWC, labels_B = generate_digits(
            "train", arguments.batch_size, seed=arguments.seed * 1_000_000 + 500_000 + step
        )
        pixels_BCHW = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        captions = [str(drawn.choice(CAPTIONS)).replace("{}", NAMES[label]) for label in labels_B]
        texts = tokenizer(captions, padding=True, return_tensors="pt", return_token_type_ids=False)
        found = model(**texts, pixel_values=pixels_BCHW)
        loss = clip_loss(found.image_embeds, found.text_embeds, model.logit_scale, torch.from_numpy(labels_B))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    model.save_pretrained(arguments.output_dir)
    tokenizer.save_pretrained(arguments.output_dir)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    CLIPImageProcessor(size=size, do_center_crop=False, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(
        arguments.output_dir
    )


def save_test_images(folder: Path, num_images: int) -> Path:
    """Held-out digits beside the checkpoint, labeled with the names."""
    import datasets

    digits = digits_dataset("test", num_images).cast_column("label", datasets.ClassLabel(names=list(NAMES)))
    path = folder / "test.parquet"
    digits.to_parquet(path)
    return path


def main() -> None:
    """Reads the command line, trains, and prints the zero-shot accuracy."""
    (arguments,) = HfArgumentParser(Arguments).parse_args_into_dataclasses()
    start = time.perf_counter()
    train(arguments)
    print(f"training took {time.perf_counter() - start:.0f} s")
    path = save_test_images(arguments.output_dir, arguments.num_test_images)
    predictor = load_predictor(str(arguments.output_dir), labels=NAMES)
    found = evaluate(predictor, load_image_set(str(path), NAMES))
    print(f"zero-shot accuracy on held-out digits: {found.top1:.4f} ({found.num_images} images)")


if __name__ == "__main__":
    main()
