"""`smi-hf quantize`: a checkpoint in, and images of it where there are some; a quantized model out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.models import JudgeArguments, ModelArguments
from smi_hf.files import check_new_folder
from smi_hf.images.controls.base import CONTROLS, ControlSpec
from smi_hf.quantization.config import QuantizationConfig

# What --help shows.
OPTIONS = {
    "what goes in": ("model_name_or_path", "dataset", "labels", "directions"),
    "what comes out": ("output_dir", "backend", "weights", "activations"),
    "where 8 bits are too few": ("exclude", "mixed"),
    "how good it is": ("eval_dataset", "max_images", "controls", "sensitivity", "compare"),
}

_EPILOG = """examples:
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/deit-tiny-int8
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/compared \\
      --eval_dataset photographs.parquet --controls gaussian

more examples:
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/rows --control_seeds 0 1 2 \\
      --eval_dataset photographs.parquet \\
      --controls gaussian dynamic real=photographs.parquet
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --dataset out/deit-tiny --output_dir out/w4a8 --backend simulated \\
      --weights 4 --sensitivity
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/mixed --operators all --quantize_outputs \\
      --mixed auto --max_loss 0.5
  smi-hf quantize --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/fastest --compare all

Without --dataset, smi-hf invert --preset calibrate makes 32 images first, in seconds. They are kept in the cache of
Hugging Face for the next time; SMI_HF_CACHE names another folder.

Calibration sees the kept patches and nothing else.
Controls calibrate the same quantizer, with as many images, on:
{controls}
  dynamic         no images: ranges are taken at run time (onnx)

The model loads without smi_hf, with Optimum or with transformers 5; its README.md says how:
  ORTModelForImageClassification.from_pretrained("out/deit-tiny-int8")
  transformers.exporters.ExportedModel.from_pretrained("out/deit-tiny-int8")

An image tower (CLIP, SigLIP) is judged by what it says to labels, a backbone (DINOv2, DINOv3) by how near its
embeddings stay. What they tell apart is taken from the dataset, or said here:
  smi-hf quantize --model_name_or_path openai/clip-vit-base-patch32 \\
      --labels cat dog bird --output_dir out/clip-int8
"""


@dataclass
class DataArguments:
    """What the model is calibrated on and compared with."""

    dataset: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Sparse dataset of that model: a folder, or a dataset on the Hub. A new path that begins with ./, "
            "../ or / is where images are made. More, inverted with other seeds, become further runs of the table's "
            "row; the first makes the model. Default: images are made and kept in a cache."
        },
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
        options=OPTIONS,
        epilog=_EPILOG.format(controls=ControlSpec.help()),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments, quantizes, and prints what came of it."""
    model, data, judge, config = make_parser().parse(arguments)

    from smi_hf.calibration import calibration_datasets
    from smi_hf.cli.quantize_summary import show_quantized
    from smi_hf.quantization.run import check_backends, check_controls, quantize

    # What can be checked without loading a model comes first; `quantize` checks it again.
    check_controls(data.controls, config, has_images=judge.eval_dataset is not None)
    check_backends(config)
    check_new_folder(Path(config.output_dir))
    teacher = model.load_teacher(data.dataset)
    images = judge.load_images(teacher)
    datasets = calibration_datasets(
        teacher, data.dataset, num_images=config.num_images, disable_tqdm=config.disable_tqdm
    )
    record = quantize(teacher, datasets, config, images=images, controls=data.controls)
    show_quantized(record, config)
