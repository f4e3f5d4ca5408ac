"""The columns of the table of families: what is tried with a kind of models, on a tiny one, and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from family_kinds import KINDS, Kind

from smi_hf import (
    PruningConfig,
    QuantizationConfig,
    SparseDataset,
    SparseDistillationConfig,
    SparseInversionConfig,
    Teacher,
    UsageError,
    distill,
    invert,
    load_predictor,
    load_sparse_dataset,
    load_student,
    load_teacher,
    prune,
    quantize,
)
from smi_hf.data import made_from
from smi_hf.environment import EXTRAS, dependency_lane
from smi_hf.errors import RunError
from smi_hf.evaluation.predictors import predictor_of
from smi_hf.models import SparseClassifier
from smi_hf.quantization.backends import BACKENDS

_NUM_IMAGES = 4
# Of the answers in floating point and in int8 to images of random colors; weights are large and random.
_LEAST_COSINE = 0.9


@dataclass
class Trial:
    """A kind of models, and a folder to try it in."""

    kind: Kind
    work: Path
    made: dict[str, SparseDataset] = field(default_factory=dict)

    @cached_property
    def checkpoint(self) -> Path:
        """Its checkpoint, written once."""
        folder = self.work / "checkpoint"
        self.kind.save(folder)
        return folder

    @cached_property
    def teacher(self) -> Teacher:
        return self.kind.load(self.checkpoint)

    @property
    def is_sparse(self) -> bool:
        return isinstance(self.teacher.model, SparseClassifier)

    def inverted(self, policy: str) -> SparseDataset:
        """Images of it, made once."""
        if policy not in self.made:
            pruned = {"prune_steps": [1], "prune_ratios": [0.5]} if policy != "dense" else {}
            config = SparseInversionConfig(
                output_dir=str(self.work / policy),
                policy=policy,
                num_images=_NUM_IMAGES,
                batch_size=2,
                num_steps=2,
                report=False,
                disable_tqdm=True,
                **pruned,
            )
            self.made[policy] = invert(self.teacher, config)
        return self.made[policy]

    @property
    def images(self) -> SparseDataset:
        """What is calibrated, pruned and taught on: sparse images where there are any."""
        return self.inverted("smi" if self.is_sparse else "dense")

    @property
    def pixels_BCHW(self) -> np.ndarray:
        """Two images of random colors, in the range of pixels."""
        generator = torch.Generator().manual_seed(7)
        size = (2, 3, *self.teacher.model.grid.image_size)
        pixels = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        return self.teacher.normalization.from_uint8(pixels).numpy()

    def answer(self, source: Teacher | str) -> np.ndarray:
        """Embeddings, or logits, of a model, on two images of random numbers."""
        predictor = predictor_of(source) if isinstance(source, Teacher) else load_predictor(source)
        logits_BL, embeddings_BD = predictor.see(self.pixels_BCHW)
        return logits_BL if embeddings_BD is None else embeddings_BD


def _invert(policy: str) -> Callable[[Trial], None]:
    def run(trial: Trial) -> None:
        dataset = trial.inverted(policy)
        assert len(dataset) == _NUM_IMAGES and made_from(dataset.record, trial.teacher)
        kept, whole = dataset.record.keep_counts[-1], dataset.record.grid.num_patches
        assert kept == (whole if policy == "dense" else whole // 2)
        # As somebody else reads it, who has the files alone.
        load_sparse_dataset(str(trial.work / policy), teacher=trial.teacher)

    return run


def _quantize(backend: str) -> Callable[[Trial], None]:
    def run(trial: Trial) -> None:
        folder = trial.work / backend
        widths = {"activations": 32} if backend == "torchao" else {}
        config = QuantizationConfig(output_dir=str(folder), backend=backend, report=False, disable_tqdm=True, **widths)
        record = quantize(trial.teacher, trial.images, config)
        assert record.settings["quantized_layers"] > 0
        whole, rounded = trial.answer(trial.teacher), trial.answer(str(folder))
        cosine = float((whole * rounded).sum() / np.linalg.norm(whole) / np.linalg.norm(rounded))
        assert cosine > _LEAST_COSINE and (whole != rounded).any(), cosine

    return run


def _prune(trial: Trial) -> None:
    folder = trial.work / "pruned"
    config = PruningConfig(
        output_dir=str(folder), keep_mlp=0.5, num_layers=1, num_epochs=0, num_scenes=0, report=False, disable_tqdm=True
    )
    record = prune(trial.teacher, trial.images, config)
    assert record.settings["parameters"] < record.settings["parameters_before"]
    assert trial.answer(str(folder)).shape == trial.answer(trial.teacher).shape


def _teach(trial: Trial) -> None:
    """The architecture of a teacher learns from it; of a classifier also one of another kind could."""
    folder = trial.work / "student"
    student = load_student(str(trial.checkpoint), trial.teacher, from_scratch=True)
    config = SparseDistillationConfig(
        output_dir=str(folder), num_train_epochs=1, per_device_train_batch_size=3, num_views=1, report=False,
        save_strategy="no", report_to="none", disable_tqdm=True,
    )  # fmt: skip
    distill(trial.teacher, student, trial.images, config)
    answer = trial.answer(str(folder))
    assert answer.shape == trial.answer(trial.teacher).shape and np.isfinite(answer).all()


def _stock_reads(trial: Trial) -> None:
    """The teacher that was loaded is the stock model: all patches kept, it answers as that does."""
    again = load_teacher(str(trial.checkpoint), head=trial.teacher.head)
    np.testing.assert_allclose(trial.answer(again), trial.answer(trial.teacher), rtol=1e-4, atol=1e-4)
    again.model.verify()


def backends_here() -> list[str]:
    """Back ends that this lane can have, in their own order."""
    lane = dependency_lane()
    return [
        name
        for name in BACKENDS.names()
        if (extra := BACKENDS.get(name).extra) is None or lane in EXTRAS[extra].packages
    ]


COLUMNS: dict[str, Callable[[Trial], None]] = {
    "load": _stock_reads,
    "invert": _invert("smi"),
    "invert densely": _invert("dense"),
    **{name: _quantize(name) for name in backends_here()},
    "prune": _prune,
    "distill": _teach,
}  # fmt: skip


def outcome(name: str, column: str, trial: Trial) -> str:
    """What comes of it: "yes", or why it is refused, in a sentence. Anything else is an error.

    Args:
        name: of the kind.
    """
    assert trial.kind is KINDS[name]
    try:
        COLUMNS[column](trial)
    except (UsageError, RunError) as error:
        return str(error).replace(str(trial.work), "")
    return "yes"
