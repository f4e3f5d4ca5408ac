"""What a quantized model is worth: every row of the table measured on the same images in the same run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smi_hf.data.files import replaced_atomically
from smi_hf.evaluation.accuracy import Predictor, latencies_ms, look_at
from smi_hf.evaluation.image_sets import ImageSet

RESULTS_FILE = "results.json"


@dataclass(frozen=True)
class Row:
    """One model of the table.

    Args:
        name: what it was calibrated on, or "float32".
        top1, top5: accuracy in [0, 1].
        agreement: share of images with float32's first choice.
        size_mb: size of its folder on disk, in units of 10^6 bytes.
        latency_ms_1, latency_ms_32: median of a batch of that size.
        images_per_second: at batch 32.
    """

    name: str
    top1: float
    top5: float
    agreement: float
    size_mb: float
    latency_ms_1: float
    latency_ms_32: float
    images_per_second: float


def measure(
    models: Mapping[str, tuple[Predictor, Path]],
    images: ImageSet,
    image_processor: Any,
    image_shape: tuple[int, int, int],
    *,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """Accuracy, agreement with the first model, size and speed of each model.

    Args:
        models: predictor and folder by name; the first is the float32 reference.
        image_shape: (channels, height, width) for the timing.
    """
    predictors = {name: predictor for name, (predictor, _) in models.items()}
    seen = look_at(images, predictors, image_processor, batch_size=batch_size, disable_tqdm=disable_tqdm)
    latency = {
        size: latencies_ms(predictors, image_shape, batch_size=size, repeats=repeats)
        for size, repeats in ((1, 30), (32, 5))
    }
    reference = next(iter(seen.values()))
    return [
        Row(
            name=name,
            **seen[name].accuracy(),
            agreement=seen[name].agreement(reference),
            size_mb=folder_size(folder) / 1e6,
            latency_ms_1=latency[1][name],
            latency_ms_32=latency[32][name],
            images_per_second=32_000 / latency[32][name],
        )
        for name, (_, folder) in models.items()
    ]


def folder_size(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    weights = (".onnx", ".onnx_data", ".safetensors", ".bin", ".xml")
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in weights)


def save_results(rows: list[Row], about: dict[str, Any], folder: Path) -> None:
    """Writes `results.json`: the rows and what they were measured on."""
    with replaced_atomically(folder / RESULTS_FILE) as temporary:
        temporary.write_text(json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=2) + "\n")
