"""`smi-hf invert` and `recipes/invert.py`: a checkpoint in, a dataset out."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.data.schema import CARD_FILE
from smi_hf.inversion.config import SparseInversionConfig

if TYPE_CHECKING:
    from smi_hf.data import SparseDataset

# Fewer images that show their label are worth a word of advice.
_GOOD_TOP1 = 0.9

_EPILOG = """examples:
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 --output_dir out/deit-tiny --num_images 32
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 --output_dir out/fast --preset calibrate
  accelerate launch recipes/invert.py --config recipes/deit_tiny_imagenet/invert.yaml
  accelerate launch --config_file recipes/accelerate/multi_cpu.yaml recipes/invert.py --config recipes/demo/invert.yaml

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
        UsageError, RunError: as `load_teacher` and `invert` do.
    """
    model_arguments, config = make_parser().parse(arguments)

    # Here, not above: --help must not wait for torch.
    from accelerate import PartialState

    from smi_hf.inversion import invert
    from smi_hf.models import load_teacher
    from smi_hf.quantization.models import check_not_quantized

    check_not_quantized(model_arguments.model_name_or_path)
    teacher = load_teacher(
        model_arguments.model_name_or_path,
        revision=model_arguments.revision,
        image_size=model_arguments.image_size,
        allow_pickle=model_arguments.allow_pickle,
    )
    started = time.perf_counter()
    dataset = invert(teacher, config)
    process = PartialState()
    if process.is_main_process:
        print(_summary(dataset, config.output_dir, time.perf_counter() - started))
        print(f"Next: {_next_command(model_arguments, config.output_dir)}")
    process.destroy_process_group()


def _summary(dataset: "SparseDataset", output_dir: str, seconds: float) -> str:
    """What was made, where it is, and whether it is any good."""
    record = dataset.record
    top1, chance = record.results["target_top1"], 1 / len(record.label_names)
    advice = "" if top1 >= _GOOD_TOP1 else "; more --num_steps, or a lower --learning_rate, usually raise it"
    made = (
        f"{len(dataset)} images in {output_dir} after {seconds:.1f} s; {record.keep_counts[-1]} of "
        f"{record.keep_counts[0]} patches are kept of each."
    )
    seen = (
        f"The teacher sees the target label in {100 * top1:.1f} % of them, fed the kept patches read back from the "
        f"PNGs (chance is {100 * chance:.1f} %){advice}."
    )
    names = [CARD_FILE, *record.results["pictures"]]
    return f"{made}\n{seen}\nCard and pictures: {', '.join(str(Path(output_dir) / name) for name in names)}"


def _next_command(model: ModelArguments, output_dir: str) -> str:
    """A command that uses the images, as a shell takes it."""
    options = {"--model_name_or_path": model.model_name_or_path, "--revision": model.revision}
    options |= {"--dataset": output_dir, "--output_dir": f"{Path(output_dir).absolute()}-int8"}
    words = [word for name, value in options.items() if value for word in (name, value)]
    return shlex.join(["smi-hf", "quantize", *words])
