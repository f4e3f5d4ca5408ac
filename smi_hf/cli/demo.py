"""`smi-hf demo`: the whole way on a small embedded model, on any machine, without a download."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.environment import missing_packages
from smi_hf.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from smi_hf.data import DatasetRecord
    from smi_hf.models import Teacher

_NUM_HELD_OUT_IMAGES = 1000
_DISTILLATION_STEPS = 100

_EPILOG = """examples:
  smi-hf demo
  smi-hf demo --output_dir out/demo --num_images 64 --num_steps 400
"""


@dataclass
class DemoArguments:
    """How much of a demonstration."""

    output_dir: str = field(default="out/demo", metadata={"help": "Folder for the datasets; replaced if it exists."})
    num_images: int = field(default=32, metadata={"help": "Number of synthetic images."})
    num_steps: int = field(default=400, metadata={"help": "Optimisation steps an image."})
    seed: int = field(default=0, metadata={"help": "Seed of the runs."})
    num_distillation_images: int = field(
        default=512, metadata={"help": "Synthetic images that a student learns from."}
    )
    num_epochs: int = field(default=30, metadata={"help": "Epochs of the student."})
    with_hub: bool = field(
        default=False,
        metadata={
            "help": "Publish what was made on the Hub that HF_ENDPOINT names, and load it from there. That must be a "
            "server on this machine, as `make demo WITH_HUB=1` starts one: a demonstration is not for the world."
        },
    )

    def __post_init__(self) -> None:
        endpoint = os.environ.get("HF_ENDPOINT", "")
        if self.with_hub and urlsplit(endpoint).hostname not in ("127.0.0.1", "::1", "localhost"):
            raise UsageError(
                f"with_hub publishes on a Hub on this machine alone, but HF_ENDPOINT is {endpoint!r}; run `make demo "
                f"WITH_HUB=1` in a checkout, or publish out/demo/smi with smi-hf push"
            )


def run(arguments: Sequence[str] | None = None) -> None:
    """Inverts the embedded teacher sparsely and densely, reads the dataset back, compares the two, and quantizes."""
    (demo,) = ArgumentParser(
        DemoArguments,
        prog="smi-hf demo",
        description="Invert a small embedded Vision Transformer (digits on clutter, 64x64 px) into sparse images, "
        "read the dataset back with stock load_dataset, compare with dense inversion, quantize the model with the "
        "images, and teach a smaller one on them. No download.",
        epilog=_EPILOG,
    ).parse(arguments)

    from datasets import disable_progress_bars, load_dataset

    from smi_hf.cli.tables import make_console
    from smi_hf.demo import TEACHER_PATH
    from smi_hf.models import load_teacher

    disable_progress_bars()
    console = make_console()
    teacher = load_teacher(str(TEACHER_PATH))
    console.print(
        f"Teacher: {teacher.model.config.model_type}, {teacher.model.model.num_parameters():,} parameters, "
        f"{100 * _held_out_accuracy(teacher):.1f} % of {_NUM_HELD_OUT_IMAGES} held-out images right. "
        f"From here on no real image is used but to judge with."
    )
    records = {}
    for policy in ("dense", "smi"):
        console.print(f"\nInverting with policy {policy!r}")
        records[policy] = _invert(teacher, demo, policy)

    folder = Path(demo.output_dir) / "smi"
    dataset = load_dataset(str(folder), split="train")
    console.print(f"\nload_dataset({str(folder)!r}) gives {len(dataset)} rows; the first: ")
    console.print({name: value for name, value in dataset[0].items() if name != "image"})
    console.print(_comparison(teacher, records))
    if missing_packages("onnx"):
        console.print("Quantization is left out: it needs the onnx extra, which the full lane has (smi-hf doctor)")
    else:
        console.print(_quantization(teacher, demo, folder))
    if missing_packages("plots"):
        console.print("Distillation is left out: its learning curve needs the plots extra (smi-hf doctor)")
    else:
        console.print(f"\nInverting {demo.num_distillation_images} images to teach a student of half the depth")
        console.print(_distillation(teacher, demo))
    if demo.with_hub:
        console.print(_publication(Path(demo.output_dir)))
    console.print(f"Preview: {folder / 'preview.png'}, what each prune left: {folder / 'preview_stages.png'}")


def _publication(output_dir: Path) -> "Table":
    """Every dataset and model of the demonstration, pushed; the dataset read back by stock `datasets`."""
    from datasets import load_dataset
    from huggingface_hub import whoami
    from rich.table import Table

    from smi_hf.hub import push

    repo_id = f"{whoami()['name']}/digits-smi"
    table = Table(title="Published on the Hub on this machine", title_justify="left")
    table.add_column("folder")
    table.add_column("commit")
    for name in ("smi", "dense", "int8", "student"):
        if (output_dir / name).is_dir():
            table.add_row(str(output_dir / name), push(output_dir / name, f"digits-{name}"))
    pushed, local = (load_dataset(name, split="train") for name in (repo_id, str(output_dir / "smi")))
    assert pushed.with_format("arrow")[:] == local.with_format("arrow")[:], "what was pushed is what is loaded"
    table.caption = f"load_dataset({repo_id!r}) gives the same {len(pushed)} rows"
    return table


def _held_out_accuracy(teacher: "Teacher") -> float:
    import torch

    from smi_hf.demo.digits import generate_digits

    images, labels = generate_digits("test", _NUM_HELD_OUT_IMAGES)
    pixels_BCHW = teacher.normalization.from_uint8(torch.from_numpy(images).permute(0, 3, 1, 2))
    with torch.no_grad():
        predictions = teacher.model(pixels_BCHW).logits.argmax(dim=-1)
    return float((predictions == torch.from_numpy(labels)).float().mean())


def _invert(
    teacher: "Teacher",
    demo: DemoArguments,
    policy: str,
    *,
    name: str | None = None,
    num_images: int | None = None,
    num_steps: int | None = None,
) -> "DatasetRecord":
    from smi_hf.inversion import SparseInversionConfig, SparseInversionTrainer

    config = SparseInversionConfig(
        output_dir=str(Path(demo.output_dir) / (name or policy)),
        overwrite_output_dir=True,
        num_images=num_images or demo.num_images,
        num_steps=num_steps or demo.num_steps,
        seed=demo.seed,
        classes=["balanced"],
        policy=policy,
        # A mirrored 2 is no 2; and at 64 px the paper's 0.25 overshoots.
        flip_probability=0.0,
        learning_rate=0.1,
    )
    trainer = SparseInversionTrainer(teacher, config)
    trainer.train()
    return trainer.record


def _comparison(teacher: "Teacher", records: "dict[str, DatasetRecord]") -> "Table":
    from rich.table import Table

    from smi_hf.evaluation.cost import record_macs

    dense = records["dense"]
    dense_macs = record_macs(teacher.model, dense)
    num_images = dense.settings["num_images"]
    table = Table(title=f"{num_images} images, {dense.settings['num_steps']} steps each", title_justify="left")
    table.add_column("inversion")
    for heading in (
        "patches kept",
        "teacher's top-1 on kept patches",
        "seconds",
        "times faster",
        "forward GFLOPs an image",
        "times fewer",
    ):
        table.add_column(heading, justify="right")
    for policy, record in records.items():
        macs, seconds = record_macs(teacher.model, record), record.results["seconds_this_session"]
        table.add_row(
            {"dense": "dense", "smi": "sparse (smi)"}[policy],
            f"{record.keep_counts[-1]} of {record.grid.num_patches}",
            f"{100 * record.results['target_top1']:.1f} %",
            f"{seconds:.1f}",
            f"{dense.results['seconds_this_session'] / seconds:.2f}",
            # Two operations a multiply-accumulate.
            f"{2 * macs / 1e9:.1f}",
            f"{dense_macs / macs:.2f}",
        )
    return table


def _quantization(teacher: "Teacher", demo: DemoArguments, dataset_folder: Path) -> "Table":
    """An int8 model calibrated on the synthetic images, beside one calibrated on noise."""
    import shutil

    from smi_hf.cli.tables import quantization_table
    from smi_hf.data import load_sparse_dataset
    from smi_hf.demo import TEACHER_PATH
    from smi_hf.demo.digits import digits_dataset
    from smi_hf.evaluation.record import dataset_reference
    from smi_hf.hub.cards.model import save_model_record
    from smi_hf.images.kept import gaussian_noise, sparse_images
    from smi_hf.images.real import ImageSet
    from smi_hf.models.preprocessing import load_image_processor
    from smi_hf.quantization.comparison import compare
    from smi_hf.quantization.quantizer import Quantizer
    from smi_hf.quantization.records import quantization_record

    dataset = load_sparse_dataset(dataset_folder, for_model=teacher.model)
    synthetic = sparse_images(dataset)
    noise = gaussian_noise(teacher.model, len(synthetic), seed=demo.seed)
    output_dir = Path(demo.output_dir) / "int8"
    shutil.rmtree(output_dir, ignore_errors=True)
    images = ImageSet(digits_dataset("test", _NUM_HELD_OUT_IMAGES), "image", "label", name="generated digits")
    with Quantizer(teacher, load_image_processor(str(TEACHER_PATH)), backend="onnx") as quantizer:
        quantizer.quantize(synthetic, output_dir)
        record = quantization_record(quantizer, [dataset_reference(dataset, teacher)])
        rows = compare(
            quantizer,
            {synthetic.source: [synthetic], noise.source: [noise]},
            images,
            written=output_dir,
            disable_tqdm=True,
        )
    save_model_record(record.judged(rows, images), output_dir)
    return quantization_table(rows, f"Static int8 in {output_dir}, judged on {len(images)} held-out images")


def _distillation(teacher: "Teacher", demo: DemoArguments) -> "Table":
    """A student half as deep as the teacher, from scratch, beside one that is taught on noise."""
    import shutil

    import torch
    from transformers import AutoModelForImageClassification

    from smi_hf.cli.tables import distillation_table
    from smi_hf.data import load_sparse_dataset
    from smi_hf.demo import TEACHER_PATH
    from smi_hf.demo.digits import digits_dataset
    from smi_hf.distillation import SparseDistillationConfig, SparseDistillationTrainer, experiment
    from smi_hf.distillation.records import distillation_record
    from smi_hf.evaluation.record import dataset_reference
    from smi_hf.hub.cards.model import save_model_record
    from smi_hf.images.kept import gaussian_noise
    from smi_hf.images.real import ImageSet
    from smi_hf.models.preprocessing import load_image_processor

    _invert(teacher, demo, "smi", name="pool", num_images=demo.num_distillation_images, num_steps=_DISTILLATION_STEPS)
    folder = Path(demo.output_dir) / "student"
    shutil.rmtree(folder, ignore_errors=True)
    images = ImageSet(digits_dataset("test", _NUM_HELD_OUT_IMAGES), "image", "label", name="generated digits")
    image_processor = load_image_processor(str(TEACHER_PATH))
    pool = load_sparse_dataset(Path(demo.output_dir) / "pool", for_model=teacher.model)
    config = copy.deepcopy(teacher.model.config)
    config.num_hidden_layers //= 2

    def new_student(run: int) -> Any:
        torch.manual_seed(demo.seed + run)
        return AutoModelForImageClassification.from_config(config)

    def make_trainer(student: Any, dataset: Any, output_dir: Path) -> SparseDistillationTrainer:
        args = SparseDistillationConfig(
            output_dir=str(output_dir),
            num_train_epochs=demo.num_epochs,
            per_device_train_batch_size=32,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            warmup_steps=20,
            # A mirrored 2 is no 2.
            augmentations=["shift", "color"],
            eval_strategy="steps",
            eval_steps=0.25,
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            seed=demo.seed,
        )
        return SparseDistillationTrainer(student, teacher, args, dataset, images, image_processor)

    trainer = make_trainer(new_student(0), pool, folder)
    first = experiment.teach(trainer, len(pool))
    trainer.save_model()
    noise = gaussian_noise(teacher.model, len(pool), seed=demo.seed)
    rows = {"inverted, kept patches": [pool], noise.source: [noise]}
    students = experiment.teach_rows(new_student, make_trainer, rows, first=first)
    compared = experiment.compare(students, teacher, images, image_processor, disable_tqdm=True)
    datasets = [dataset_reference(pool, teacher)]
    record = distillation_record(trainer, datasets, started_from=str(TEACHER_PATH), from_scratch=True)
    save_model_record(record.judged(compared, images, pictures=experiment.save_curves(compared, folder)), folder)
    return distillation_table(compared, f"Student of {config.num_hidden_layers} layers in {folder}, from scratch")
