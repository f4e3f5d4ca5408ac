"""What every command says at its end, in one shape: what it made, how good that is, where it lies, what may come next.

made      int8 model (onnx), 33 of 115 layers quantized, calibrated on 32 images
quality   top-1 97.0 % (95 % interval 91.5 to 99.0 %) of 100 images; float32 has 97.0 %
controls  Gaussian noise has 98.0 %, which is as good: images were not needed here
where     out/int8; card: out/int8/README.md
next, publish it:
  smi-hf push out/int8 NAME
"""

import shlex
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from smi_hf.cli.screen import is_quiet
from smi_hf.errors import printable

if TYPE_CHECKING:
    from smi_hf.evaluation.record import ModelRecord

_WIDTH = 100
_MARGIN = 10


@dataclass(frozen=True)
class Closing:
    """The end of a command.

    Args:
        made: what there is now.
        quality: how good it is, with an interval.
        controls: whether others do as well, empty if nothing was compared.
        where: where it lies.
        steps: commands that may come next, by what they are for; shown whole, to be copied.
    """

    made: str
    quality: str
    where: str
    controls: str = ""
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = []
        for head in ("made", "quality", "controls", "where"):
            if text := getattr(self, head):
                lines += _folded(head, text)
        if not is_quiet():
            for purpose, words in self.steps.items():
                lines += [f"next, {purpose}:", f"  {shlex.join(words)}"]
        return "\n".join(lines)


def _folded(head: str, text: str) -> list[str]:
    """A paragraph behind its head, in one line where no terminal limits it. No word is broken: it may be a path."""
    return textwrap.wrap(
        printable(text),
        min(shutil.get_terminal_size().columns, _WIDTH) if sys.stdout.isatty() else sys.maxsize,
        initial_indent=f"{head:<{_MARGIN}}",
        subsequent_indent=" " * _MARGIN,
        break_long_words=False,
        break_on_hyphens=False,
    )


def model_closing(
    made: str,
    record: "ModelRecord",
    folder: Path,
    steps: Mapping[str, Sequence[str]],
    *,
    published: Path | None = None,
) -> Closing:
    """The end of a command that made a model.

    Args:
        published: the folder that is to be published, if it is not the model's.
    """
    from smi_hf.data.schema import CARD_FILE
    from smi_hf.evaluation.verdict import controls_words, quality_words, ratio_words

    ratios, quality, controls = ratio_words(record), quality_words(record), controls_words(record)
    return Closing(
        made=f"{made}; {ratios}" if ratios else made,
        quality=quality,
        controls=controls,
        where=f"{folder}; card: {folder / CARD_FILE}",
        steps={**steps, "publish it": ["smi-hf", "push", str(published or folder), "NAME"]},
    )


def measuring_step(model: str | Path, record: "ModelRecord") -> dict[str, list[str]]:
    """The command that judges a model on photographs, by what it is for."""
    command = ["smi-hf", "evaluate", "--model_name_or_path", str(model), "--dataset", "photographs.parquet"]
    if record.head is None or record.head.has_labels:
        return {"measure it on labeled images of yours": command}
    return {"compare it with its teacher on images of yours": [*command, "--reference", record.teacher.name]}
