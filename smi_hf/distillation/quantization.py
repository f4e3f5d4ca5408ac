"""What a distillation asks of a quantizer whose rounding a student learns with. Implemented where quantizers are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from transformers import PreTrainedModel

from smi_hf.evaluation.record import Runtime
from smi_hf.images.kept import KeptImages
from smi_hf.models import SparseClassifier


class StudentQuantization(Protocol):
    """Rounds a student while it learns, and writes its integers: `smi_hf.quantization.qat.QuantizationAwareTraining`.

    Args:
        name: of the quantizer, in a word.
        extra: extra of smi-hf that it needs, None if none.
        runtime: what runs the integers, for records and cards.
    """  # fmt: skip

    name: str
    extra: str | None
    runtime: Runtime

    @property
    def settings(self) -> Mapping[str, Any]:
        """What a record says of it: `backend`, `weights`, `activations`, and every other choice."""

    def check(self) -> None:
        """Checks what can be checked before a model is loaded.

        Raises:
            UsageError: its extra is absent, or it lacks the widths.
        """

    def prepare(self, model: SparseClassifier, images: KeptImages, *, disable_tqdm: bool = False) -> PreTrainedModel:
        """A float32 copy of a student that rounds as its quantized self will, and whose weights learn.

        Args:
            model: left as it is.
            images: calibration set, kept patches alone, normalized for the model.
        """

    def plain(self, model: SparseClassifier, images: KeptImages) -> PreTrainedModel:
        """What the quantizer makes of the model by itself, without training: a control."""

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Writes what `prepare` made, trained, in integers into a folder that does not exist yet."""
