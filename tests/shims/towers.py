"""Tiny models without a classification head, on disk: the image tower of a CLIP, and a DINOv2 backbone."""

import json
from pathlib import Path

from family_kinds import KINDS, LABELS

# Names, and what is told apart as options of the command line.
TOWER, BACKBONE = "clip-tower", "dinov2-bare"
ASKED = {TOWER: ["--labels", *LABELS], BACKBONE: ["--directions", "5"]}


def save(name: str, folder: Path, **changes: object) -> Path:
    """Writes such a checkpoint, with changes in its configuration."""
    KINDS[name].save(folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **changes}))
    return folder
