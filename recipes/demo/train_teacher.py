"""Trains the demo teacher, a small ViT, on generated digits, and prints its accuracy on held-out ones.

    python recipes/demo/train_teacher.py --output_dir out/teacher      # train, save, evaluate
    python recipes/demo/train_teacher.py --evaluate_only               # evaluate the embedded checkpoint

Two runs with equal arguments draw the same images and start from the same weights, and on one kind of processor end
with the same weights too. The number of threads changes the order of floating-point sums, hence `--num_threads`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    HfArgumentParser,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    get_cosine_schedule_with_warmup,
)

from smi_hf.demo import TEACHER_PATH
from smi_hf.demo.digits import CLASS_NAMES, IMAGE_SIZE, generate_digits
from smi_hf.environment import image_processor_options


@dataclass
class TeacherArguments:
    """What to train, where to save it and how to evaluate it."""

    output_dir: Path = field(
        default=TEACHER_PATH,
        metadata={"help": "Folder of the checkpoint. The default is the one embedded in the package."},
    )
    num_epochs: int = field(default=24, metadata={"help": "Passes, each over freshly drawn images."})
    images_per_epoch: int = field(default=10_000, metadata={"help": "Images drawn for each pass."})
    batch_size: int = field(default=50, metadata={"help": "Images per step and process."})
    learning_rate: float = field(default=2e-3, metadata={"help": "Peak of the cosine schedule."})
    weight_decay: float = field(default=0.05, metadata={"help": "Decoupled weight decay of AdamW."})
    warmup_ratio: float = field(default=0.1, metadata={"help": "Part of the steps with a rising learning rate."})
    seed: int = field(default=0, metadata={"help": "Seed of the weights, the order and the training images."})
    num_threads: int = field(
        default=1, metadata={"help": "Threads of PyTorch on the CPU: one, unless told, to repeat a run elsewhere."}
    )
    num_test_images: int = field(default=2_000, metadata={"help": "Held-out images of the final accuracy."})
    evaluate_only: bool = field(default=False, metadata={"help": "Only evaluate the checkpoint in output_dir."})

    def __post_init__(self) -> None:
        if self.images_per_epoch < self.batch_size:
            raise ValueError(
                f"images_per_epoch is {self.images_per_epoch}, but one batch takes batch_size = {self.batch_size} "
                "images; draw at least one batch per epoch"
            )


class FreshDigits(Dataset):
    """Training images held in memory, replaced by unseen ones with `redraw`."""

    def __init__(self, num_images: int) -> None:
        self.num_images = num_images

    def redraw(self, seed: int) -> None:
        self.images, self.labels = generate_digits("train", self.num_images, seed=seed)

    def __len__(self) -> int:
        return self.num_images

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]:
        return self.images[index], self.labels[index]


def build_model() -> ViTForImageClassification:
    """A randomly initialised ViT of 0.32 million parameters that sees 8x8 patches of 8x8 pixels."""
    config = ViTConfig(
        image_size=IMAGE_SIZE,
        patch_size=8,
        num_channels=3,
        hidden_size=96,
        num_hidden_layers=4,
        num_attention_heads=3,
        intermediate_size=192,
        qkv_bias=True,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-6,
        # The usual 0.02 is meant for widths near 768. About sqrt(1 / width) keeps the signal's scale at this width,
        # and the training leaves its first plateau sooner.
        initializer_range=0.1,
        id2label=dict(enumerate(CLASS_NAMES)),
        label2id={name: label for label, name in enumerate(CLASS_NAMES)},
    )
    return ViTForImageClassification(config)


def build_processor() -> ViTImageProcessor:
    """Resizes to the model's input and maps 0..255 to -1..1."""
    return ViTImageProcessor(
        do_resize=True,
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def train(arguments: TeacherArguments) -> None:
    """Trains a teacher and saves it with its image processor in `arguments.output_dir`."""
    accelerator = Accelerator()
    set_seed(arguments.seed)

    digits = FreshDigits(arguments.images_per_epoch)
    loader = DataLoader(digits, batch_size=arguments.batch_size, shuffle=True, drop_last=True)
    model = build_model()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.98), weight_decay=arguments.weight_decay
    )
    # Accelerate steps the schedule once per process, so it is laid out in batches of one process.
    num_steps = arguments.num_epochs * len(loader)
    scheduler = get_cosine_schedule_with_warmup(optimizer, int(arguments.warmup_ratio * num_steps), num_steps)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

    model.train()
    bar = tqdm(total=arguments.num_epochs * len(loader), disable=not accelerator.is_main_process)
    for epoch in range(arguments.num_epochs):
        # Epochs of different runs never share images: otherwise seed 1 would be seed 0 without its first epoch.
        digits.redraw(seed=arguments.seed * 1_000_000 + epoch)
        for images_BHWC, labels_B in loader:
            # The same map as the saved processor's, on a whole batch at once.
            pixels_BCHW = images_BHWC.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
            logits_BK = model(pixel_values=pixels_BCHW).logits
            loss = torch.nn.functional.cross_entropy(logits_BK, labels_B)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            bar.update()
        bar.set_postfix(loss=f"{loss.item():.3f}")
    bar.close()

    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(arguments.output_dir)
        build_processor().save_pretrained(arguments.output_dir)


@torch.inference_mode()
def evaluate(folder: Path, num_images: int, *, batch_size: int = 100) -> float:
    """The accuracy, from 0 to 1, of the checkpoint in `folder` on `num_images` images of held-out digits."""
    model = AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = AutoImageProcessor.from_pretrained(folder, **image_processor_options())
    images, labels = generate_digits("test", num_images)
    num_correct = 0
    for start in range(0, num_images, batch_size):
        batch = processor(images=list(images[start : start + batch_size]), return_tensors="pt")
        predictions = model(**batch).logits.argmax(dim=-1).numpy()
        num_correct += int((predictions == labels[start : start + batch_size]).sum())
    return num_correct / num_images


def main() -> None:
    """Reads the command line, trains unless told not to, and prints the held-out accuracy."""
    (arguments,) = HfArgumentParser(TeacherArguments).parse_args_into_dataclasses()
    torch.set_num_threads(arguments.num_threads)
    if not arguments.evaluate_only:
        start = time.perf_counter()
        train(arguments)
        print(f"training took {time.perf_counter() - start:.0f} s with {torch.get_num_threads()} threads")
    accuracy = evaluate(arguments.output_dir, arguments.num_test_images)
    print(f"held-out accuracy: {accuracy:.4f} ({arguments.num_test_images} images)")


if __name__ == "__main__":
    main()
