"""`smi-hf invert` and `recipes/invert.py`: a checkpoint in, a dataset out."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.inversion.config import SparseInversionConfig

logger = logging.getLogger(__name__)

_EPILOG = """examples:
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 --output_dir out/deit-tiny --num_images 32
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 --output_dir out/fast --preset calibrate
  accelerate launch recipes/invert.py --config recipes/deit_tiny_imagenet/invert.yaml
  accelerate launch --num_processes 2 --cpu recipes/invert.py --config recipes/demo/invert.yaml

The same command, run again, continues an unfinished run. Then, in Python:
  datasets.load_dataset("out/deit-tiny", split="train")
"""


@dataclass
class ModelArguments:
    """Which checkpoint is inverted."""

    model_name_or_path: str = field(metadata={"help": "Image classifier: a Hub id, or a folder of save_pretrained."})
    revision: str | None = field(
        default=None, metadata={"help": "Branch, tag or commit of the checkpoint on the Hub."}
    )
    image_size: list[int] | None = field(
        default=None,
        metadata={
            "help": "Side, or height and width, of the images in pixels; other than the model's own, its positions "
            "are interpolated. Default: what the image processor makes."
        },
    )
    allow_pickle: bool = field(
        default=False,
        metadata={"help": "Load weights from a pickle if there are no safetensors. A pickle can run any code."},
    )


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (ModelArguments, SparseInversionConfig),
        prog="smi-hf invert",
        description="Optimise noise into images that a Vision Transformer recognises, keeping only the patches that "
        "it looks at, and write them as a dataset.",
        epilog=_EPILOG,
        presets=("calibrate",),
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Parses the arguments and makes the dataset.

    Raises:
        UsageError, RunError: as `load_teacher` and `SparseInversionTrainer.train` do.
    """
    model_arguments, config = make_parser().parse(arguments)

    # Here, not above: --help must not wait for torch.
    from smi_hf.inversion import SparseInversionTrainer
    from smi_hf.models import load_teacher
    from smi_hf.quantization.models import check_not_quantized

    check_not_quantized(model_arguments.model_name_or_path)
    teacher = load_teacher(
        model_arguments.model_name_or_path,
        revision=model_arguments.revision,
        image_size=model_arguments.image_size,
        allow_pickle=model_arguments.allow_pickle,
    )
    trainer = SparseInversionTrainer(teacher, config)
    started = time.perf_counter()
    dataset = trainer.train()
    trainer.accelerator.end_training()
    if trainer.accelerator.is_main_process:
        results = trainer.record.results
        print(
            f"{len(dataset)} images in {config.output_dir} after {time.perf_counter() - started:.1f} s: the teacher "
            f"sees the target label in {100 * results['target_top1']:.1f} % of them, fed the kept patches read back "
            f"from the PNGs. Preview: {trainer.output_dir / 'preview.png'}"
        )
