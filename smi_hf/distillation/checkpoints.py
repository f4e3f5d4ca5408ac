"""What a distillation adds to `Trainer`'s checkpoints: weights that can be read back, and its settings."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from torch import nn
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, get_last_checkpoint

from smi_hf.errors import UsageError

SETTINGS_FILE = "distillation.json"
# The student's weights under its modules' own names.
WEIGHTS_FILE = "student.safetensors"


def add_to_saved(folder: Path, model: nn.Module, settings: Mapping[str, Any]) -> None:
    """Completes what `Trainer` has saved: settings always, and in a checkpoint the weights once more.

    transformers 5 saves a ViT under the names of transformers 4, but `Trainer` loads it as if it had not: it warns
    that weights are missing and goes on (https://github.com/huggingface/transformers/issues/48805). And a student that
    is being quantized is no model that `from_pretrained` knows.
    """
    (folder / SETTINGS_FILE).write_text(json.dumps(settings, indent=2) + "\n")
    if folder.name.startswith(PREFIX_CHECKPOINT_DIR):
        save_model(model, str(folder / WEIGHTS_FILE))


def load_weights(folder: Path, model: nn.Module, device: Any) -> None:
    """Loads a checkpoint's weights into the student, all of them."""
    load_model(model, str(folder / WEIGHTS_FILE), device=str(device))


def check_resume(resume_from_checkpoint: str | bool | None, output_dir: str, settings: Mapping[str, Any]) -> None:
    """Checks that a run would continue the one it resumes from.

    Args:
        resume_from_checkpoint: as for `Trainer.train`.
        settings: of this run.

    Raises:
        UsageError: there is no such checkpoint, or it was made with other settings.
    """
    if not resume_from_checkpoint:
        return
    folder = get_last_checkpoint(output_dir) if resume_from_checkpoint is True else resume_from_checkpoint
    if folder is None or not (Path(folder) / SETTINGS_FILE).is_file():
        raise UsageError(
            f"there is no checkpoint of a distillation to resume from in {folder or output_dir}; leave out "
            f"resume_from_checkpoint to begin anew"
        )
    before = json.loads((Path(folder) / SETTINGS_FILE).read_text())
    now = json.loads(json.dumps(settings))
    changed = [
        f"{name} was {before.get(name)!r} and is now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        raise UsageError(
            f"checkpoint {folder} was made with other settings: {'; '.join(changed)}. Resume with the old ones, or "
            f"begin anew in another output_dir"
        )
