"""`smi-hf distill`: a teacher and a sparse dataset of it in, a student out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser, asks_for_short_help
from smi_hf.cli.distill_options import QuantizeArguments, RoundsArguments, StudentArguments, TeacherArguments
from smi_hf.cli.models import ImagesArguments, JudgeArguments
from smi_hf.images.controls.base import ControlSpec

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

# What --help shows.
OPTIONS = {
    "what goes in": ("teacher", "student", "student_layers", "dataset"),
    "what comes out": ("output_dir", "quantize_weights"),
    "how it is taught": ("preset", "num_train_epochs", "freeze_backbone", "temperature"),
    "how good it is": ("eval_dataset", "max_images", "controls", "control_seeds"),
}

_EPILOG = """examples:
  smi-hf distill --teacher out/vit --student_layers 6 --dataset out/vit-smi \\
      --output_dir out/shallow
  smi-hf distill --teacher out/vit --student out/vit --dataset out/vit-smi \\
      --quantize_weights 2 --output_dir out/w2a8

a new head with a table of controls, and several processes:
  smi-hf distill --teacher me/vit-cifar10 \\
      --student facebook/deit-tiny-patch16-224 --dataset me/vit-cifar10-smi \\
      --output_dir out/student --freeze_backbone --eval_dataset cifar10 \\
      --eval_strategy epoch --controls gaussian real=cifar10:train \\
      --control_seeds 0 1 2
  accelerate launch recipes/distill.py --config recipes/demo/distill.yaml \\
      --teacher vit --student vit --dataset smi

presets, for what is left open of epochs, batch size, learning rate and views:
{presets}

Controls teach further students of the same kind, with as many images, on:
{controls}

The same command, run again, continues an unfinished run, and teaches nothing again if it is finished.
"""


def make_parser(*, is_short: bool = False) -> ArgumentParser:
    """The parser of this command, with every option of `TrainingArguments`.

    Args:
        is_short: for `--help` alone: without those, which cannot be had without torch.
    """
    from smi_hf.distillation.options import DistillationOptions
    from smi_hf.distillation.presets import preset_help

    config_type = DistillationOptions
    if not is_short:
        from smi_hf.distillation.config import SparseDistillationConfig as config_type

    return ArgumentParser(
        (
            TeacherArguments,
            StudentArguments,
            ImagesArguments,
            JudgeArguments,
            QuantizeArguments,
            RoundsArguments,
            config_type,
        ),
        prog="smi-hf distill",
        description="Teach a student the answers that a teacher gives to sparse synthetic images of itself.",
        options=OPTIONS,
        epilog=_EPILOG.format(controls=ControlSpec.help(), presets=preset_help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, teaches, and prints what came of it."""
    parser = make_parser(is_short=asks_for_short_help(arguments))
    source, learner, given, judge, rounding, growth, config = parser.parse(arguments)

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
    from smi_hf.cli.tables import show_tables

    show_tables(record, f"Students of {record.teacher.name}")
    if record.held_out is not None:
        print(
            f"agreement with the teacher on {record.held_out.num_images} held-out synthetic images: "
            f"{100 * record.held_out.agreement:.1f} %"
        )
    print(
        f"student in {folder}, taught on {record.student.sees} of {record.datasets[0].num_images} images. Its card: "
        f"{folder / 'README.md'}. Publish it: smi-hf push {published} NAME"
    )
