"""The options of `smi-hf distill`, and which of them matter to most."""

from smi_hf.cli.arguments import ArgumentParser
from smi_hf.cli.distill_options import QuantizeArguments, RoundsArguments, StudentArguments, TeacherArguments
from smi_hf.cli.models import ImagesArguments, JudgeArguments
from smi_hf.images.controls.base import ControlSpec

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
    from smi_hf.distillation.presets import preset_help

    if is_short:
        from smi_hf.distillation.options import DistillationOptions as Settings
    else:
        from smi_hf.distillation.config import SparseDistillationConfig as Settings

    return ArgumentParser(
        (
            TeacherArguments,
            StudentArguments,
            ImagesArguments,
            JudgeArguments,
            QuantizeArguments,
            RoundsArguments,
            Settings,
        ),
        prog="smi-hf distill",
        description="Teach a student the answers that a teacher gives to sparse synthetic images of itself.",
        options=OPTIONS,
        epilog=_EPILOG.format(controls=ControlSpec.help(), presets=preset_help()),
    )
