"""`smi-hf distill`: a teacher and a sparse dataset of it in, a student out."""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.controls import CONTROLS, check_controls, control_help, make_control
from smi_hf.environment import check_extra
from smi_hf.errors import UsageError
from smi_hf.files import check_new_folder

if TYPE_CHECKING:
    from smi_hf.data import SparseDataset
    from smi_hf.distillation import SparseDistillationConfig, SparseDistillationTrainer
    from smi_hf.distillation.experiment import Taught
    from smi_hf.evaluation.record import ModelRecord
    from smi_hf.hub.repository import Repository
    from smi_hf.images.kept import KeptImages
    from smi_hf.images.real import ImageSet
    from smi_hf.models import Teacher
    from smi_hf.quantization.backends.base import QuantizationSettings

    # By row of the table and number of the run.
    Students = dict[tuple[str, int], Taught]

QUANTIZED_FOLDER = "quantized"

_EPILOG = """examples:
  smi-hf distill --teacher me/vit-cifar10 --student facebook/deit-tiny-patch16-224 --dataset me/vit-cifar10-smi \\
      --output_dir out/student --freeze_backbone --eval_dataset cifar10 --eval_strategy epoch
  ... --controls gaussian real=cifar10:train --seeds 0 1 2
  smi-hf distill --teacher out/vit --student out/vit --dataset out/vit-smi --quantize_weights 2 --output_dir out/w2a8
  accelerate launch --config_file recipes/accelerate/multi_gpu.yaml recipes/distill.py --config my.yaml

Controls teach further students of the same kind, with as many images, on
""" + control_help() + """
"""  # fmt: skip

_SPARSE = "inverted, kept patches"


@dataclass
class DistillArguments:
    """Who learns what from whom, and what that is compared with."""

    teacher: str = field(metadata={"help": "Classifier that teaches: a Hub id, or a folder of save_pretrained."})
    student: str = field(
        metadata={"help": "Classifier that learns; any kind. One without the teacher's grid sees filled images."}
    )
    dataset: list[str] = field(
        metadata={
            "help": "Sparse dataset of the teacher: a folder, or a dataset on the Hub. More are further runs of the "
            "table's row; the first makes the student."
        }
    )
    teacher_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the teacher."})
    student_revision: str | None = field(default=None, metadata={"help": "Branch, tag or commit of the student."})
    from_scratch: bool = field(
        default=False, metadata={"help": "Take the student's architecture alone, and draw its weights anew."}
    )
    replace_head: bool = field(
        default=True, metadata={"help": "Whether a student of other labels may be given a new head."}
    )
    num_images: int | None = field(default=None, metadata={"help": "Teach on that many images. Default: all."})
    controls: list[str] = field(
        default_factory=list, metadata={"help": f"Rows to compare with: {', '.join(CONTROLS)}. Need --eval_dataset."}
    )
    control_seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={"help": "Seeds of noise, of the choice of real images and of random patches: one run each."},
    )
    quantize_weights: int | None = field(
        default=None,
        metadata={
            "help": "Quantization-aware training: round the student's weights by quanto to that many bits (8, 4, 2) "
            "while it learns, and write the integer model to output_dir/quantized."
        },
    )
    quantize_activations: int = field(
        default=8, metadata={"help": "Bits of its activations with quantize_weights: 8, or 32 for floating point."}
    )
    exclude: list[str] = field(
        default_factory=list, metadata={"help": "Names of layers that quantize_weights leaves in floating point."}
    )
    rounds: int = field(
        default=0,
        metadata={
            "help": "Invert and distil in turn, that many times: dataset is then a folder that grows by "
            "images_per_round each time. 0, the default, teaches on a dataset that is there, which is cheaper."
        },
    )
    images_per_round: int = field(default=32, metadata={"help": "Images that each of the rounds adds."})
    inversion_config: str | None = field(
        default=None,
        metadata={"help": "YAML file of smi-hf invert for the rounds, for its steps, classes and so on."},
    )
    eval_dataset: str | None = field(
        default=None, metadata={"help": "Labelled images to judge on: Hub id, folder or parquet file."}
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_dataset."})
    max_images: int | None = field(default=None, metadata={"help": "Judge on that many images. Default: all."})

    def __post_init__(self) -> None:
        check_controls(self.controls)
        if self.controls and not self.eval_dataset:
            raise UsageError("controls are rows of a table of accuracies; give --eval_dataset as well")
        if self.rounds < 0 or self.images_per_round < 1:
            raise UsageError(
                f"rounds must be at least 0 and images_per_round at least 1, but {self.rounds} and "
                f"{self.images_per_round} were given"
            )
        if self.rounds and (len(self.dataset) > 1 or self.num_images is not None or self.controls):
            raise UsageError("rounds grow one dataset: give one, and neither num_images nor controls")
        if self.rounds and self.quantize_weights:
            raise UsageError("quantize_weights needs images to calibrate on before the first step; leave out rounds")
        if self.exclude and not self.quantize_weights:
            raise UsageError(
                "exclude says which layers quantize_weights leaves alone; give --quantize_weights as well"
            )
        if self.inversion_config and not self.rounds:
            raise UsageError("inversion_config says how rounds invert; give --rounds as well")


def make_parser() -> ArgumentParser:
    """The parser of this command, with every option of `TrainingArguments`."""
    from smi_hf.distillation import SparseDistillationConfig

    return ArgumentParser(
        (DistillArguments, SparseDistillationConfig),
        prog="smi-hf distill",
        description="Teach a student the answers that a teacher gives to sparse synthetic images of itself.",
        epilog=_EPILOG,
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, teaches, and compares if asked."""
    given, args = make_parser().parse(arguments)

    from smi_hf.images.real import load_image_set
    from smi_hf.models import load_teacher
    from smi_hf.models.preprocessing import load_image_processor

    settings = _quantization(given)
    if settings is not None:
        check_new_folder(Path(args.output_dir) / QUANTIZED_FOLDER)
    if given.eval_dataset:
        check_extra("plots", "the learning curve of --eval_dataset")
    teacher = load_teacher(given.teacher, revision=given.teacher_revision)
    images = None
    if given.eval_dataset:
        images = load_image_set(
            given.eval_dataset, teacher.label_names, split=given.eval_split, max_images=given.max_images
        )
    image_processor = load_image_processor(given.student, revision=given.student_revision)
    lesson = Lesson(given, args, teacher, images, image_processor, settings)
    # Nobody shall teach for hours and then be refused.
    repository = _open_repository(args) if args.push_to_hub and args.process_index == 0 else None
    trainer, students = lesson.teach_in_rounds() if given.rounds else lesson.teach_at_once()
    lesson.save(trainer)
    figures = {} if images else trainer.evaluate()
    if not trainer.is_world_process_zero():
        return
    if images:
        lesson.report(trainer, students)
    else:
        agreement = figures["eval_agreement"]
        held_out = {"num_images": len(trainer.eval_dataset), "agreement": agreement}
        lesson.save_records(replace(lesson.record(trainer), held_out=held_out))
        print(f"agreement with the teacher on {trainer.judged_on}: {100 * agreement:.1f} %")
    print(f"student in {args.output_dir}, taught on {trainer.student.sees} in {students[_SPARSE, 0].seconds:.1f} s")
    if repository is not None:
        from smi_hf.hub.publish import MODEL, push_to

        folder = Path(args.output_dir)
        print(f"published: {push_to(repository, folder / QUANTIZED_FOLDER if settings else folder, MODEL)}")


@dataclass
class Lesson:
    """Everything of one command.

    Args:
        images: real images to judge on, None to judge by held-out synthetic ones.
        image_processor: the student's.
        settings: how the student is rounded while it learns, None if it is not.
        datasets: what the record says of the sparse datasets; known once they are loaded.
    """

    given: DistillArguments
    args: "SparseDistillationConfig"
    teacher: "Teacher"
    images: "ImageSet | None"
    image_processor: Any
    settings: "QuantizationSettings | None"
    datasets: "list[dict[str, Any]]" = field(default_factory=list)

    def teach_at_once(self) -> "tuple[SparseDistillationTrainer, Students]":
        """Students of every row, and the trainer of the first."""
        from smi_hf.distillation import experiment
        from smi_hf.evaluation.record import dataset_reference

        sparse, rows = _images(self.given, self.teacher)
        self.datasets = [dataset_reference(dataset, self.teacher) for dataset in rows[_SPARSE]]
        new_student = self._rounded_student(sparse) if self.settings else self._new_student
        trainer = self._make_trainer(new_student(0), sparse, Path(self.args.output_dir))
        first = experiment.teach(trainer, len(sparse), self.args.resume_from_checkpoint)
        if not self.images:
            return trainer, {(_SPARSE, 0): first}
        students = experiment.teach_rows(new_student, self._make_trainer, rows, first=first)
        if self.settings:
            untrained = {"rounded, not trained": new_student(0), "quanto alone": self._plain_student(sparse)}
            for name, model in untrained.items():
                students[name, 0] = experiment.Taught(model, len(sparse), 0.0, ())
        return trainer, students

    def teach_in_rounds(self) -> "tuple[SparseDistillationTrainer, Students]":
        """The student of the last round, in a trainer of its own."""
        from smi_hf.distillation.rounds import teach_in_rounds
        from smi_hf.evaluation.record import dataset_reference

        output_dir = Path(self.args.output_dir)
        taught = teach_in_rounds(
            self._new_student(0),
            lambda num_images: _grow(self.given, self.teacher, num_images),
            self._make_trainer,
            num_rounds=self.given.rounds,
            images_per_round=self.given.images_per_round,
            output_dir=output_dir,
        )
        pool = _grow(self.given, self.teacher, taught.num_images)
        self.datasets = [dataset_reference(pool, self.teacher)]
        return self._make_trainer(taught.model, pool, output_dir), {(_SPARSE, 0): taught}

    def save(self, trainer: "SparseDistillationTrainer") -> None:
        """The student as stock transformers reads it, and frozen to integers if it was rounded, with their records."""
        trainer.save_model()
        if not trainer.is_world_process_zero():
            return
        if self.settings:
            from smi_hf.quantization.qat.training import freeze_and_save

            folder = Path(self.args.output_dir) / QUANTIZED_FOLDER
            freeze_and_save(trainer.accelerator.unwrap_model(trainer.model), folder)
            self.image_processor.save_pretrained(folder)
        self.save_records(self.record(trainer))

    def report(self, trainer: "SparseDistillationTrainer", students: "Students") -> None:
        """Prints the table, and writes it into the record, with the learning curves."""
        from smi_hf.cli.tables import distillation_table, make_console
        from smi_hf.distillation import experiment

        assert self.images is not None
        rows = experiment.compare(
            students, self.teacher, self.images, self.image_processor, disable_tqdm=self.args.disable_tqdm
        )
        pictures = experiment.save_curves(rows, Path(self.args.output_dir))
        self.save_records(self.record(trainer).judged(rows, self.images, pictures=pictures))
        title = f"Students of {self.teacher.name}, judged on {len(self.images)} images"
        make_console().print(distillation_table(rows, title))

    def record(self, trainer: "SparseDistillationTrainer") -> "ModelRecord":
        """What the student was made from and how."""
        from smi_hf.distillation.records import distillation_record
        from smi_hf.quantization.records import backend_settings

        given = self.given
        more = {"rounds": given.rounds, "control_seeds": given.control_seeds}
        if self.settings:
            more["quantization"] = backend_settings("quanto", self.settings)
        return distillation_record(
            trainer,
            self.datasets,
            started_from=given.student,
            from_scratch=given.from_scratch,
            more=more,
            extra="quanto" if self.settings else None,
        )

    def save_records(self, record: "ModelRecord") -> None:
        """Record and card of the student, and of its quantized self."""
        from smi_hf.hub.cards.model import save_model_record

        folder = Path(self.args.output_dir)
        save_model_record(record, folder)
        if self.settings:
            settings = dict(record.settings)
            # One flat list: the back end's options as in any quantized model's record, the training's behind.
            settings = settings.pop("quantization") | settings
            # The curve is a picture of the training, and lies beside the student.
            quantized = replace(record, kind="quantized", settings=settings, pictures=[])
            save_model_record(quantized, folder / QUANTIZED_FOLDER)

    def _new_student(self, run: int) -> Any:
        from smi_hf.distillation import load_student

        given = self.given
        return load_student(
            given.student,
            self.teacher,
            revision=given.student_revision,
            replace_head=given.replace_head,
            from_scratch=given.from_scratch,
            seed=self.args.seed + run,
        )

    def _rounded_student(self, sparse: "SparseDataset") -> Callable[[int], Any]:
        from smi_hf.images.kept import sparse_images
        from smi_hf.models import SparseClassifier
        from smi_hf.quantization.qat.training import quantize_for_training

        calibration, image_size = sparse_images(sparse), self.teacher.model.grid.image_size

        # Rounding looks at every image once a layer; the rows of the table begin alike.
        @functools.cache
        def rounded(run: int) -> Any:
            student = SparseClassifier(self._new_student(run), image_size)
            return quantize_for_training(student, calibration, self.settings, disable_tqdm=self.args.disable_tqdm)

        return lambda run: copy.deepcopy(rounded(run))

    def _plain_student(self, sparse: "SparseDataset") -> Any:
        """Control: what the back end makes of the same images."""
        from smi_hf.images.kept import sparse_images
        from smi_hf.models import SparseClassifier
        from smi_hf.quantization.backends.base import BACKENDS, choose_layers
        from smi_hf.quantization.backends.quanto import linear_layers, unfrozen_copy

        model = SparseClassifier(self._new_student(0), self.teacher.model.grid.image_size)
        layers = choose_layers(linear_layers(model), BACKENDS.get("quanto"), self.settings)
        return unfrozen_copy(model, sparse_images(sparse), self.settings, layers).model

    def _make_trainer(self, student: Any, dataset: Any, folder: Path) -> "SparseDistillationTrainer":
        from smi_hf.distillation import SparseDistillationTrainer

        # Not dataclasses.replace: some fields of TrainingArguments are not what they were given as.
        args = copy.copy(self.args)
        args.output_dir = str(folder)
        # What is published is the student with its table, at the end.
        args.push_to_hub = False
        return SparseDistillationTrainer(student, self.teacher, args, dataset, self.images, self.image_processor)


def _open_repository(args: "SparseDistillationConfig") -> "Repository":
    from smi_hf.hub.publish import MODEL, open_for

    return open_for(
        MODEL,
        args.hub_model_id or Path(args.output_dir).resolve().name,
        private=bool(args.hub_private_repo),
        token=args.hub_token,
    )


def _quantization(given: DistillArguments) -> "QuantizationSettings | None":
    """How the student is rounded while it learns, None if it is not.

    Raises:
        UsageError: quanto is absent, or has no such widths, or there is a quantized model already.
    """
    from smi_hf.quantization.backends.base import QuantizationSettings, check_settings

    if given.quantize_weights is None:
        return None
    settings = QuantizationSettings(given.quantize_weights, given.quantize_activations, exclude=tuple(given.exclude))
    check_settings("quanto", settings)
    return settings


def _grow(given: DistillArguments, teacher: "Teacher", num_images: int) -> "SparseDataset":
    """The pool of the rounds, of that many images: those that are not there yet are made."""
    from smi_hf.cli.invert import make_parser as make_invert_parser
    from smi_hf.data import load_sparse_dataset
    from smi_hf.inversion import SparseInversionTrainer

    options = ["--config", given.inversion_config] if given.inversion_config else []
    options += ["--model_name_or_path", given.teacher, "--output_dir", given.dataset[0]]
    _, config = make_invert_parser().parse([*options, "--num_images", str(num_images)])
    SparseInversionTrainer(teacher, config).train()
    return load_sparse_dataset(given.dataset[0], teacher=teacher)


def _images(
    given: DistillArguments, teacher: "Teacher"
) -> "tuple[SparseDataset, dict[str, Sequence[SparseDataset | KeptImages]]]":
    """The first sparse dataset, and the images of every row, one set a run."""
    from smi_hf.data import load_sparse_dataset
    from smi_hf.images.kept import sparse_images
    from smi_hf.models.preprocessing import load_image_processor

    loaded = [load_sparse_dataset(path, teacher=teacher).first(given.num_images) for path in given.dataset]
    rows: dict[str, list[Any]] = {_SPARSE: list(loaded)}
    if given.controls:
        sparse = [sparse_images(dataset) for dataset in loaded]
        image_processor = load_image_processor(given.teacher, revision=given.teacher_revision)
        for control in given.controls:
            made = make_control(control, sparse, teacher, image_processor, given.control_seeds)
            rows.setdefault(made[0].source, []).extend(made)
    return loaded[0], rows
