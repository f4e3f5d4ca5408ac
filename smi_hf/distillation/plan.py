"""What `distill` was asked for: checked before anything is loaded or written, and made into students and trainers."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from transformers.trainer_utils import SaveStrategy

from smi_hf.data import SparseDataset
from smi_hf.data.validation import check_made_from
from smi_hf.distillation.checkpoints import checkpoint_to_resume
from smi_hf.distillation.checks import check_student, size_made_for
from smi_hf.distillation.choosing import with_preset
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.judging import SPARSE_KEY
from smi_hf.distillation.lessons import as_json
from smi_hf.distillation.loading import StudentModel
from smi_hf.distillation.quantization import StudentQuantization
from smi_hf.distillation.rounds import Rounds
from smi_hf.distillation.shown import TILED, label_as_shown
from smi_hf.distillation.students import SparseStudent, make_student
from smi_hf.distillation.trainer import SparseDistillationTrainer
from smi_hf.environment import check_extra
from smi_hf.errors import UsageError
from smi_hf.evaluation.accuracy import check_judges
from smi_hf.evaluation.record import DatasetReference
from smi_hf.files import check_folder_name
from smi_hf.images.controls.base import check_controls_judged, control_sets, parse_controls
from smi_hf.images.kept import KeptImages, sparse_images
from smi_hf.images.real import ImageSet
from smi_hf.images.tiles import tile_images
from smi_hf.models import SparseClassifier, Teacher
from smi_hf.models.classification import is_headless
from smi_hf.models.classifier import weights_sha256
from smi_hf.models.preprocessing import normalization_of

UNTRAINED_KEY, PLAIN_KEY = "untrained", "quantizer alone"


def check_request(
    config: SparseDistillationConfig,
    *,
    num_datasets: int,
    controls: Sequence[str] = (),
    has_images: bool = False,
    quantization: StudentQuantization | None = None,
    has_rounds: bool = False,
) -> None:
    """Checks whether what was asked for fits together; loads and writes nothing.

    Raises:
        UsageError: it does not.
    """
    parse_controls(controls)
    check_controls_judged(controls, has_images=has_images)
    if has_rounds and (num_datasets or config.num_images is not None or controls):
        raise UsageError("rounds grow one dataset of their own: give neither more datasets, num_images nor controls")
    if has_rounds and quantization is not None:
        raise UsageError("quantization needs images to calibrate on before the first step; leave out rounds")
    if has_rounds and config.resume_from_checkpoint:
        raise UsageError("rounds continue by themselves where they were cut off; leave out resume_from_checkpoint")
    if not (has_rounds or num_datasets):
        raise UsageError("there is no dataset to teach on; give at least one")
    if num_datasets > 1 and not has_images:
        raise UsageError(
            "more than one dataset makes further runs of a result table; give --eval_dataset as well (images "
            "in Python), or one dataset"
        )
    if isinstance(config.resume_from_checkpoint, str):
        # Whether it was made with these settings is checked when it is read.
        checkpoint_to_resume(
            config.resume_from_checkpoint, Path(config.output_dir), {}, has_optimizer=not config.save_only_model
        )
    check_folder_name(config.output_dir)
    if has_images and config.draws_curve:
        check_extra("plots", "the learning curve (eval_strategy)")
    if quantization is not None:
        quantization.check()


@dataclass(frozen=True)
class Plan:
    """A checked request; the fields are `distill`'s arguments, `config` with what a preset fills in."""

    teacher: Teacher
    student: StudentModel
    datasets: tuple[SparseDataset, ...]
    config: SparseDistillationConfig
    images: ImageSet | None = None
    controls: tuple[str, ...] = ()
    quantization: StudentQuantization | None = None
    rounds: Rounds | None = None

    def __post_init__(self) -> None:
        check_request(
            self.config,
            num_datasets=len(self.datasets),
            controls=self.controls,
            has_images=self.images is not None,
            quantization=self.quantization,
            has_rounds=self.rounds is not None,
        )
        for dataset in self.datasets:
            check_made_from(dataset.record, self.teacher, other_teacher=self.config.other_teacher)
        check_judges(self.images, self.teacher)
        check_student(self.student.model, self.teacher)
        size_made_for(self.student.model, self.student.image_processor)
        num_images = self.rounds.num_images if self.rounds else len(self.datasets[0])
        filled = with_preset(self.config, self.student.model, self.student.origin, self.teacher, num_images)
        object.__setattr__(self, "config", filled)
        if self.quantization is not None and not isinstance(self._seen_by_trainer(), SparseStudent):
            raise UsageError(
                "quantization calibrates on the kept patches alone, which this student cannot be shown; give a "
                "student of a supported family that has the teacher's patch grid"
            )

    @property
    def folder(self) -> Path:
        return Path(self.config.output_dir)

    @property
    def row_keys(self) -> list[str]:
        """Of the rows of students, in order; empty without images."""
        if self.images is None:
            return []
        return [SPARSE_KEY, *([UNTRAINED_KEY, PLAIN_KEY] if self.quantization else []), *parse_controls(self.controls)]

    def dataset_references(self) -> tuple[DatasetReference, ...]:
        return tuple(DatasetReference.of(dataset, self.teacher) for dataset in self.datasets)

    def lesson_settings(self) -> dict[str, Any]:
        """Everything that decides what the student learns and how that is judged on the way, as JSON has it."""
        config, origin = self.config, self.student.origin
        settings = {
            "teacher": self.teacher.name,
            "teacher_weights_sha256": self.teacher.weights_sha256(),
            **({} if self.teacher.head is None else {"teacher_head_sha256": self.teacher.head.sha256()}),
            "student": origin.name,
            "from_scratch": origin.from_scratch,
            "student_weights_sha256": weights_sha256(self.student.model),
            "student_image_processor": self.student.image_processor.to_dict(),
            **config.distillation_settings,
            **config.training_settings,
            "eval_strategy": config.eval_strategy,
            "eval_steps": config.eval_steps,
            "judged_on": None if self.images is None else asdict(self.images.reference()),
            "held_out": config.held_out if self.images is None or config.stops_early else None,
            "quantization": None if self.quantization is None else dict(self.quantization.settings),
            "resumed_from": self.resumed_from,
        }
        if origin.layers is not None:
            settings["student_layers"] = origin.layers
        if self.rounds is not None:
            return as_json(settings | self.rounds.lesson_settings())
        dataset = self.dataset_references()[0]
        taught_on = {"dataset": dataset.name, "dataset_sha256": dataset.content_sha256}
        return as_json(settings | taught_on | {"num_images": dataset.num_images})

    @property
    def resumed_from(self) -> str | None:
        """The checkpoint of another run that this one begins from, without the path to it."""
        given = self.config.resume_from_checkpoint
        return "/".join(Path(given).resolve().parts[-2:]) if isinstance(given, str) else None

    def new_students(self) -> Callable[[int], StudentModel]:
        """A function from the number of a run to its student, which has learned nothing yet."""
        if self.quantization is None:
            return self.student.another

        # Rounding looks at every image once for each layer; the rows of the table begin alike.
        @cache
        def rounded(run: int) -> StudentModel:
            student = self.student.another(run)
            model = self.quantization.prepare(
                self._sparse_classifier(student), self.calibration(), disable_tqdm=self.config.disable_tqdm
            )
            return replace(student, model=model)

        return lambda run: rounded(run).another(0)

    def calibration(self) -> KeptImages:
        """The first dataset's images as the student is shown them."""
        images, student = sparse_images(self.datasets[0]), self.student
        if self.config.shown == TILED:
            images = tile_images(images, self.teacher.model.grid)
        wanted = normalization_of(student.image_processor, student.model.config)
        return replace(images, pixels_BCHW=self.teacher.normalization.converted(images.pixels_BCHW, wanted))

    def plain_student(self) -> Any:
        """Control: what the quantizer makes of the student by itself."""
        return self.quantization.plain(self._sparse_classifier(self.student.another()), self.calibration())

    def extra_rows(self) -> tuple[dict[str, list[SparseDataset | KeptImages]], dict[str, str]]:
        """Images that teach further students, one set for each run, and the labels of all rows, by their keys.

        Raises:
            UsageError: a control's dataset cannot be loaded, does not fit the teacher, or is too small.
        """
        if self.rounds is not None or self.images is None:
            return {}, {SPARSE_KEY: f"inverted, {'tiled' if self.config.shown == TILED else 'kept patches'}"}
        sets: dict[str, list[SparseDataset | KeptImages]] = {SPARSE_KEY: list(self.datasets[1:])}
        labels = {SPARSE_KEY: self._label(sparse_images(self.datasets[0], 1))}
        if self.quantization is not None:
            labels |= {UNTRAINED_KEY: "rounded, not trained", PLAIN_KEY: f"{self.quantization.name} alone"}
        sparse = [sparse_images(dataset) for dataset in self.datasets] if self.controls else []
        made_sets = control_sets(self.controls, self.teacher, sparse, self.config.control_seeds, judged_on=self.images)
        for key, made in made_sets.items():
            sets[key], labels[key] = list(made), self._label(made[0])
        return sets, labels

    def _label(self, images: KeptImages) -> str:
        return label_as_shown(images, self.teacher.model.grid, self.config.shown)

    def make_trainer(
        self, student: StudentModel, images: SparseDataset | KeptImages, folder: Path, *, is_extra: bool = False
    ) -> SparseDistillationTrainer:
        """A trainer with the settings of this plan.

        Args:
            folder: its output_dir.
            is_extra: whether its student is one for the table alone: not kept, and not shown to trackers.
        """
        # Not dataclasses.replace: some fields of TrainingArguments are not what they were given as.
        args = copy.copy(self.config)
        args.output_dir = str(folder)
        # Published is the student with its table, at the end; and the images are counted already.
        args.push_to_hub, args.num_images = False, None
        if is_extra:
            args.report_to, args.resume_from_checkpoint = [], None
            if not args.load_best_model_at_end:
                args.save_strategy = SaveStrategy.NO
        # Images whose labels mean nothing to the teacher judge when all is done, beside it.
        judging = None if self.teacher.judged_labels is None else self.images
        return SparseDistillationTrainer(student, self.teacher, args, images, judging)

    def _sparse_classifier(self, student: StudentModel) -> SparseClassifier:
        head = self.teacher.head if is_headless(student.model) else None
        return SparseClassifier(student.model, self.teacher.model.grid.image_size, head)

    def _seen_by_trainer(self) -> Any:
        return make_student(self.student.model, self.teacher)
