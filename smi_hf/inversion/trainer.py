"""The trainer: wires teacher, trajectories, callbacks and the dataset writer together on accelerate."""

import errno
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import find_executable_batch_size
from transformers import PreTrainedModel

from smi_hf.data.parquet import open_parquet
from smi_hf.data.record import DatasetRecord
from smi_hf.data.schema import FinishedImages
from smi_hf.data.writer import SparseDatasetWriter
from smi_hf.environment import describe_environment
from smi_hf.errors import RunError, UsageError
from smi_hf.files import disk_errors, file_sha256, one_writer
from smi_hf.hub.cards.dataset import save_card
from smi_hf.hub.publish import DATASET, open_for, push, push_to
from smi_hf.hub.repository import Repository
from smi_hf.images.starts import open_start
from smi_hf.inversion.batches import own_batches
from smi_hf.inversion.callbacks import (
    CallbackList,
    LossCurveCallback,
    ProgressCallback,
    SparseInversionCallback,
    StagePreviewCallback,
    TrackerCallback,
)
from smi_hf.inversion.callbacks.base import InversionRun
from smi_hf.inversion.config import MIXED_PRECISIONS, SparseInversionConfig
from smi_hf.inversion.fitting import check_fits_teacher
from smi_hf.inversion.helpers import load_helpers
from smi_hf.inversion.processes import make_accelerator
from smi_hf.inversion.results import measure_images, save_pictures
from smi_hf.inversion.targets import choose_targets
from smi_hf.inversion.trajectory import run_trajectory
from smi_hf.losses import describe_terms
from smi_hf.models import Teacher, VisionClassifier
from smi_hf.models.preprocessing import load_image_processor
from smi_hf.reports.page import add_report

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


class SparseInversionTrainer:
    """Inverts an image model into a dataset of sparse synthetic images.

    Trajectories, each of which gives an image or several, are independent of each other: processes share only the list
    of targets, one a trajectory, each makes every n-th batch and writes its own shards. A run that was cut off is
    continued by the same call, batch by batch.

    Args:
        model: a Hugging Face image classifier, or a `Teacher` that was loaded already (`load_teacher`), which may be
            an image tower or a backbone. Its weights stop requiring gradients and it moves to the accelerator's
            device.
        args: settings; the defaults if None.
        image_processor: the model's; loaded from where the model came from if None.
        callbacks: told of each event, after the built-in ones.

    Raises:
        UsageError: model, image processor and settings do not fit each other.
    """

    def __init__(
        self,
        model: PreTrainedModel | VisionClassifier | Teacher,
        args: SparseInversionConfig | None = None,
        *,
        image_processor: Any = None,
        callbacks: Sequence[SparseInversionCallback] = (),
    ) -> None:
        self.args = args or SparseInversionConfig()
        self.teacher = model if isinstance(model, Teacher) else _as_teacher(model, image_processor)
        check_fits_teacher(self.args, self.teacher)
        num_trajectories = self.args.num_images // self.args.num_stages
        self.targets = choose_targets(
            num_trajectories, self.args.classes, self.teacher.label_names, seed=self.args.seed
        )
        self.output_dir = Path(self.args.output_dir)
        # Trackers write beside the dataset, never into the folder that is published.
        folder = Path(os.path.abspath(self.output_dir))
        logging_dir = folder.parent / f"{folder.name}-logs"
        self.accelerator = make_accelerator(self.args.report_to, logging_dir)
        self.mixed_precision = self.args.mixed_precision or self.accelerator.mixed_precision
        if self.mixed_precision not in MIXED_PRECISIONS:
            raise UsageError(
                f"mixed precision {self.mixed_precision!r} was asked of accelerate, but inversion runs in "
                f"{' or '.join(MIXED_PRECISIONS)}"
            )
        self.teacher.model.to(self.accelerator.device).freeze()
        self.helpers = load_helpers(self.args, self.teacher, device=self.accelerator.device)
        if self.args.compile:
            self.teacher.model.compile()
        self.start = open_start(self.args.start_spec, self.teacher)
        self.record = self._make_record()
        self._losses = LossCurveCallback()
        built_in = [ProgressCallback(), TrackerCallback(), StagePreviewCallback(), self._losses]
        self.callbacks = CallbackList([*built_in, *callbacks])
        self._num_session_images = 0
        self._writer = SparseDatasetWriter(self.output_dir, self.record, head=self.teacher.head)
        self._batch_size = min(self.args.batch_size, num_trajectories)

    def train(self) -> "Dataset":
        """Makes the images that are not on disk yet, and returns the whole dataset.

        Returns:
            `trainer.dataset`.

        Raises:
            UsageError: `output_dir` cannot be used, another run writes there, or the Hub refuses `push_to_hub`.
            RunError: a loss became non-finite, memory or disk ran out; what is finished stays on disk.
        """
        is_main = self.accelerator.is_main_process
        with one_writer(self.output_dir) if is_main else disk_errors(self.output_dir):
            self._make_dataset()
        return self.dataset

    @property
    def dataset(self) -> "Dataset":
        """The finished images, in order."""
        return open_parquet(self._writer.shards())

    def push_to_hub(self, repo_id: str, *, private: bool = False, **options: Any) -> str:
        """Publishes the finished dataset; see `smi_hf.push`. Returns the address of the commit."""
        url = ""
        if self.accelerator.is_main_process:
            url = push(self.output_dir, repo_id, private=private, **options)
        self.accelerator.wait_for_everyone()
        return url

    def _make_dataset(self) -> None:
        repository = None
        if self.accelerator.is_main_process:
            # A refusal by the Hub must come before the work, not after it.
            repository = self._open_repository() if self.args.push_to_hub else None
            self._writer.open(overwrite=self.args.overwrite_output_dir)
        self.accelerator.wait_for_everyone()
        # Every process must have looked before any of them writes.
        finished = self._writer.finished_images()
        batches = own_batches(
            self.args.num_images,
            self.args.batch_size,
            finished,
            num_stages=self.args.num_stages,
            process=self.accelerator.process_index,
            num_processes=self.accelerator.num_processes,
        )
        self.accelerator.wait_for_everyone()
        num_own_images = sum(map(len, batches)) * self.args.num_stages
        run = InversionRun(self.args, self.teacher, self.accelerator, self.record, self.output_dir, num_own_images)
        self._num_session_images = self.args.num_images - len(finished)
        started = time.perf_counter()
        self.callbacks.on_begin(run)
        try:
            for trajectories in batches:
                self._make_batch(run, trajectories)
        finally:
            self.callbacks.on_end(run)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self._complete(time.perf_counter() - started)
            if self.args.report:
                # Of a dataset that changes it is removed, so one that is there is of these images.
                add_report(self.output_dir, renew=False)
            if repository is not None:
                logger.info("published: %s", push_to(repository, self.output_dir, DATASET))
        self.accelerator.wait_for_everyone()

    def _make_batch(self, run: InversionRun, trajectories: list[int]) -> None:
        """Makes and writes a batch; when memory runs out, in halves, and so from then on."""
        left = list(trajectories)
        noun = "images" if self.args.num_stages == 1 else "trajectories"

        def halve() -> int:
            self._batch_size //= 2
            if self._batch_size:
                logger.warning("out of memory: continuing with batches of %d %s", self._batch_size, noun)
            return self._batch_size

        @find_executable_batch_size(starting_batch_size=self._batch_size, reduce_batch_size_fn=halve)
        def make(batch_size: int) -> None:
            while left:
                images = self._make_images(run, left[:batch_size])
                self._write(images)
                del left[:batch_size]
                self.callbacks.on_batch_end(run, images)

        try:
            make()
        except RuntimeError as error:
            if "No executable batch size" not in str(error):
                raise
            raise RunError(
                f"not enough memory on {self.accelerator.device} for a single image of this model; use "
                f"mixed_precision bf16 or a machine with more"
            ) from error

    def _make_images(self, run: InversionRun, trajectories: list[int]) -> FinishedImages:
        return run_trajectory(
            self.teacher,
            self.args,
            trajectories,
            [self.targets[trajectory] for trajectory in trajectories],
            start=self.start,
            helpers=self.helpers,
            device=self.accelerator.device,
            autocast=self._autocast,
            on_begin=lambda state: self.callbacks.on_batch_begin(run, state),
            on_step_end=lambda state, losses: self.callbacks.on_step_end(run, state, losses),
            on_prune=lambda state: self.callbacks.on_prune(run, state),
        )

    def _autocast(self) -> AbstractContextManager:
        # Not accelerator.autocast(): accelerate allows one precision a process, and a notebook may try both.
        if self.mixed_precision == "no":
            return nullcontext()
        return torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16)

    def _write(self, images: FinishedImages) -> None:
        with self._space_for(f"images {images.image_indices[0]} to {images.image_indices[-1]}"):
            self._writer.write(images)

    @contextmanager
    def _space_for(self, what: str) -> Iterator[None]:
        """Says what there was no space for."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise RunError(
                f"no space left for {what} in {self.output_dir}; make room and run the same command again, which "
                f"continues"
            ) from error

    def _complete(self, seconds: float) -> None:
        """Record, card and preview of the whole dataset, by the main process."""
        finished = self._writer.finished_images()
        assert finished == set(range(self.args.num_images)), "an image is missing though every process has ended"
        before = DatasetRecord.load(self.output_dir)
        if before.status == "complete" and before.results["content_sha256"] == self._writer.content_sha256():
            logger.info("%s is complete already; nothing was computed", self.output_dir)
            self.record = before
            return
        with self._space_for("merging shards"):
            self._writer.merge()
        session = {
            "num_images_this_session": self._num_session_images,
            "seconds_this_session": round(seconds, 1),
            "num_processes": self.accelerator.num_processes,
        }
        figures = measure_images(self._writer, self.teacher, batch_size=self._batch_size)
        pictures = save_pictures(self._writer, self.args.num_preview_images)
        # Without its digest no picture is published.
        digests = {name: file_sha256(self.output_dir / name) for name in pictures}
        results = {
            **figures,
            **session,
            "patches_ranked_by": self.teacher.model.reads_from,
            "pictures": pictures,
            "picture_sha256": digests,
            "loss_terms": describe_terms(self.args.term_weights),
            "loss_curve": self._losses.curve,
        }
        self.record = self.record.completed(results)
        save_card(self.record, self.output_dir)
        # Last, as it says that the rest is there.
        self.record.save(self.output_dir)

    def _make_record(self) -> DatasetRecord:
        grid = self.teacher.model.grid
        record = DatasetRecord(
            teacher=self.teacher.reference(),
            label_names=self.teacher.label_names,
            image_size=grid.image_size,
            patch_size=grid.patch_size,
            image_mean=self.teacher.normalization.mean,
            image_std=self.teacher.normalization.std,
            channel_order="BGR" if self.teacher.normalization.is_bgr else "RGB",
            settings=self.args.image_settings()
            | {"mixed_precision": self.mixed_precision}
            | self.start.settings()
            | self.helpers.settings,
            keep_counts=self.args.prune_schedule.keep_counts(grid.num_patches),
            environment=describe_environment(self.accelerator.device),
        )
        try:
            record.check()
        except ValueError as error:
            raise UsageError(f"this model and these settings make no sparse dataset: {error}") from error
        return record

    def _open_repository(self) -> Repository:
        repo_id = self.args.hub_dataset_id or self.output_dir.resolve().name
        return open_for(DATASET, repo_id, private=self.args.hub_private_repo, revision=self.args.hub_revision)


def _as_teacher(model: PreTrainedModel | VisionClassifier, image_processor: Any) -> Teacher:
    if image_processor is None:
        source = model.config._name_or_path
        try:
            if not source:
                raise OSError("the model has no name to load one by")
            image_processor = load_image_processor(source)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"no image processor was given and none could be loaded ({error}); pass image_processor=..., as it "
                f"says which pixel values are valid"
            ) from error
    return Teacher.from_model(model, image_processor)
