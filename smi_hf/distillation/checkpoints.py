"""What a distillation adds to `Trainer`'s checkpoints: weights that can be read back, and its settings; which of them
are complete; and how a saved student is read back."""

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn
from transformers import PreTrainedModel
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from smi_hf.errors import UsageError
from smi_hf.files import one_line, replaced_atomically

SETTINGS_FILE = "distillation.json"
# The student's weights under its modules' own names.
WEIGHTS_FILE = "student.safetensors"
_SAVED_WEIGHTS = "model.safetensors"
_OPTIMIZER_FILES = ("optimizer.pt", "scheduler.pt")
_CHECKPOINT = re.compile(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)")


def add_to_saved(folder: Path, model: nn.Module, settings: Mapping[str, Any]) -> None:
    """Completes what `Trainer` has saved: settings always, and in a checkpoint the weights once more.

    transformers 5 saves a ViT under the names of transformers 4, but `Trainer` loads it as if it had not: it warns
    that weights are missing and goes on (https://github.com/huggingface/transformers/issues/48805). And a student that
    is being quantized is no model that `from_pretrained` knows.
    """
    if is_checkpoint(folder):
        with replaced_atomically(folder / WEIGHTS_FILE) as temporary:
            save_model(model, str(temporary))
    with replaced_atomically(folder / SETTINGS_FILE) as temporary:
        temporary.write_text(json.dumps(settings, indent=2) + "\n")


def load_weights(folder: Path, model: nn.Module) -> None:
    """Loads a checkpoint's weights into the student, all of them, wherever it is."""
    load_model(model, str(folder / WEIGHTS_FILE))


def load_saved(folder: Path, model: PreTrainedModel, *, is_quantized: bool = False) -> None:
    """Loads a student that `Trainer.save_model` wrote into a model of its kind, all of its weights.

    Args:
        is_quantized: whether the model is being quantized, so that its weights have the names of its modules.

    Raises:
        UsageError: the weights are not those of such a model.
    """
    try:
        if is_quantized:
            load_model(model, str(folder / _SAVED_WEIGHTS))
        else:
            model.load_state_dict(type(model).from_pretrained(folder, use_safetensors=True).state_dict())
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise UsageError(f"the student in {folder} cannot be loaded: {one_line(error)}") from error


def is_checkpoint(folder: Path) -> bool:
    return _CHECKPOINT.fullmatch(folder.name) is not None


def last_checkpoint(output_dir: Path, *, has_optimizer: bool = True) -> Path | None:
    """The last complete checkpoint of a run; None if there is none.

    Args:
        has_optimizer: whether the state of the optimizer is in a file of its own, as it is unless FSDP or DeepSpeed
            divide it.
    """
    if not output_dir.is_dir():
        return None
    found = [path for path in output_dir.iterdir() if is_checkpoint(path) and path.is_dir()]
    found.sort(key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    return next((path for path in found if missing_part(path, has_optimizer=has_optimizer) is None), None)


def missing_part(checkpoint: Path, *, has_optimizer: bool = True) -> str | None:
    """The first file of a checkpoint that is absent or cut off, None if it is complete.

    `Trainer` writes `trainer_state.json` last. The others are looked at as well: a copy, or the removal of an old
    checkpoint, may have been cut off too.
    """
    random_states = sorted(path.name for path in checkpoint.glob("rng_state*.pth")) or ["rng_state.pth"]
    archives = (*_OPTIMIZER_FILES, *random_states) if has_optimizer else ()
    for name in (TRAINER_STATE_NAME, SETTINGS_FILE):
        if not _is_json(checkpoint / name):
            return name
    for name in archives:
        # torch.save writes a ZIP archive, whose table of contents stands at its end.
        if not zipfile.is_zipfile(checkpoint / name):
            return name
    try:
        with safe_open(checkpoint / WEIGHTS_FILE, framework="pt"):
            return None
    except (OSError, SafetensorError):
        return WEIGHTS_FILE


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text()), dict)
    except (OSError, ValueError):
        return False


def checkpoint_to_resume(
    resume_from_checkpoint: str | bool | None,
    output_dir: Path,
    settings: Mapping[str, Any],
    *,
    has_optimizer: bool = True,
) -> Path | None:
    """The checkpoint that a run shall begin from, None to begin anew.

    Args:
        resume_from_checkpoint: as for `Trainer.train`; True is the last complete one in `output_dir`.
        settings: of this run.
        has_optimizer: as for `last_checkpoint`.

    Raises:
        UsageError: there is no such checkpoint, or it is not complete, or was made with other settings.
    """
    if not resume_from_checkpoint:
        return None
    if resume_from_checkpoint is True:
        folder = last_checkpoint(output_dir, has_optimizer=has_optimizer)
    else:
        folder = Path(resume_from_checkpoint)
    if folder is None or not folder.is_dir():
        raise UsageError(
            f"there is no complete checkpoint of a distillation to resume from in {folder or output_dir}; leave out "
            f"resume_from_checkpoint to begin anew"
        )
    if name := missing_part(folder, has_optimizer=has_optimizer):
        raise UsageError(
            f"checkpoint {folder} is not complete: its {name} is absent or cut off; resume from another one, or begin "
            f"anew"
        )
    changed = differences(json.loads((folder / SETTINGS_FILE).read_text()), settings)
    if changed:
        raise UsageError(
            f"checkpoint {folder} was made with other settings: {changed}. Resume with the old ones, or begin anew in "
            f"another output_dir"
        )
    return folder


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What settings were and are, for a message; empty if they are the same."""
    now = json.loads(json.dumps(now))
    changed = [
        f"{name} was {before.get(name)!r} and is now {now[name]!r}"
        for name in now
        if name not in before or before[name] != now[name]
    ]
    return "; ".join(changed)
