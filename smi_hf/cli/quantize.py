"""`smi-hf quantize`: a checkpoint and a sparse dataset in, a quantized model out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.models import JudgeArguments, ModelArguments
from smi_hf.files import check_new_folder
from smi_hf.images.controls.base import CONTROLS, ControlSpec
from smi_hf.quantization.config import QuantizationConfig

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

_EPILOG = """examples:
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 --dataset out/deit-tiny \\
      --output_dir out/deit-tiny-int8
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 --dataset out/deit-tiny \\
      --output_dir out/compared --eval_dataset photographs.parquet --controls gaussian dynamic \\
      real=photographs.parquet --control_seeds 0 1 2
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 --dataset out/deit-tiny \\
      --output_dir out/w4a8 --backend simulated --weights 4 --sensitivity

Calibration sees the kept patches and nothing else. Controls calibrate the same quantizer, with as many images, on
{controls}
  dynamic         no images: ranges are taken at run time (onnx)

The model loads without smi_hf, with Optimum or with transformers 5; its README.md says how:
  ORTModelForImageClassification.from_pretrained("out/deit-tiny-int8")
  transformers.exporters.ExportedModel.from_pretrained("out/deit-tiny-int8")
"""


@dataclass
class DataArguments:
    """What the model is calibrated on and compared with."""

    dataset: list[str] = field(
        metadata={
            "help": "Sparse dataset of that model: a folder, or a dataset on the Hub. More, inverted with other "
            "seeds, become further runs of the table's row; the first makes the model."
        }
    )
    controls: list[str] = field(
        default_factory=list,
        metadata={"help": f"Rows to compare with: {', '.join(CONTROLS.names())}, dynamic. Need --eval_dataset."},
    )


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (ModelArguments, DataArguments, JudgeArguments, QuantizationConfig),
        prog="smi-hf quantize",
        description="Quantize a Vision Transformer statically, calibrated on the kept patches of synthetic images.",
        epilog=_EPILOG.format(controls=ControlSpec.help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, quantizes, and prints what came of it."""
    model, data, judge, config = make_parser().parse(arguments)

    from smi_hf.data import load_sparse_dataset
    from smi_hf.quantization.backends.base import check_settings
    from smi_hf.quantization.run import check_controls, quantize

    # What can be checked without loading a model comes first; `quantize` checks it again.
    check_controls(data.controls, config, has_images=judge.eval_dataset is not None)
    check_settings(config.backend, config)
    check_new_folder(Path(config.output_dir))
    teacher = model.load_teacher()
    images = judge.load_images(teacher)
    datasets = [load_sparse_dataset(path, teacher=teacher) for path in data.dataset]
    record = quantize(teacher, datasets, config, images=images, controls=data.controls)
    _show(record, config)


def _show(record: "ModelRecord", config: QuantizationConfig) -> None:
    """Prints the table, what --sensitivity found, where the model lies and what comes next."""
    from smi_hf.cli.tables import make_console, result_table, sensitivity_table
    from smi_hf.quantization.sensitivity import EXCLUDE_FILE, load_sensitivity

    console, folder, settings = make_console(), Path(config.output_dir), record.settings
    if record.measured is not None:
        widths = f"weights {config.weights} bits, activations {config.activations}"
        title = f"{config.backend}, {widths}, judged on {record.measured.num_images} images"
        console.print(result_table(record, title))
    if config.sensitivity:
        report = load_sensitivity(folder)
        console.print(sensitivity_table(report, f"{report.num_images} images"))
        console.print(
            f"To leave out the worst ({folder / EXCLUDE_FILE}):\n--exclude {' '.join(report.exclude)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    print(
        f"{config.backend} model in {folder}: {settings['quantized_layers']} of {settings['layers']} layers "
        f"quantized, calibrated on {record.datasets[0].num_images} images. Its card: {folder / 'README.md'}. "
        f"Publish it: smi-hf push {folder} NAME"
    )
