"""Distillation as a `transformers.Trainer`: teacher and student are shown the kept patches of the same views."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.trainer_utils import TrainOutput

from smi_hf.data import SparseDataset
from smi_hf.data.validation import check_made_from
from smi_hf.distillation.bars import replace_bars
from smi_hf.distillation.batches import Images, RealImages, Views, split
from smi_hf.distillation.checkpoints import (
    SETTINGS_FILE,
    add_to_saved,
    checkpoint_to_resume,
    last_checkpoint,
    load_weights,
)
from smi_hf.distillation.checks import check_grid, check_last_batch, check_same_shape, check_student, size_made_for
from smi_hf.distillation.choosing import with_preset
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.evaluating import HELD_OUT, REAL, REAL_IMAGES, figures, judged_images
from smi_hf.distillation.loading import StudentModel, StudentOrigin, head_modules
from smi_hf.distillation.publishing import PublishingTrainer
from smi_hf.distillation.shown import TILED, as_tiles
from smi_hf.distillation.stopping import EarlyStopping, stopped_state
from smi_hf.distillation.students import DenseStudent, SparseStudent, make_student
from smi_hf.distillation.trainer_settings import check_optimizer, settled, with_whole_steps
from smi_hf.errors import RunError, UsageError
from smi_hf.images.kept import KeptImages
from smi_hf.images.real import ImageSet
from smi_hf.models import Teacher
from smi_hf.models.classification import is_headless
from smi_hf.models.preprocessing import normalization_of

logger = logging.getLogger(__name__)

_DECIDED_HERE = frozenset({"compute_loss_func", "compute_metrics", "data_collator", "preprocess_logits_for_metrics"})


class SparseDistillationTrainer(PublishingTrainer):
    """Teaches a student the answers that a teacher gives to the kept patches of synthetic images.

    Everything of `Trainer` works as ever: callbacks, trackers, mixed precision, accumulation, resume, processes.

    Args:
        model: the student, as `load_student` returns it, or a Hugging Face image classifier in float32 with the
            teacher's labels, of which the record then says that its origin is not known. It learns in place.
        teacher: frozen, in evaluation mode; it decides grid and normalization.
        args: what is taught and how.
        train_dataset: a sparse dataset of this teacher (`smi_hf.load_sparse_dataset`), or images in memory.
        eval_dataset: real images, judged by top-1 and top-5; if None, a share `held_out` of the synthetic images is
            kept from training and agreement with the teacher is judged on it. With `early_stopping_patience` that
            share decides when to stop, whatever real images there are.
        image_processor: the student's, saved beside it; decides its image size and normalization, which are the
            teacher's if None. What `load_student` returns has its own.
        **kwargs: as for `Trainer` (callbacks, optimizers), except what is decided here: batches, losses and metrics.

    Raises:
        UsageError: dataset, teacher and student do not fit each other, or a setting does not fit the student.
    """

    def __init__(
        self,
        model: PreTrainedModel | StudentModel,
        teacher: Teacher,
        args: SparseDistillationConfig,
        train_dataset: SparseDataset | KeptImages,
        eval_dataset: ImageSet | None = None,
        image_processor: Any = None,
        **kwargs: Any,
    ) -> None:
        if refused := sorted(_DECIDED_HERE & kwargs.keys()):
            raise UsageError(
                f"{refused[0]} is not taken: batches, losses and metrics are this trainer's own; choose among them in "
                f"SparseDistillationConfig, or override a method in a subclass"
            )
        self.teacher = teacher
        # Digested once: it goes with every checkpoint.
        self._teacher_sha256 = teacher.weights_sha256()
        self.origin = model.origin if isinstance(model, StudentModel) else StudentOrigin()
        if isinstance(model, StudentModel):
            image_processor = image_processor or model.image_processor
            model = model.model
        check_student(model, teacher)
        self.taught_on = self._check_images(train_dataset, args)
        args = with_preset(args, model, self.origin, teacher, len(self.taught_on))
        if eval_dataset is not None and (eval_dataset.label_column is None or teacher.judged_labels is None):
            raise UsageError(
                "an eval_dataset judges by its labels, but these images have none, or the teacher's labels are "
                "directions that mean nothing; leave it out, and give images to smi_hf.distill, which compares "
                "embeddings in the end"
            )
        if eval_dataset is not None and image_processor is None:
            raise UsageError("an eval_dataset of real images needs the student's image_processor; give it as well")
        self.student = self._make_student(model, image_processor, args)
        holds_out = eval_dataset is None or args.stops_early
        args = settled(args, self.student, teacher, is_judged_by_labels=not holds_out)
        check_optimizer(args, model)
        images, held_out = self._split(args, holds_out=holds_out)
        views = Views(images, args.num_views)
        if not (args.freeze_backbone or args.dataloader_drop_last):
            check_last_batch(model, len(views), args.per_device_train_batch_size)
        self.judged_on = "held-out synthetic images" if eval_dataset is None else REAL_IMAGES
        args = with_whole_steps(args, len(views))
        sets: dict[str, Views | RealImages] = {HELD_OUT: Views(held_out, 1)} if holds_out else {}
        if eval_dataset is not None and (args.draws_curve or not holds_out):
            sets[REAL] = RealImages(eval_dataset, image_processor)
        super().__init__(
            model=model,
            args=args,
            train_dataset=views,
            eval_dataset=sets if len(sets) > 1 else next(iter(sets.values())),
            processing_class=image_processor,
            compute_metrics=figures,
            preprocess_logits_for_metrics=judged_images,
            **kwargs,
        )
        replace_bars(self)
        # Our losses are means over images, to be divided by the accumulation steps.
        self.model_accepts_loss_kwargs = False
        self.teacher.model.to(self.args.device)
        # Sums since the last log, and of how many batches.
        self._parts: dict[str, Tensor] = {}
        self._num_batches = 0
        # Of this session, and of those before it that it continues.
        self._started: float | None = None
        self._seconds_before = 0.0
        if holds_out and self.is_world_process_zero():
            self._log_judges(len(held_out))

    def _log_judges(self, num_held_out: int) -> None:
        if not self.args.stops_early:
            logger.info("judged by agreement with the teacher on %d held-out synthetic images", num_held_out)
            return
        logger.info(
            "stops after %d evaluations without a better %s on %d held-out synthetic images, and keeps the best "
            "student; judged by %s",
            self.args.early_stopping_patience,
            self.args.metric_for_best_model,
            num_held_out,
            f"{REAL_IMAGES} in the end" if self.judged_on == REAL_IMAGES else "agreement with the teacher on the same",
        )

    def _check_images(
        self, given: SparseDataset | KeptImages, args: SparseDistillationConfig
    ) -> SparseDataset | KeptImages:
        """The images of the lesson, held-out ones among them."""
        if isinstance(given, SparseDataset):
            given.random_access("distillation")
            check_made_from(given.record, self.teacher, other_teacher=args.other_teacher)
            return given.first(args.num_images)
        check_grid(given, self.teacher)
        if args.num_images is None:
            return given
        if args.num_images > len(given):
            raise UsageError(f"num_images is {args.num_images}, but there are {len(given)} images")
        return given.part(0, args.num_images)

    def _split(self, args: SparseDistillationConfig, *, holds_out: bool) -> tuple[Images, Images]:
        """The images to train on and those that are held out, as they are shown."""
        images, held_out = split(self.taught_on, args.held_out if holds_out else 0.0)
        if args.shown == TILED:
            grid = self.teacher.model.grid
            images = as_tiles(images, grid, seed=args.seed)
            held_out = as_tiles(held_out, grid) if holds_out else held_out
        return images, held_out

    def _make_student(
        self, model: PreTrainedModel, image_processor: Any, args: SparseDistillationConfig
    ) -> SparseStudent | DenseStudent:
        normalization = image_size = None
        if image_processor is not None:
            normalization = normalization_of(image_processor, model.config)
            image_size = size_made_for(model, image_processor)
        student = make_student(model, self.teacher, normalization, image_size=image_size, layers=self.origin.layers)
        if isinstance(student, DenseStudent) and (given := args.token_losses):
            raise UsageError(
                f"{' and '.join(given)} compare tokens, but this student is shown filled images; leave it out"
            )
        if args.hidden_state_weight:
            check_same_shape(student, self.teacher)
        if args.freeze_backbone:
            heads = head_modules(model)
            model.requires_grad_(False)
            for module in heads:
                module.requires_grad_(True)
        return student

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        self.data_collator = self.train_dataset.collate
        return super().get_train_dataloader()

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> Any:
        """As `Trainer.train`, after the answers to fixed views have been computed once.

        Args:
            resume_from_checkpoint: True for the last complete checkpoint in `output_dir`; one that was cut off while
                it was written is passed over.

        Raises:
            UsageError: the checkpoint to resume from is not complete, or was made with other settings.
            RunError: the loss is not finite.
        """
        checkpoint = checkpoint_to_resume(
            resume_from_checkpoint,
            Path(self.args.output_dir),
            self._settings(),
            has_optimizer=self._saves_all_state,
        )
        self._seconds_before = 0.0
        if checkpoint is not None:
            self._seconds_before = json.loads((checkpoint / SETTINGS_FILE).read_text()).get("seconds", 0.0)
            if self.args.stops_early and (state := stopped_state(checkpoint)) is not None:
                # `Trainer` would teach a step more before it asks.
                self.state = state
                self._load_best_model()
                return TrainOutput(state.global_step, float("nan"), {})
        self._started = time.perf_counter()
        if self.args.num_views and self.train_dataset.answers is None:
            self.train_dataset.answers = self._answer_all(self.train_dataset, self.args.augmentations)
        self._add_forecast()
        if self.args.stops_early:
            self.remove_callback(EarlyStopping)
            self.add_callback(EarlyStopping(self.args.early_stopping_patience))
        try:
            output = super().train(resume_from_checkpoint=checkpoint and str(checkpoint), **kwargs)
        finally:
            self._seconds_before, self._started = self.seconds, None
        if self.args.stops_early and self.is_world_process_zero():
            logger.info(
                "taught %d of at most %d steps, and kept the student of step %d",
                self.state.global_step,
                self.state.max_steps,
                self.state.best_global_step,
            )
        return output

    def begin_or_continue(self) -> Any:
        """As `train`, from the last complete checkpoint in `output_dir` if one has all of the run's state.

        If there is none, from the one that `resume_from_checkpoint` of the arguments names, if it names one.
        """
        found = last_checkpoint(Path(self.args.output_dir)) if self._saves_all_state else None
        if found is not None and self.is_world_process_zero():
            logger.info("continues from %s", found)
        given = self.args.resume_from_checkpoint
        return self.train(str(found) if found else given if isinstance(given, str) else None)

    @property
    def sees(self) -> str:
        """What the student is shown, in words."""
        return "tiled patches" if self.args.shown == TILED else self.student.sees

    @property
    def seconds(self) -> float:
        """How long it has been taught, in all sessions of a run that was resumed; 0.0 before."""
        return self._seconds_before + (0.0 if self._started is None else time.perf_counter() - self._started)

    @property
    def steps(self) -> dict[str, int]:
        """With early stopping, once taught: `steps_taught`, and `steps_kept`, of which the student is; else empty."""
        if not self.args.stops_early or self.state.best_global_step is None:
            return {}
        return {"steps_taught": self.state.global_step, "steps_kept": self.state.best_global_step}

    @property
    def _saves_all_state(self) -> bool:
        """Whether a checkpoint has the optimizer, too, in files that `checkpoints` knows."""
        return not self._is_divided and not self.args.save_only_model

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self.args.freeze_backbone:
            # Nothing of it may drift: neither dropout nor the running means of a convolutional network.
            self.student.model.base_model.eval()
        output, parts = self._compare(model, inputs, self.args.augmentations)
        loss = torch.stack(list(parts.values())).sum()
        if not loss.isfinite():
            each = ", ".join(f"{name} {float(part.detach()):.3g}" for name, part in parts.items())
            raise RunError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step} ({each}); lower the learning "
                f"rate ({self.args.learning_rate}), or leave out fp16"
            )
        if model.training:
            self._parts = {name: part.detach() + self._parts.get(name, 0) for name, part in parts.items()}
            self._num_batches += 1
        return (loss, output) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:
        """0: `Trainer` counts tokens of a text model; costs are in `smi_hf.evaluation.cost`."""
        return 0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As `Trainer.log`; the parts of the loss beside their sum where there are several."""
        if "loss" in logs and len(self._parts) > 1:
            # Means over all processes, as is their sum, which `Trainer` logs.
            means = {name: total / self._num_batches for name, total in self._parts.items()}
            logs |= {f"loss_{name}": float(self.accelerator.gather(mean).mean()) for name, mean in means.items()}
        if "loss" in logs:
            self._parts, self._num_batches = {}, 0
        super().log(logs, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        # transformers 5 calls this in every process, and two of them would write one file.
        if not self.args.should_save:
            return
        if is_headless(self.student.model):
            self.teacher.head.save(Path(output_dir or self.args.output_dir))
        settings = self._settings() | {"seconds": round(self.seconds, 3)}
        add_to_saved(Path(output_dir or self.args.output_dir), self.model, settings)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self._is_divided:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(Path(resume_from_checkpoint), self.model)

    def _load_best_model(self) -> None:
        if self._is_divided:
            super()._load_best_model()
        else:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    def _settings(self) -> dict[str, Any]:
        return {
            "teacher": self.teacher.name,
            "teacher_weights_sha256": self._teacher_sha256,
            "teacher_head_sha256": None if self.teacher.head is None else self.teacher.head.sha256(),
            "num_images": len(self.train_dataset.images),
            **self.args.distillation_settings,
        }
