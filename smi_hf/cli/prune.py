"""`smi-hf prune`: a checkpoint and images of it in, a smaller checkpoint out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.models import ImagesArguments, JudgeArguments, ModelArguments
from smi_hf.files import check_new_folder
from smi_hf.images.controls.base import ControlSpec
from smi_hf.pruning.config import PruningConfig

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

# What --help shows.
OPTIONS = {
    "what goes in": ("model_name_or_path", "dataset", "labels", "directions"),
    "what comes out": ("output_dir",),
    "how much goes": ("keep_mlp", "num_layers", "layers"),
    "how it is mended": ("num_epochs", "num_scenes", "seed"),
    "how good it is": ("eval_dataset", "max_images", "controls"),
}

_EPILOG = """examples:
  smi-hf prune --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/three-quarters --keep_mlp 0.75
  smi-hf prune --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/pruned \\
      --eval_dataset photographs.parquet \\
      --controls gaussian real=photographs.parquet

a layer, and no hidden unit:
  smi-hf prune --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/shallow --keep_mlp 1 \\
      --num_layers 11

four million parameters, however many hidden units that leaves:
  smi-hf prune --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/four-million --max_parameters 4

A budget (--max_parameters, --max_gmacs, --max_ms) chooses how many hidden units stay: as many as it leaves room for,
equally many in each MLP.

Hidden units go that the others can best make up for, and what is left is refitted, one MLP after the other: in closed
form, in seconds, then by gradient, in minutes (--num_epochs 0 leaves that out). The result loads with transformers as
any checkpoint does. It can be taught on the same images what it lost, and it can be quantized:
  smi-hf distill --teacher facebook/deit-tiny-patch16-224 \\
      --student out/pruned --dataset out/deit-tiny --output_dir out/recovered
  smi-hf quantize --model_name_or_path out/recovered --output_dir out/recovered-int8

Controls prune the same model, on as many images, of:
{controls}
"""


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (ModelArguments, ImagesArguments, JudgeArguments, PruningConfig),
        prog="smi-hf prune",
        description="Make a Vision Transformer smaller without data: fewer hidden units, fewer layers.",
        options=OPTIONS,
        epilog=_EPILOG.format(controls=ControlSpec.help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, prunes, and prints what came of it."""
    model, data, judge, config = make_parser().parse(arguments)

    from smi_hf.data import load_sparse_dataset
    from smi_hf.pruning.run import check_controls, prune

    # What can be checked without loading a model comes first; `prune` checks it again.
    check_controls(data.controls, has_images=judge.eval_dataset is not None)
    check_new_folder(Path(config.output_dir))
    teacher = model.load_teacher(data.dataset)
    images = judge.load_images(teacher)
    datasets = [load_sparse_dataset(name) for name in data.dataset]
    record = prune(teacher, datasets, config, images=images, controls=data.controls)
    _show_pruned(record, config, model.model_name_or_path, data.dataset[0])


def _show_pruned(record: "ModelRecord", config: PruningConfig, teacher: str, dataset: str) -> None:
    from smi_hf.cli.closing import model_closing
    from smi_hf.cli.tables import show_tables

    settings, folder = record.settings, Path(config.output_dir)
    show_tables(record, "pruned")
    share = settings["parameters"] / settings["parameters_before"]
    made = (
        f"pruned model, {len(settings['layers'])} of {settings['layers_before']} layers, "
        f"{100 * settings['keep_mlp']:g} % of the MLPs' hidden units, {100 * share:.0f} % of the parameters"
    )
    recover = ["smi-hf", "distill", "--teacher", teacher, "--student", str(folder), "--dataset", dataset]
    recover += ["--output_dir", f"{folder}-recovered", *(["--other_teacher", "true"] if config.other_teacher else [])]
    quantize = ["smi-hf", "quantize", "--model_name_or_path", str(folder), "--output_dir", f"{folder}-int8"]
    steps = {"teach it what it lost": recover, "quantize it": quantize}
    print(model_closing(made, record, folder, steps))
