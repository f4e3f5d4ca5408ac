"""`smi-hf distill`: a teacher and a sparse dataset of it in, a student out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.distill_parser import make_parser
from smi_hf.cli.help_text import asks_for_short_help

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord


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
    teacher = source.load_teacher(given.dataset)
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
    from smi_hf.cli.closing import measuring_step, model_closing
    from smi_hf.cli.tables import show_tables

    show_tables(record, f"Students of {record.teacher.name}")
    made = f"student, taught on {record.student.sees} of {record.datasets[0].num_images} images"
    steps = measuring_step(folder, record) if record.measured is None else {}
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
