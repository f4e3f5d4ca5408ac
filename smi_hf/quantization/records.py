"""What the record of a quantized model says of how it was made."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from smi_hf.environment import describe_environment
from smi_hf.evaluation.record import ModelRecord
from smi_hf.quantization.backends.base import BACKENDS, QuantizationSettings
from smi_hf.quantization.quantizer import Quantizer


def quantization_record(
    quantizer: Quantizer,
    datasets: list[dict[str, Any]],
    *,
    calibration_patches: str = "kept",
    seeds: Sequence[int] = (),
) -> ModelRecord:
    """The record of the model that a quantizer made, not judged yet.

    Args:
        quantizer: entered.
        datasets: as of `dataset_reference`; the first calibrated the model.
        calibration_patches: "kept" or "all", as calibration saw.
        seeds: of the control rows.
    """
    settings = {
        **backend_settings(quantizer.name, quantizer.settings),
        "quantized_layers": len(quantizer.layers),
        "layers": len(quantizer.float_model.layers),
        "calibration_patches": calibration_patches,
        "control_seeds": list(seeds),
    }
    environment = describe_environment("cpu", quantizer.backend.extra)
    return ModelRecord("quantized", quantizer.teacher.reference(), datasets, settings, environment)


def backend_settings(backend: str, settings: QuantizationSettings) -> dict[str, Any]:
    """The back end, and its choices in full: its own operators and target stand where none were given."""
    chosen = BACKENDS.get(backend)
    resolved = asdict(settings) | {
        "operators": list(settings.operators or chosen.operators),
        "exclude": list(settings.exclude),
        "target": settings.target or next(iter(chosen.targets), None),
    }
    return {"backend": backend, **resolved}
