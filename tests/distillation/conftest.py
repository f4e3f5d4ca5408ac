"""A tiny student, random images with kept patches, and a trainer of them whose settings a test may change."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from smi_hf import load_sparse_dataset
from smi_hf.distillation import (
    SparseDistillationConfig,
    SparseDistillationTrainer,
    StudentModel,
    distill,
    load_student,
)
from smi_hf.distillation.records import distillation_record
from smi_hf.evaluation.record import DatasetReference, ModelRecord
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import load_image_set

TINY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
SETTINGS = {
    "preset": "trainer",
    "use_cpu": True,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
    "logging_steps": 1,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 4,
    # Rounding stays rounding; Adam would amplify it.
    "optim": "sgd",
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "temperature": 2.0,
}


def _make_vit(seed: int = 1, **changes: object) -> ViTForImageClassification:
    """The teacher's architecture with weights of its own; arguments change its configuration."""
    torch.manual_seed(seed)
    settings = {"image_size": 32, "patch_size": 8, "intermediate_size": 48, "num_labels": 5, "initializer_range": 0.2}
    return ViTForImageClassification(ViTConfig(**{**TINY, **settings, **changes}))


def _random_images(num_images: int = 18, num_kept: int = 6, seed: int = 0) -> KeptImages:
    """Noise of 32x32 px, other patches kept of each image, random labels."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(num_images, 3, 32, 32, generator=generator)
    kept = torch.rand(num_images, 16, generator=generator).topk(num_kept, dim=1).indices.sort(dim=1).values
    labels = torch.randint(0, 5, (num_images,), generator=generator)
    return KeptImages(pixels, kept, "noise", labels)


@pytest.fixture(autouse=True)
def _own_precision(own_precision):
    """For every test here."""


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., ViTForImageClassification]:
    return _make_vit


@pytest.fixture(scope="session")
def make_images() -> Callable[..., KeptImages]:
    return _random_images


@pytest.fixture
def student() -> ViTForImageClassification:
    return _make_vit()


@pytest.fixture
def images() -> KeptImages:
    return _random_images()


@pytest.fixture
def make_args(tmp_path):
    def make(**changes: object) -> SparseDistillationConfig:
        return SparseDistillationConfig(**{**SETTINGS, "output_dir": str(tmp_path / "out"), **changes})

    return make


@pytest.fixture
def make_trainer(teacher, student, images, make_args):
    """A trainer of a copy of the student; what is given by name replaces a part, the rest are settings."""

    def make(
        *, model=None, of=None, train_dataset=None, eval_dataset=None, image_processor=None, callbacks=None, **changes
    ) -> SparseDistillationTrainer:
        return SparseDistillationTrainer(
            copy.deepcopy(student) if model is None else model,
            of or teacher,
            make_args(**changes),
            train_dataset or images,
            eval_dataset,
            image_processor,
            callbacks=callbacks,
        )

    return make


@pytest.fixture
def losses() -> Callable[[SparseDistillationTrainer], list[float]]:
    """Reads the loss of each step off a trainer that logs every step."""
    return lambda trainer: [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


@pytest.fixture
def dataset(sparse_folder):
    """The tiny teacher's sparse dataset, of 6 images."""
    return load_sparse_dataset(sparse_folder)


@pytest.fixture
def record(make_trainer, dataset, teacher) -> ModelRecord:
    """The record of a student of a trainer alone."""
    return distillation_record(make_trainer(), [DatasetReference.of(dataset, teacher)])


@pytest.fixture
def real_images(photographs, teacher):
    return load_image_set(str(photographs), teacher.label_names)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Where `run` writes."""
    return tmp_path / "out"


@pytest.fixture
def make_student(tiny_checkpoint, teacher):
    """A student of the teacher's architecture from scratch."""

    def make(seed: int = 0, **options: object) -> StudentModel:
        return load_student(str(tiny_checkpoint), teacher, **{"from_scratch": True, "seed": seed, **options})

    return make


@pytest.fixture
def run(teacher, make_student, dataset, make_args):
    """Calls `distill`; what is given by name replaces an argument, the rest are settings."""

    def run(
        *, of=None, student=None, datasets=None, images=None, controls=(), quantization=None, rounds=None, **changes
    ):
        datasets = dataset if datasets is None and rounds is None else datasets or ()
        return distill(
            of or teacher,
            make_student() if student is None else student,
            datasets,
            make_args(**{"optim": "adamw_torch", "per_device_train_batch_size": 3, "held_out": 0.4, **changes}),
            images=images,
            controls=controls,
            quantization=quantization,
            rounds=rounds,
        )

    return run
