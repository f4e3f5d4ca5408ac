"""What a distillation can be told beside `Trainer`'s own settings, where no more than a word is needed to say it.

Without torch, so that `smi-hf distill --help` need not wait for it; `config` adds what cannot be said without.
"""

from dataclasses import dataclass, field
from typing import Any

from smi_hf.distillation.presets import AUTO, PRESETS


def by_preset(words: str, **more: Any) -> dict[str, Any]:
    """Metadata of a field that `preset` fills in where it is None."""
    return {"help": f"{words} Default: as preset chooses.", **more}


@dataclass
class DistillationOptions:
    """What is taught, and how.

    As None, what a preset chooses (`smi_hf.distillation.presets.DEFAULTS`) is left open.
    """

    output_dir: str | None = field(
        default=None, metadata={"help": "Folder for the student. The same command continues an unfinished run in it."}
    )
    preset: str = field(
        default=AUTO,
        metadata={
            "help": "Chooses what is left open of epochs, batch, learning rate and more, for what is taught. Also "
            "the schedule, temperature, augmentations, views and hidden_state_weight, from the number of images and "
            "from what is taught: a head on a frozen backbone, a pruned teacher or layers of it (recover), another "
            "checkpoint (finetune), or scratch. auto looks at the student; trainer takes the values of "
            "TrainingArguments.",
            "choices": [AUTO, *PRESETS],
        },
    )
    temperature: float | None = field(
        default=None, metadata=by_preset("Softens both answers before they are compared (the paper: 20).")
    )
    hard_label_weight: float = field(
        default=0.0, metadata={"help": "Weight of the cross entropy with the images' labels."}
    )
    feature_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching how tokens of the last layer lie to each other."}
    )
    hidden_state_weight: float | None = field(
        default=None,
        metadata=by_preset(
            "Weight of matching every layer's tokens with those of one of the teacher's layers; for a student of the "
            "teacher's hidden size and of no more layers."
        ),
    )
    attention_weight: float = field(
        default=0.0, metadata={"help": "Weight of matching the CLS token's attention in the last block."}
    )
    freeze_backbone: bool = field(
        default=False,
        metadata={"help": "Only the head learns (the paper's setting). What it reads is computed once a view."},
    )
    num_views: int | None = field(
        default=None,
        metadata=by_preset(
            "Views of an image, drawn once, whose teacher's answers are computed once; one epoch shows them all, and "
            "the first is the image as it is. 0 draws a new view each epoch and runs the teacher at every step, which "
            "with frozen backbone is never worth it: there 0 means 16."
        ),
    )
    held_out: float = field(
        default=0.1,
        metadata={
            "help": "Share of the synthetic images that is not taught, and judges the student. That is so where no "
            "real set is given, and with early_stopping_patience in any case."
        },
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "Stop when so many evaluations in a row bring the student no closer to the teacher. That is "
            "judged by the answers to the held-out synthetic images (KL divergence, or what metric_for_best_model "
            "names), and the student of the best evaluation is kept. Real images of eval_dataset have no say in it. "
            "Left open, eval_strategy is steps, eval_steps 0.05; the best and the last checkpoint are kept. "
            "Default, and 0: off."
        },
    )
    other_teacher: bool = field(
        default=False, metadata={"help": "Accept images that were inverted from another model than the teacher."}
    )
    num_images: int | None = field(
        default=None, metadata={"help": "Teach on that many images, the first. Default: all."}
    )
    control_seeds: list[int] = field(
        default_factory=lambda: [0],
        metadata={
            "help": "Seeds of the controls, one run each. They decide noise, the choice of real images, and random "
            "patches."
        },
    )
    learning_rate: float | None = field(default=None, metadata=by_preset("Initial learning rate."))
    num_train_epochs: float | None = field(default=None, metadata=by_preset("Epochs: how often each view is seen."))
    per_device_train_batch_size: int | None = field(
        default=None, metadata=by_preset("Views in a batch of each process.")
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Discard the student that output_dir holds, whatever its settings were. Otherwise the same "
            "settings continue an unfinished run from its last complete checkpoint, teach nothing again if it is "
            "finished, and other settings are refused, as is a folder with files of other origin."
        },
    )
