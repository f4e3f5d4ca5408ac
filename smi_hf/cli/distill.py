"""`smi-hf distill`: a teacher and a sparse dataset of it in, a student out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.distill_options import QuantizeArguments, RoundsArguments, StudentArguments, TeacherArguments
from smi_hf.cli.models import ImagesArguments, JudgeArguments
from smi_hf.images.controls.base import ControlSpec

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

_EPILOG = """examples:
  smi-hf distill --teacher me/vit-cifar10 --student facebook/deit-tiny-patch16-224 --dataset me/vit-cifar10-smi \\
      --output_dir out/student --freeze_backbone --eval_dataset cifar10 --eval_strategy epoch \\
      --controls gaussian real=cifar10:train --control_seeds 0 1 2
  smi-hf distill --teacher out/vit --student out/vit --dataset out/vit-smi --quantize_weights 2 --output_dir out/w2a8
  smi-hf distill --teacher out/vit --student_layers 6 --dataset out/vit-smi --output_dir out/shallow
  accelerate launch recipes/distill.py --config recipes/demo/distill.yaml --teacher vit --student vit --dataset smi

Presets, for what is left open of epochs, batch size, learning rate and views
{presets}

Controls teach further students of the same kind, with as many images, on
{controls}

The same command, run again, continues an unfinished run, and teaches nothing again if it is finished.
"""


def make_parser() -> ArgumentParser:
    """The parser of this command, with every option of `TrainingArguments`."""
    from smi_hf.distillation.config import SparseDistillationConfig
    from smi_hf.distillation.presets import preset_help

    return ArgumentParser(
        (
            TeacherArguments,
            StudentArguments,
            ImagesArguments,
            JudgeArguments,
            QuantizeArguments,
            RoundsArguments,
            SparseDistillationConfig,
        ),
        prog="smi-hf distill",
        description="Teach a student the answers that a teacher gives to sparse synthetic images of itself.",
        epilog=_EPILOG.format(controls=ControlSpec.help(), presets=preset_help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, teaches, and prints what came of it."""
    source, learner, given, judge, rounding, growth, config = make_parser().parse(arguments)

    from smi_hf.data import load_sparse_dataset
    from smi_hf.distillation import distill
    from smi_hf.distillation.lessons import check_output_folder
    from smi_hf.distillation.plan import check_request
    from smi_hf.distillation.records import QUANTIZED_FOLDER

    # What can be checked without loading a model comes first; `distill` checks it again.
    quantization = rounding.make_quantization()
    check_request(
        config,
        num_datasets=len(given.dataset) - bool(growth.rounds),  # one is the folder that rounds grow
        controls=given.controls,
        has_images=judge.eval_dataset is not None,
        quantization=quantization,
        has_rounds=bool(growth.rounds),
    )
    learner.check_can_choose(has_images=not growth.rounds)
    inversion = growth.read_inversion(source, given.dataset[0])
    folder = Path(config.output_dir)
    check_output_folder(folder)
    teacher = source.load_teacher()
    datasets = [] if growth.rounds else [load_sparse_dataset(path) for path in given.dataset]
    record = distill(
        teacher,
        learner.load_student(teacher, config, datasets),
        datasets,
        config,
        images=judge.load_images(teacher),
        controls=given.controls,
        quantization=quantization,
        rounds=growth.make_rounds(teacher, inversion) if growth.rounds else None,
    )
    if config.process_index == 0:
        _show(record, folder, folder if quantization is None else folder / QUANTIZED_FOLDER)


def _show(record: "ModelRecord", folder: Path, published: Path) -> None:
    """Prints the table, where the student lies and what comes next."""
    from smi_hf.cli.closing import evaluate_words, model_closing
    from smi_hf.cli.tables import show_tables

    show_tables(record, f"Students of {record.teacher.name}")
    made = f"student, taught on {record.student.sees} of {record.datasets[0].num_images} images"
    steps = {"measure it on labeled images of yours": evaluate_words(folder)} if record.measured is None else {}
    steps["quantize it"] = [
        "smi-hf",
        "quantize",
        "--model_name_or_path",
        str(folder),
        "--output_dir",
        f"{folder}-int8",
    ]
    if published != folder:
        made += f", its integers in {published}"
        del steps["quantize it"]
    print(model_closing(made, record, folder, steps, published=published))
