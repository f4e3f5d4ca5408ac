"""What a quantization back end does, and where it is registered."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from smi_hf.registry import Registry

if TYPE_CHECKING:  # not at run time: --help lists the back ends, and must not wait for torch
    from smi_hf.evaluation.accuracy import Predictor
    from smi_hf.models import Teacher
    from smi_hf.quantization.calibration import CalibrationSet


@dataclass(frozen=True)
class QuantizationSettings:
    """How a model is quantized.

    Args:
        operators: operator types to quantize, or `("all",)`.
        exclude: names of nodes or layers that stay in floating point.
        target: instruction set whose preset is used (onnx: avx512_vnni, arm64, tensorrt).
    """

    operators: tuple[str, ...] = ("MatMul", "Gemm")
    exclude: tuple[str, ...] = field(default=())
    target: str = "avx512_vnni"


class QuantizationBackend(Protocol):
    """A way to a quantized model on disk and back."""

    def quantize(
        self,
        teacher: "Teacher",
        image_processor: Any,
        calibration: "CalibrationSet | None",
        settings: QuantizationSettings,
        output_dir: Path,
    ) -> None:
        """Writes a quantized model that the library's own loader reads; `calibration` None quantizes dynamically."""

    def is_saved_in(self, folder: Path) -> bool:
        """Whether a folder holds a model of this back end."""

    def load(self, folder: Path) -> "Predictor":
        """The model of a folder, as a function from images to logits."""

    def reference(self, teacher: "Teacher", image_processor: Any, folder: Path) -> "tuple[Predictor, Path]":
        """The teacher in floating point under the same runtime, and the folder that it was written to."""


BACKENDS: Registry[QuantizationBackend] = Registry("back end", "smi_hf.quantization.backends")


def register_backend(name: str) -> Any:
    """Class decorator: files an instance of the class under `name`."""

    def add(backend: type) -> type:
        BACKENDS.register(name)(backend())
        return backend

    return add
