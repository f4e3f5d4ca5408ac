"""What a quantized model is worth: every row of the table measured on the same images in the same run."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smi_hf.data.image_sets import ImageSet
from smi_hf.data.patch_sets import PatchSet
from smi_hf.evaluation.accuracy import Predictor, latencies_ms, look_at
from smi_hf.evaluation.scores import Scores, score
from smi_hf.quantization.quantizer import Quantizer

FLOAT_NAME = "float32"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        name: what the model was calibrated on, or "float32".
        runs: scores of each run, one a seed or dataset.
        size_mb: weights on disk, in units of 10^6 bytes; None, like all that follows, for a simulation.
        latency_ms_1, latency_ms_32: median milliseconds of a batch of that size, for the first run's model.
        images_per_second: at batch 32.
    """

    name: str
    runs: tuple[Scores, ...]
    size_mb: float | None = None
    latency_ms_1: float | None = None
    latency_ms_32: float | None = None
    images_per_second: float | None = None


def compare(
    quantizer: Quantizer,
    calibrations: Mapping[str, Sequence[PatchSet | None]],
    images: ImageSet,
    *,
    written: Path | None = None,
    batch_size: int = 32,
    disable_tqdm: bool = False,
) -> list[Row]:
    """Quantizes on every calibration set and measures the models beside float32.

    Args:
        calibrations: calibration sets by the row that they belong to, None for dynamic quantization; several are
            several runs of one row.
        images: labelled images to judge on.
        written: folder of the model that is calibrated on the very first set, if it exists already.
    """
    with tempfile.TemporaryDirectory(prefix="smi-hf-") as work:
        folders: dict[tuple[str, int], Path] = {}
        for name, sets in calibrations.items():
            for run, calibration in enumerate(sets):
                folder = Path(work) / f"model-{len(folders)}"
                if written is not None and not folders:
                    folder = written
                else:
                    quantizer.quantize(calibration, folder)
                folders[name, run] = folder
        models: dict[tuple[str, int], Predictor] = {(FLOAT_NAME, 0): quantizer.float_model.predictor()}
        models |= {key: quantizer.backend.load(folder) for key, folder in folders.items()}
        folders = {(FLOAT_NAME, 0): quantizer.float_model.folder} | folders
        seen = look_at(images, models, quantizer.image_processor, batch_size=batch_size, disable_tqdm=disable_tqdm)
        firsts = {name: models[name, 0] for name in (FLOAT_NAME, *calibrations)}
        # The other runs' models need not wait on the same cores while these are timed.
        models.clear()
        cost = {} if quantizer.backend.is_simulation else _cost(quantizer, firsts, folders)
        scores = score(seen, (FLOAT_NAME, 0))
        runs = {name: tuple(scores[row, run] for row, run in scores if row == name) for name in firsts}
        return [Row(name, runs[name], **cost.get(name, {})) for name in firsts]


def _cost(
    quantizer: Quantizer, models: Mapping[str, Predictor], folders: Mapping[tuple[str, int], Path]
) -> dict[str, dict[str, float]]:
    """Size and speed of one model a row."""
    model = quantizer.teacher.model
    shape = (model.num_channels, *model.grid.image_size)
    single, batch = (
        latencies_ms(models, shape, batch_size=size, repeats=repeats) for size, repeats in ((1, 30), (32, 5))
    )
    return {
        name: {
            "size_mb": folder_size(folders[name, 0]) / 1e6,
            "latency_ms_1": single[name],
            "latency_ms_32": batch[name],
            "images_per_second": 32_000 / batch[name],
        }
        for name in models
    }


def folder_size(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    weights = (".onnx", ".onnx_data", ".safetensors", ".bin", ".xml")
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in weights)
