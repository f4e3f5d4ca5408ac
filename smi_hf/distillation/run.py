"""`distill`: a teacher, a student and sparse images in; the taught student with its record out."""

import logging
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.state import PartialState

from smi_hf.data import SparseDataset
from smi_hf.data.report_file import remove_report
from smi_hf.distillation.config import SparseDistillationConfig
from smi_hf.distillation.curves import save_curves
from smi_hf.distillation.judging import SPARSE_KEY, TEACHER_KEY, doubts, judge
from smi_hf.distillation.lessons import Lesson, Taught, check_output_folder, discard, teach
from smi_hf.distillation.loading import StudentModel
from smi_hf.distillation.plan import PLAIN_KEY, UNTRAINED_KEY, Plan
from smi_hf.distillation.publishing import open_model_repository
from smi_hf.distillation.quantization import StudentQuantization
from smi_hf.distillation.records import QUANTIZED_FOLDER, distillation_record, save_integers
from smi_hf.distillation.rounds import Rounds, discard_rounds, teach_in_rounds
from smi_hf.distillation.trainer import SparseDistillationTrainer
from smi_hf.errors import UsageError
from smi_hf.evaluation.cost import size_figures
from smi_hf.evaluation.record import RESULTS_FILE, DatasetReference, ModelRecord
from smi_hf.files import one_writer
from smi_hf.hub.cards.model import save_model_record
from smi_hf.hub.publish import MODEL, push_to
from smi_hf.images.real import ImageSet
from smi_hf.models import Teacher
from smi_hf.models.classification import is_headless
from smi_hf.reports.page import add_report

logger = logging.getLogger(__name__)


def distill(
    teacher: Teacher,
    student: StudentModel,
    datasets: SparseDataset | Sequence[SparseDataset] = (),
    config: SparseDistillationConfig | None = None,
    *,
    images: ImageSet | None = None,
    controls: Sequence[str] = (),
    quantization: StudentQuantization | None = None,
    rounds: Rounds | None = None,
) -> ModelRecord:
    """Teaches a student the answers that a teacher gives to sparse synthetic images of itself.

    `config.output_dir` then holds the student as stock transformers reads it, its image processor, its record
    (`results.json`) and its card, and with `quantization` its integers in the folder `quantized`; `push` publishes
    either. A run that was cut off continues by the same call; a finished one teaches nothing again.

    Args:
        teacher: frozen.
        student: what `load_student` returns. It is left as it is: a copy learns.
        datasets: sparse datasets of the teacher. The first makes the student; more, which need `images`, are further
            runs of its row in the table.
        config: the defaults if None.
        images: labeled images to judge on. Without them the student is judged by agreement with its teacher on
            synthetic images that are held out, and there is no table.
        controls: rows to compare with, as `smi_hf.images.controls` names them ("gaussian", "real=DATASET"): students
            of the same kind that are taught on as many other images.
        quantization: rounds the student while it learns (`smi_hf.quantization.qat.QuantizationAwareTraining`).
        rounds: grow a dataset while the student learns from it, in place of `datasets`.

    Returns:
        The record. Of several processes, those other than the main one get it without a table.

    Raises:
        UsageError: student, teacher, datasets and settings do not fit each other; or `output_dir` holds files of other
            origin, or a student that was taught otherwise.
        RunError: the loss became non-finite, or the Hub could not be reached.
    """
    if not isinstance(student, StudentModel):
        raise UsageError(
            f"the student is a {type(student).__name__}; give what smi_hf.load_student returns, or put a model of "
            f"your own into smi_hf.distillation.StudentModel(model, image_processor)"
        )
    config = config or SparseDistillationConfig()
    datasets = [datasets] if isinstance(datasets, SparseDataset) else list(datasets)
    datasets = [dataset.first(config.num_images) for dataset in datasets]
    plan = Plan(teacher, student, tuple(datasets), config, images, tuple(controls), quantization, rounds)
    is_main = config.process_index == 0
    with one_writer(plan.folder) if is_main else nullcontext():
        check_output_folder(plan.folder)
        settings = plan.lesson_settings()
        record = None if config.overwrite_output_dir else _finished(plan, settings)
        # A refusal by the Hub must come before the work, not after it.
        repository = open_model_repository(config) if config.push_to_hub and is_main else None
        if record is None:
            record = _teach_and_judge(plan, settings)
        elif is_main:
            logger.info("the student in %s is finished already; nothing was taught", plan.folder)
        if is_main and config.report:
            for folder in (plan.folder, *([plan.folder / QUANTIZED_FOLDER] if quantization else [])):
                add_report(folder, renew=False)
    if is_main:
        for doubt in doubts(record, len(teacher.label_names)):
            logger.warning(doubt)
    if repository is not None:
        folder = plan.folder / QUANTIZED_FOLDER if quantization else plan.folder
        logger.info("published: %s", push_to(repository, folder, MODEL))
    return record


def _finished(plan: Plan, settings: dict[str, Any]) -> ModelRecord | None:
    """The record of a student that needs neither teaching nor judging, None of any other."""
    lesson = Lesson.found_in(plan.folder)
    if lesson is None:
        return None
    lesson.check_same(settings, plan.folder)
    if not lesson.is_taught or not (plan.folder / RESULTS_FILE).is_file():
        return None
    lesson.check_whole(plan.folder)
    record = ModelRecord.load(plan.folder)
    if record.changed_file(plan.folder) is not None:
        return None
    if plan.rounds is not None:
        return record
    is_same_table = (
        [row.key for row in record.rows] == ([TEACHER_KEY, *plan.row_keys] if plan.row_keys else [])
        and record.datasets == plan.dataset_references()
        and record.settings["control_seeds"] == list(plan.config.control_seeds)
    )
    return record if is_same_table else None


def _teach_and_judge(plan: Plan, settings: dict[str, Any]) -> ModelRecord:
    """Teaches whatever is not taught yet, and writes student, record and card."""
    # All that can be wrong with the input is found before anything is written.
    sets, labels = plan.extra_rows()
    new_student = plan.new_students()
    trainer = None if plan.rounds else plan.make_trainer(new_student(0), plan.datasets[0], plan.folder)
    _open_folder(plan, settings)
    if trainer is None:
        trainer, first = teach_in_rounds(new_student(0), plan.rounds, plan.make_trainer, plan.folder, settings)
    else:
        first = teach(trainer, plan.folder, settings, is_quantized=plan.quantization is not None)
    students = {SPARSE_KEY: [first]}
    if plan.quantization is not None and plan.images is not None:
        num_images = len(plan.datasets[0])
        students[UNTRAINED_KEY] = [Taught(new_student(0).model, num_images)]
        students[PLAIN_KEY] = [Taught(plan.plain_student(), num_images)]
    for key, runs in sets.items():
        already = len(students.setdefault(key, []))
        students[key] += [_teach_extra(plan, new_student(already + run), each) for run, each in enumerate(runs)]
    held_out = trainer.judge_held_out()
    record = replace(_unjudged(plan, trainer, first), held_out=held_out)
    if not trainer.is_world_process_zero():
        return record
    if plan.images is not None:
        rows = judge(
            students, labels, plan.teacher, plan.student.image_processor, plan.images,
            sizes={TEACHER_KEY: size_figures(plan.teacher.model), SPARSE_KEY: trainer.student.size_figures()},
            disable_tqdm=plan.config.disable_tqdm,
        )  # fmt: skip
        curves = {key: runs[0].curve for key, runs in students.items() if runs[0].curve}
        pictures = save_curves(rows, curves, plan.folder)
        record = record.judged(rows, plan.images, curves=curves, pictures=pictures)
    if plan.quantization is not None:
        folder = plan.folder / QUANTIZED_FOLDER
        head = plan.teacher.head if is_headless(first.model) else None
        save_integers(first.model, plan.student.image_processor, record, folder, plan.quantization, head)
    save_model_record(record, plan.folder)
    return ModelRecord.load(plan.folder)


def _open_folder(plan: Plan, settings: dict[str, Any]) -> None:
    """Marks the folder as ours, by the main process; removes what is to be discarded first."""
    state = PartialState()
    # Every process must have looked before any of them writes.
    state.wait_for_everyone()
    if state.is_main_process:
        # What follows writes another record.
        remove_report(plan.folder)
        remove_report(plan.folder / QUANTIZED_FOLDER)
        if plan.config.overwrite_output_dir:
            discard_rounds(plan.folder)
            discard(plan.folder)
        if plan.config.overwrite_output_dir or Lesson.found_in(plan.folder) is None:
            plan.folder.mkdir(parents=True, exist_ok=True)
            Lesson(settings).save(plan.folder)
    state.wait_for_everyone()


def _teach_extra(plan: Plan, student: StudentModel, images: Any) -> Taught:
    """A student for the table alone; nothing of it is kept on disk."""
    with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
        trainer = plan.make_trainer(student, images, Path(work), is_extra=True)
        trainer.train()
        return Taught(student.model, len(images), trainer.seconds, trainer.curve, trainer.steps)


def _unjudged(plan: Plan, trainer: SparseDistillationTrainer, taught: Taught) -> ModelRecord:
    references = [DatasetReference.of(trainer.taught_on, plan.teacher), *plan.dataset_references()[1:]]
    more: dict[str, Any] = {
        "rounds": plan.rounds.num_rounds if plan.rounds else 0,
        "control_seeds": list(plan.config.control_seeds),
        **taught.steps,
    }
    if plan.resumed_from:
        more["resumed_from"] = plan.resumed_from
    return distillation_record(trainer, references, more=more, quantization=plan.quantization)
