"""`smi-hf invert` and `recipes/invert.py`: a checkpoint in, a dataset out."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.arguments import ArgumentParser, last_value
from smi_hf.cli.closing import Closing
from smi_hf.cli.display import duration
from smi_hf.cli.models import ModelArguments
from smi_hf.data.schema import CARD_FILE
from smi_hf.inversion.config import SparseInversionConfig
from smi_hf.inversion.presets import PRESETS, preset_help, preset_options
from smi_hf.starts.base import StartSpec

if TYPE_CHECKING:
    from smi_hf.data import SparseDataset

# Fewer images that show their label are worth a word of advice.
_GOOD_TOP1 = 0.9

# What --help shows.
OPTIONS = {
    "what goes in": ("model_name_or_path", "labels", "directions", "start"),
    "what comes out": ("output_dir", "num_images", "classes", "push_to_hub"),
    "how it is made": ("preset", "num_steps", "policy", "prune_ratios", "seed"),
    "how fast": ("batch_size", "mixed_precision"),
}

_EPILOG = """examples:
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/deit-tiny --num_images 32
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/fast --preset calibrate

without labels, without a step, and on several processes:
  smi-hf invert --model_name_or_path facebook/dinov2-small \\
      --directions 64 --output_dir out/dinov2
  smi-hf invert --model_name_or_path facebook/deit-tiny-patch16-224 \\
      --output_dir out/leaves --start dead_leaves --num_steps 0
  accelerate launch --config_file recipes/accelerate/multi_cpu.yaml \\
      recipes/invert.py --config recipes/demo/invert.yaml

presets:
{presets}

images begin as:
{starts}

The same command, run again, continues an unfinished run. Then, in Python:
  datasets.load_dataset("out/deit-tiny", split="train")
"""


def make_parser() -> ArgumentParser:
    """The parser of this command; tests and documentation read it too."""
    return ArgumentParser(
        (ModelArguments, SparseInversionConfig),
        prog="smi-hf invert",
        description="Optimize noise, or another start, into images that a Vision Transformer recognizes, keeping only "
        "the patches that it looks at, and write them as a dataset.",
        epilog=_EPILOG.format(starts=StartSpec.help(), presets=preset_help()),
        options=OPTIONS,
        presets={key: lambda argv, key=key: preset_options(key, policy=last_value(argv, "policy")) for key in PRESETS},
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

    teacher = model_arguments.load_teacher()
    started = time.perf_counter()
    dataset = invert(teacher, config)
    process = PartialState()
    if process.is_main_process:
        print(_closing(dataset, model_arguments, config.output_dir, time.perf_counter() - started))
    process.destroy_process_group()


def _closing(dataset: "SparseDataset", model: ModelArguments, output_dir: str, seconds: float) -> Closing:
    """What was made, where it is, and whether it is any good."""
    from smi_hf.evaluation.verdict import share_words

    record, folder = dataset.record, Path(output_dir)
    top1, chance = record.results["target_top1"], 1 / len(record.label_names)
    advice = "" if top1 >= _GOOD_TOP1 else "; more --num_steps, or a lower --learning_rate, usually raise it"
    if record.settings["num_steps"] == 0:
        advice = "; with no steps, a label is only a number"
    return Closing(
        made=f"{len(dataset)} images in {duration(seconds)}, of each {record.keep_counts[-1]} of "
        f"{record.keep_counts[0]} patches kept",
        quality=f"the teacher, shown the kept patches, sees the target label in {share_words(top1, len(dataset))} "
        f"(chance is {100 * chance:.1f} %){advice}",
        where=f"{folder}; card: {folder / CARD_FILE}; pictures: {', '.join(record.results['pictures'])}",
        steps={"calibrate an int8 model on them": _next_command(model, output_dir)},
    )


def _next_command(model: ModelArguments, output_dir: str) -> list[str]:
    """A command that uses the images."""
    folder = Path(output_dir)
    words = ["smi-hf", "quantize", "--model_name_or_path", model.model_name_or_path]
    words += ["--revision", model.revision] if model.revision else []
    words += ["--image_size", *map(str, model.image_size)] if model.image_size else []
    words += ["--allow_pickle"] if model.allow_pickle else []
    # What a tower tells apart lies in the dataset. Of `.`, the folder's name is not in its path.
    return [*words, "--dataset", output_dir, "--output_dir", f"{folder if folder.name else folder.absolute()}-int8"]
