"""From calibration sets to model folders: one teacher, one back end, one choice of settings."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from smi_hf import progress
from smi_hf.errors import UsageError
from smi_hf.evaluation.predictors import Answer, Predictor
from smi_hf.files import check_new_folder
from smi_hf.images.kept import KeptImages
from smi_hf.models import Teacher
from smi_hf.quantization.backends import BACKENDS
from smi_hf.quantization.backends.base import FloatModel, check_settings, choose_layers, choose_wide
from smi_hf.quantization.config import FLOAT_BITS, QuantizationConfig


class Quantizer:
    """Quantizes one teacher any number of times; a context manager, as the float model that it starts from is on disk.

    Args:
        teacher: the model in float32; its image processor is saved beside every quantized model.
        config: back end, widths, operators, exclusions; the defaults if None.

    Raises:
        UsageError: the back end or one of its settings is not there (also on entering, where layer names are known).
        RunError: on entering: the back end cannot convert this model.
    """

    def __init__(self, teacher: Teacher, config: QuantizationConfig | None = None) -> None:
        self.config = config or QuantizationConfig()
        check_settings(self.config.backend, self.config)
        self.backend = BACKENDS.get(self.config.backend)
        self.teacher = teacher
        self.float_model: FloatModel
        self.layers: list[str]
        self.wide: list[str]

    def __enter__(self) -> Self:
        self._work = tempfile.TemporaryDirectory(prefix="smi-hf-")
        try:
            with progress.bar(f"Converting for {self.config.backend}", disable=self.config.disable_tqdm):
                self.float_model = self.backend.prepare(self.teacher, Path(self._work.name))
            self.choose(self.config)
        except BaseException:
            self._work.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._work.cleanup()

    def choose(self, config: QuantizationConfig) -> None:
        """Takes up other settings of the same back end: which layers are quantized, and which of them in 16 bits.

        Raises:
            UsageError: a layer or operator does not exist, or nothing is left to quantize.
        """
        is_dense = not self.teacher.model.is_sparse
        self.layers = choose_layers(self.float_model.layers, self.backend, config, is_dense=is_dense)
        self.wide = choose_wide(self.float_model.layers, self.layers, config)
        self.config = config

    def float_predictor(self) -> Predictor:
        """The model in floating point under the back end's runtime."""
        return self._predictor(self.float_model.load())

    def load(self, folder: Path) -> Predictor:
        """A model that `quantize` wrote."""
        return self._predictor(self.backend.load(folder))

    def _predictor(self, answer: Answer) -> Predictor:
        teacher = self.teacher
        return Predictor(answer, teacher.image_processor, teacher.label_names, self.config.backend, teacher.head)

    def quantize(
        self,
        calibration: KeptImages | None,
        output_dir: str | Path,
        *,
        layers: Sequence[str] | None = None,
        wide: Sequence[str] | None = None,
    ) -> None:
        """Writes a quantized model and its image processor; `output_dir` appears when all is done, or not at all.

        Args:
            calibration: what activations are calibrated on; None takes their ranges at run time (dynamic).
            output_dir: must not exist.
            layers: names of the layers to quantize; those of the settings if None.
            wide: names of those whose activations get 16 bits; those of the settings if None.

        Raises:
            UsageError: `output_dir` exists or cannot be written, or the back end needs calibration.
        """
        output_dir = Path(output_dir)
        if calibration is None and self.config.activations != FLOAT_BITS and not self.backend.is_dynamic_possible:
            raise UsageError(
                f"back end {self.config.backend!r} has no dynamic quantization; give calibration images, or "
                f"activations of {FLOAT_BITS} bits"
            )
        layers = self.layers if layers is None else layers
        wide = [name for name in self.wide if name in layers] if wide is None else wide
        settings = self.config.with_layers(wide_layers=wide)
        check_new_folder(output_dir)
        output_dir.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target, so that the last step is a rename: a failure leaves no half-written model.
        with tempfile.TemporaryDirectory(prefix=f".{output_dir.name}-", dir=output_dir.parent) as work:
            quantized = Path(work) / "quantized"
            self.float_model.quantize(calibration, settings, layers, quantized)
            self.teacher.image_processor.save_pretrained(quantized)
            if self.teacher.head is not None:
                self.teacher.head.save(quantized)
            shutil.move(quantized, output_dir)
